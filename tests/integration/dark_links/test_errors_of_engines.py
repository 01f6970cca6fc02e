"""What one cluster's engine refuses to evaluate is the query's error; what its server may not load is its cluster's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from federation_core.query import TimeRange
from tests.integration.dark_links.conftest import CLOSES, HANGS, PLAIN, STRICT, UNHURRIED, Federation
from tests.integration.dark_links.constructs import INSTANT, RANGE
from tests.integration.dark_links.planted import DARK, LIMITED

pytestmark = pytest.mark.heavy
#: `dev` alone has two of them for a service, so its engine alone cannot match them.
MANY_TO_MANY = "requests_total * on (cluster, service) twice"
#: So fine that one server would have to hold more samples than it may.
FINE = TimeRange(RANGE.start_ms, RANGE.end_ms, 10_000)


@pytest.fixture
def light(federation: Federation) -> None:
    federation.darken()


def test_below_strict_a_limit_of_one_server_is_an_error_that_names_it(federation: Federation, light: None) -> None:
    answer = federation.ask("count(bulk)", FINE, UNHURRIED, STRICT)
    assert (answer.status_code, answer.json["errorType"]) == (503, "unavailable")
    assert LIMITED in answer.json["error"]


def test_what_is_undecided_for_want_of_a_limited_server_names_it(federation: Federation, light: None) -> None:
    answer = federation.ask("sum(bulk > 5) or vector(0)", FINE)
    assert answer.json["data"]["result"] == []
    assert answer.json["warnings"][1].endswith(f"cannot be known without {LIMITED}")


@pytest.fixture(params=["", HANGS, CLOSES], ids=["light", HANGS, CLOSES], scope="module")
def dark(federation: Federation, request: pytest.FixtureRequest) -> Iterator[str]:
    federation.darken(request.param)
    yield request.param
    federation.darken()


def timeout(dark: str) -> str:
    return "2s" if dark == HANGS else UNHURRIED


def test_an_execution_error_of_one_cluster_is_the_querys_whoever_is_dark(federation: Federation, dark: str) -> None:
    for prefix, asked in ((PLAIN, INSTANT), (STRICT, RANGE)):
        answer = federation.ask(f"sum({MANY_TO_MANY})", asked, timeout(dark), prefix)
        assert (answer.status_code, answer.json["errorType"]) == (422, "execution")
        assert "many-to-many matching not allowed" in answer.json["error"]


def test_an_execution_error_of_the_root_is_so_too(federation: Federation, dark: str) -> None:
    answer = federation.ask("sum by (job) (up) * on () sum by (node) (load)", INSTANT, timeout(dark))
    assert (answer.status_code, answer.json["errorType"]) == (422, "execution")


def test_a_limit_of_one_server_costs_its_clusters_share(federation: Federation, dark: str) -> None:
    answer = federation.ask("count(bulk)", FINE, timeout(dark))
    (row,) = answer.json["data"]["result"]
    assert {value for _, value in row["values"]} == {"2"}
    missing = [DARK, LIMITED] if dark else [LIMITED]
    assert answer.headers["X-Federation-Coverage"] == f"{6 - len(missing)}/6;missing={','.join(missing)}"
    assert [said.split()[1] for said in answer.json["warnings"]] == missing
    assert "too many samples" in answer.json["warnings"][-1]
