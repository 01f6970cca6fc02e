"""What docs/add-a-backend.md and docs/operations.md promise to whoever adds a kind of backend is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from federation_core.connectors import Connector, backend_kinds, refusals
from federation_core.connectors.backends import victorialogs
from federation_core.connectors.http import Answer
from federation_core.errors import ClusterError, Malformed

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "add-a-backend.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TESTS = (*(ROOT / "tests" / "contract").glob("*.py"), *(ROOT / "tests" / "unit").rglob("test_*.py"))


def members(protocol: type) -> set[str]:
    """Return what a protocol asks for, and nothing of what every class has."""
    methods = {name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}
    return methods | set(inspect.get_annotations(protocol))


def rows() -> list[tuple[list[int], str, str]]:
    """Return the table of errors: status, class, words."""
    found = re.findall(r"^\| ([0-9, ]+)[^|]*\| `(\w+)`[^|]*\| ([^|…]+)", PAGE, re.MULTILINE)
    return [([int(status) for status in text.split(",")], name, words.strip()) for text, name, words in found]


def test_a_protocols_members_are_its_methods_and_attributes() -> None:
    assert {"fetch", "kind", "about"} <= members(Connector)


@pytest.mark.parametrize("name", sorted(members(Connector)))
def test_the_contract_is_told_member_by_member(name: str) -> None:
    assert re.search(rf"^\| `{name}[`(]", PAGE, re.MULTILINE)


@pytest.mark.parametrize("kind", backend_kinds())
def test_every_kind_has_its_paragraph_for_operators(kind: str) -> None:
    assert f"kind: {kind}" in OPERATIONS


def test_the_walk_names_what_is_in_the_module() -> None:
    walk = PAGE.partition("## A walk")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(_?[a-z]+(?:_[a-z]+)*)`", walk)) - {"timeout"}
    there = {*vars(victorialogs), *vars(victorialogs.VictoriaLogs)}
    assert len(named) > 8
    assert sorted(named - there) == []


def test_the_tests_that_come_by_themselves_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert len(named) >= 5
    assert sorted(named - {path.name for path in TESTS}) == []


def test_the_table_of_errors_is_that_of_the_code() -> None:
    assert len(rows()) == 7
    for statuses, name, words in rows():
        for status in statuses:
            error = refusals.refusal(Answer(status, {}, b"why"), "prod", "its API")
            assert isinstance(error, ClusterError)
            assert (type(error).__name__, error.message[: len(words)]) == (name, words.replace("503", str(status)))
    assert type(refusals.refusal(Answer(418, {}, b""), "prod", "its API")) is Malformed
