"""Every expression of public dashboards and rules is read, printed and planned over many clusters."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from federation_core.query import TimeRange
from federation_core.signals import Split
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.expr import Expr
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.printer import to_text
from tests.conftest import Say
from tests.support.sample_store import query_of
from tests.support.workload import Workload
from tests.support.workload.kinds import KINDS, kind_of
from tests.support.workload.series import CLUSTERS, NOW_S

ASKED = TimeRange((NOW_S - 600) * 1000, NOW_S * 1000, 60_000)
_QUOTED = re.compile(r'"[^"]*"')
#: The label as a word of its own, no part of a metric's name.
_CLUSTER = re.compile(r"(?<![\w:])cluster(?![\w:])")


def planned(text: str, expr: Expr, clusters: int = len(CLUSTERS)) -> Split:
    return KIND.split(expr, query_of(text, ASKED), [f"cluster-{number + 1}" for number in range(clusters)])


def test_every_expression_is_printed_back_to_the_same_tree(workload: Workload) -> None:
    assert [
        text for text, expr in zip(workload.texts, workload.exprs, strict=True) if parse(to_text(expr)) != expr
    ] == []


@pytest.mark.parametrize("clusters", [6, 20])
def test_every_expression_has_a_plan_whose_texts_are_read_back_as_they_are_printed(
    workload: Workload, clusters: int
) -> None:
    for text, expr in zip(workload.texts, workload.exprs, strict=True):
        split = planned(text, expr, clusters)
        assert to_text(parse_root(split.root)) == split.root, text
        assert len(split.leaves) + len(split.pruned) == clusters, text
        for leaf in (leaf for leaves in split.leaves.values() for leaf in leaves):
            assert to_text(parse(leaf.text)) == leaf.text, text


def test_no_leaf_names_the_virtual_label(workload: Workload) -> None:
    for text, expr in zip(workload.texts, workload.exprs, strict=True):
        for leaf in (leaf for leaves in planned(text, expr).leaves.values() for leaf in leaves):
            assert not _CLUSTER.search(_QUOTED.sub("", leaf.text)), f"{leaf.text}\n{text}"


@pytest.mark.heavy  # So that what it prints is seen: of the fast tests, which run side by side, it is not.
def test_few_expressions_need_series_as_they_are(workload: Workload, say: Say) -> None:
    told, of_one = Counter[str](), 0
    for text, expr in zip(workload.texts, workload.exprs, strict=True):
        split = planned(text, expr)
        told[kind_of(expr, split)] += 1
        of_one += len(split.leaves) == 1
    shown = ", ".join(f"{told[kind]} {kind}" for kind in KINDS)
    say(f"{len(workload.texts)} expressions over six clusters: {shown}; {of_one} are asked of one cluster alone")
    assert told["root over series"] + told["raw"] <= 0.05 * len(workload.texts)
