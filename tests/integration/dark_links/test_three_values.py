"""A dark link per construct: the value over those that answered, or undecided and said so, and never a false sample.

What is wanted is asked of real servers: one that holds everything, one that holds all but the dark cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.integration.dark_links.conftest import CLOSES, GONE, HANGS, SHORT, STRICT, UNHURRIED, Federation
from tests.integration.dark_links.constructs import (
    ALL,
    ALONE,
    COMPLETE,
    INSTANT,
    PRESENT,
    RANGE,
    UNDECIDED,
    VALUES,
    Construct,
)
from tests.integration.dark_links.planted import DARK
from tests.oracle.answers import Answer as Rows
from tests.oracle.answers import Refusal, difference, read
from tests.support.stack import CLUSTERS
from tests.support.web_server import Answer

pytestmark = pytest.mark.heavy
#: A link that is dark for long is soon not tried any more.
REASONS = {HANGS: ("timed_out", "breaker_open"), CLOSES: ("failed", "breaker_open"), GONE: ("no_worker",)}
PART = f"5/6;missing={DARK}"
#: Where waiting costs its time, a few of every kind are asked below `/strict`.
FEW = [kind[place] for kind in (VALUES, COMPLETE, PRESENT, UNDECIDED) for place in (0, 1, -1)]


@dataclass(frozen=True)
class Answers:
    """What both façades have answered while the cluster was dark in one way."""

    how: str
    plain: Mapping[Construct, Answer]
    strict: Mapping[Construct, Answer]


@pytest.fixture(scope="module")
def light(federation: Federation) -> Mapping[Construct, Answer]:
    federation.darken()
    return federation.ask_all(ALL, UNHURRIED, STRICT)


@pytest.fixture(scope="module", params=[HANGS, CLOSES, GONE])
def dark(federation: Federation, light: object, request: pytest.FixtureRequest) -> Iterator[Answers]:
    how = request.param
    federation.darken(how)
    asked, timeout = (FEW, SHORT) if how == HANGS else (ALL, UNHURRIED)
    plain, strict = federation.ask_all([*ALL, *ALONE], timeout), federation.ask_all([*asked, *ALONE], timeout, STRICT)
    yield Answers(how, plain, strict)
    federation.darken()


def each(constructs: list[Construct]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("construct", constructs, ids=str)


def said(answer: Answer) -> list[str]:
    return list(answer.json.get("warnings", []))


def names_the_missing(warning: str, how: str) -> bool:
    return warning.startswith(tuple(f"cluster {DARK} is missing ({verdict}): " for verdict in REASONS[how]))


def differs(construct: Construct, answer: Answer, wanted: object) -> str:
    ordered = construct.query.startswith("sort") and not construct.asked.step_ms
    assert isinstance(wanted, Rows | Refusal)
    return difference(read(answer.json), wanted, ordered=ordered)


@each(ALL)
def test_while_no_link_is_dark_the_answer_is_that_of_one_server(
    federation: Federation, light: Mapping[Construct, Answer], construct: Construct
) -> None:
    assert differs(construct, light[construct], federation.over_all[construct]) == ""
    asked, _, missing = light[construct].headers["X-Federation-Coverage"].partition(";")
    assert (asked[0], missing) == (asked[-1], "")
    assert said(light[construct]) == []


@each([*VALUES, *UNDECIDED])
def test_the_data_tells_a_wrong_answer_from_a_right_one(federation: Federation, construct: Construct) -> None:
    wrong = federation.taken_for_empty if construct.undecided else federation.over_all
    assert (difference(wrong[construct], federation.over_the_rest[construct]) != "") is construct.differs


@each(VALUES)
def test_a_value_is_that_of_the_clusters_that_answered(
    federation: Federation, dark: Answers, construct: Construct
) -> None:
    answer = dark.plain[construct]
    assert differs(construct, answer, federation.over_the_rest[construct]) == ""
    (missing,) = said(answer)
    assert names_the_missing(missing, dark.how)
    assert answer.headers["X-Federation-Coverage"] == PART


@each(UNDECIDED)
def test_what_would_be_made_of_a_missing_series_is_undecided_and_named(
    federation: Federation, dark: Answers, construct: Construct
) -> None:
    answer = dark.plain[construct]
    assert differs(construct, answer, federation.over_the_rest[construct]) == ""
    missing, undecided = said(answer)
    assert names_the_missing(missing, dark.how)
    assert undecided.startswith(f"{construct.undecided} is undecided: ")
    assert undecided.endswith(f" cannot be known without {DARK}")
    assert answer.headers["X-Federation-Coverage"] == PART


@each(PRESENT)
def test_a_series_in_a_cluster_that_answered_decides(
    federation: Federation, dark: Answers, construct: Construct
) -> None:
    answer = dark.plain[construct]
    assert differs(construct, answer, federation.over_the_rest[construct]) == ""
    (missing,) = said(answer)
    assert names_the_missing(missing, dark.how)
    assert answer.headers["X-Federation-Coverage"] == PART


@each(COMPLETE)
def test_what_does_not_need_the_cluster_is_complete_below_strict_too(
    federation: Federation, dark: Answers, construct: Construct
) -> None:
    for answer in (dark.plain[construct], dark.strict.get(construct, dark.plain[construct])):
        assert differs(construct, answer, federation.over_all[construct]) == ""
        assert said(answer) == []
        asked, _, missing = answer.headers["X-Federation-Coverage"].partition(";")
        assert (asked[0], missing) == (asked[-1], "")


def test_below_strict_everything_that_needs_the_cluster_is_an_error_that_names_it(dark: Answers) -> None:
    asked = {construct: answer for construct, answer in dark.strict.items() if construct not in (*COMPLETE, *ALONE)}
    assert len(asked) > 8
    for construct, answer in asked.items():
        assert (answer.status_code, answer.json["errorType"]) == (503, "unavailable"), construct
        assert DARK in answer.json["error"], construct
        assert answer.headers["X-Federation-Coverage"] == PART, construct


@each(ALONE)
def test_a_question_for_the_dark_cluster_alone_has_no_answer(dark: Answers, construct: Construct) -> None:
    for answer in (dark.plain[construct], dark.strict[construct]):
        assert (answer.status_code, answer.json["status"]) in ((503, "error"), (504, "error"))
        assert answer.headers["X-Federation-Coverage"] == f"0/1;missing={DARK}"


def test_the_answer_is_there_by_its_time(federation: Federation, dark: Answers) -> None:
    started_s = time.monotonic()
    answer = federation.ask("sum(load)", RANGE, SHORT)
    assert time.monotonic() - started_s < float(SHORT.removesuffix("s"))
    assert answer.headers["X-Federation-Coverage"] == PART


def test_the_cluster_is_back_in_the_answers_when_its_link_is(federation: Federation, dark: Answers) -> None:
    federation.darken()
    answer = federation.ask("count(up)", INSTANT, UNHURRIED, STRICT)
    assert answer.headers["X-Federation-Coverage"] == f"{len(CLUSTERS)}/{len(CLUSTERS)}"
