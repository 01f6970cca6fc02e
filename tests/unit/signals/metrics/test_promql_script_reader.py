"""The reader of Prometheus' test scripts and the comparison: what they must see, they see."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import STALE_BITS, Frame, Grid
from federation_core.signals.metrics.parse import parse
from tests.support.promql_cases import Case, cases
from tests.support.promql_notation import read_number, read_points, read_series, read_string
from tests.support.promql_verdicts import complaint

SCRIPT = """
load 1m
  x{a="1"} 1 2 3
  x{a="2"} 10+10x2
  x{a="2"} 20+10x2

# Two loads add up.
load_with_nhcb 1m
  h_bucket{le="1"} 1 1 1
  h_bucket{le="+Inf"} 2 2 2

load 1m
  native 1 {{schema:0 sum:1 count:1}} _

eval instant at 2m x
  expect ordered
  expect no_warn
  x{a="2"} 40
  x{a="1"} 3

eval instant at 1m old
  expect warn msg: PromQL warning: so it is (1:7)
  expect info regex: PromQL info: .* \\(1:2\\)

eval_fail instant at 0 x + y

eval instant at 0 x + y
  expect fail msg: no such thing

eval range from 0 to 2m step 1m x{a="1"}
  x{a="1"} 1 _ 3
# Here the expectations end.
"""


def read(tmp_path: Path, text: str = SCRIPT) -> list[Case]:
    (tmp_path / "of_ours.test").write_text(text)
    return list(cases(tmp_path))


def instant(rows: dict[str, float], at_ms: int = 120_000) -> Frame:
    labels = tuple(Labels.of({"__name__": "x", "a": a}) for a in rows)
    values = np.array(list(rows.values())).reshape(-1, 1)
    return Frame(labels, Grid(at_ms, 0, 1), values, np.ones(values.shape, dtype=np.bool_))


def test_the_shorthand_for_points_is_expanded() -> None:
    points = read_points("1 2+3x2 -1-1x1 5x1 _ _x2 {{a:[1 2]}} {{a:1}}+{{a:2}}x2 Inf -inf NaN 0x1 1e-3")
    numbers = [1, 2, 5, 8, -1, -2, 5, 5, *[None] * 3, *[None] * 4, float("inf"), float("-inf")]
    assert list(points.values[:17]) == numbers
    assert np.isnan(points.values[17] or 0.0)
    # A hexadecimal number is ambiguous here, and read as a run.
    assert points.values[18:] == (0.0, 0.0, 0.001)
    assert points.histograms == (11, 12, 13, 14)


def test_a_stale_marker_keeps_its_bits() -> None:
    assert np.array(read_points("stale").values, dtype=np.float64).view(np.uint64)[0] == STALE_BITS


@pytest.mark.parametrize("text", ["1 two", "1+x3", "{{}", "1..2"])
def test_a_point_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no point"):
        read_points(text)


def test_names_and_labels_are_read_in_all_their_spellings() -> None:
    wanted = Labels.of({"__name__": "my.name", "a b": 'x"y', "c": "ü\n"})
    assert read_series("""{"my.name", "a b"="x\\"y", c='ü\\n',} 1""")[0] == wanted
    assert read_series("up 1")[0] == Labels.of({"__name__": "up"})
    assert read_series("{} 1")[0] == Labels()
    assert read_string("`a\\n`") == "a\\n"
    assert read_number("x") is None
    assert read_number("-0x1F") == -31


def test_loads_add_up_and_a_series_written_twice_is_the_latter(tmp_path: Path) -> None:
    series = {labels.get("a") + labels.get("le"): values for labels, _, values in read(tmp_path)[0].series}
    assert series == {"1": [1, 1, 1], "2": [20, 30, 40], "+Inf": [2, 2, 2], "": [1]} | {"1": series["1"]}


def test_each_eval_is_a_case_with_what_it_expects(tmp_path: Path) -> None:
    ordered, annotated, failing, failing_so, ranged = read(tmp_path)
    assert ordered.time_range == TimeRange(120_000, 120_000)
    assert [labels.get("a") for labels in ordered.expected.rows] == ["2", "1"]
    assert ordered.expected.ordered
    assert [words.text for words in annotated.expected.said["warn"]] == ["PromQL warning: so it is"]
    assert [words.text for words in annotated.expected.said["info"]] == ["PromQL info: .*"]
    assert failing.expected.fails
    assert failing_so.expected.said["fail"][0].text == "no such thing"
    assert ranged.expected.rows == {Labels.of({"__name__": "x", "a": "1"}): {0: 1.0, 120_000: 3.0}}


def test_a_line_that_belongs_to_no_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of_ours.test:33: not understood"):
        read(tmp_path, SCRIPT + "  x 1\n")


@pytest.mark.parametrize(
    ("query", "needs"),
    [
        ("x", False),
        ("h_bucket", False),
        ("h", True),
        ("native", True),
        ("native offset 2m", False),
        ("native @ 30", False),
        ("rate(native[1m])", False),
        ("rate(native[61s])", True),
        ("max_over_time(native[2m:10s])", True),
        ("max_over_time(native[10s:5s] @ 20)", False),
        ('sum({__name__=~"x|native"})', True),
    ],
)
def test_a_case_needs_native_histograms_where_the_query_looks_at_some(tmp_path: Path, query: str, needs: bool) -> None:
    assert read(tmp_path)[0].needs_histograms(parse(query)) is needs


def test_what_is_not_as_expected_is_told(tmp_path: Path) -> None:
    case = read(tmp_path)[0]
    right = instant({"2": 40, "1": 3})
    assert complaint(case, (right, ())) == ""
    assert complaint(case, (instant({"2": 40, "1": 3.000001}), ())) == ""
    assert "got" in complaint(case, (instant({"2": 40, "1": 3.00001}), ()))
    assert "got" in complaint(case, (instant({"2": 40}), ()))
    assert "got" in complaint(case, (instant({"2": 40, "1": 3, "3": 0}), ()))
    assert "in order" in complaint(case, (instant({"1": 3, "2": 40}), ()))
    assert "unwanted" in complaint(case, (right, ("PromQL warning: oh",)))
    assert "no kind" in complaint(case, (right, ("oh",)))
    assert complaint(case, (right, ("PromQL info: oh",))) == ""
    assert complaint(case, QueryExecutionError("no")) == "QueryExecutionError: no"
    assert "a scalar" in complaint(case, (Frame.scalar(Grid(0, 0, 1), 1.0), ()))


def test_annotations_and_errors_must_say_what_is_expected(tmp_path: Path) -> None:
    _, annotated, failing, failing_so, _ = read(tmp_path)
    empty = Frame.empty(Grid(60_000, 0, 1))
    both = ("PromQL warning: so it is", "PromQL info: and so on")
    assert complaint(annotated, (empty, both)) == ""
    assert "no info" in complaint(annotated, (empty, both[:1]))
    assert "no warn" in complaint(annotated, (empty, ("PromQL warning: else", both[1])))
    assert "unwanted" in complaint(annotated, (empty, (*both, "PromQL warning: else")))
    assert "no error" in complaint(failing, (empty, ()))
    assert complaint(failing, QueryExecutionError("anything")) == ""
    assert complaint(failing_so, QueryExecutionError("no such thing: y")) == ""
    assert complaint(failing_so, QueryExecutionError("another thing")) != ""


def test_every_eval_of_the_scripts_is_read(test_data: Path) -> None:
    folder = test_data / "data" / "promqltest"
    written = {
        script.stem: len(re.findall(r"^\s*eval", script.read_text(), flags=re.MULTILINE))
        for script in folder.glob("*.test")
    }
    found = list(cases(folder))
    assert Counter(case.script for case in found) == written
    assert len(written) == 11
    # Only some evals expect nothing at all: those of series that are not there.
    silent = [case for case in found if not case.expected.rows and not case.expected.said]
    assert len(silent) < 0.1 * len(found)
