"""Points read as columns are the numbers that were sent, and an answer spelled otherwise is read as well."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
import pytest

from federation_core.connectors.backends.prometheus_api import Reply
from federation_core.connectors.backends.prometheus_payload import read_frame, read_samples
from federation_core.connectors.backends.prometheus_points import take_points
from federation_core.errors import Malformed
from federation_core.signals.metrics.expr import MatrixSelector
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.prometheus_json import from_json, samples_from_json, to_json
from tests.support.sample_store import labels as labels_of

GRID = Grid(1_790_000_000_125, 60_000, 4)
AS_PROMETHEUS = (",", ":")


def reply_of(data: Any, separators: tuple[str, str] = AS_PROMETHEUS) -> Reply:
    body, points = take_points(json.dumps(data, separators=separators).encode())
    return Reply(json.loads(body), points=points)


def a_number(rng: random.Random) -> float:
    any_bits: float = struct.unpack("<d", rng.randbytes(8))[0]
    return rng.choice([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5.0, 1e21, 5e-324, rng.random(), any_bits])


def a_frame(rng: random.Random) -> Frame:
    count = rng.randrange(4)
    labels = [labels_of(f'{{a="{row}",b="\\"values\\":[[1,\\"2\\"]]"}}') for row in range(count)]
    values = np.array([[a_number(rng) for _ in range(GRID.steps)] for _ in range(count)]).reshape(count, GRID.steps)
    present = np.array([[rng.random() < 0.7 for _ in range(GRID.steps)] for _ in range(count)], dtype=np.bool_)
    return Frame(tuple(labels), GRID, values, present.reshape(count, GRID.steps)).pruned()


def bits(frame: Frame) -> list[list[bytes | None]]:
    """Return the bits of every value that is there; one NaN is as good as another."""
    shown = np.where(np.isnan(frame.values), np.nan, frame.values)
    rows = zip(shown, frame.present, strict=True)
    return [[row[step].tobytes() if there[step] else None for step in range(GRID.steps)] for row, there in rows]


@pytest.mark.parametrize("seed", range(200))
def test_a_frame_comes_back_with_all_its_bits(seed: int) -> None:
    frame = a_frame(random.Random(seed))
    for separators in (AS_PROMETHEUS, (", ", ": ")):
        found = read_frame(reply_of(to_json(frame), separators), GRID)
        assert found.labels == frame.labels
        assert bits(found) == bits(frame)


@pytest.mark.parametrize("separators", [AS_PROMETHEUS, (", ", ": ")], ids=["as Prometheus", "with blanks"])
def test_samples_are_the_same_however_they_are_spelled(separators: tuple[str, str]) -> None:
    rows = [{"metric": {"a": str(a)}, "values": [[1 + a, "1.5"], [2.125, "-0"], [3, "NaN"]]} for a in (0, 1)]
    node = parse("x[2s]")
    assert isinstance(node, MatrixSelector)
    found = read_samples(reply_of({"resultType": "matrix", "result": rows}, separators), node, 3_000)
    assert isinstance(found, SampleColumns)
    assert found.t_ms.tolist() == [2_125, 3_000, 2_000, 2_125, 3_000]
    assert np.signbit(found.values).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    "values",
    [
        '[[1790000000.125,"1"],[2]]', '[[1,"2","3"]]', '[["1"]]', "[[1,,2]]", '[[1790000000.125,"1e"]]', "[1,2]",
        "[[,]]",
    ],
)  # fmt: skip
def test_what_is_no_point_is_malformed(values: str) -> None:
    body = f'{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}]}}'.encode()
    try:
        body, points = take_points(body)
    except ValueError:
        return
    with pytest.raises(Malformed):
        read_frame(Reply(json.loads(body), points=points), GRID)


@pytest.mark.parametrize(
    "values", ['[[1,"2"] ]', '[[1, "2"]]', '[[1,"2"] ,[3,"4"]]', '[ [1,"2"]]', '[[1,"2"],[3,"x"]]']
)
@pytest.mark.parametrize("more", ["", ',{"metric":{"a":"b"},"values":[[1,"5"]]}'])
def test_what_is_spelled_half_otherwise_is_left_to_the_slower_reader(values: str, more: str) -> None:
    body = f'{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}{more}]}}'.encode()
    with pytest.raises(ValueError, match=r"."):
        take_points(body)


def test_a_time_off_the_grid_is_malformed() -> None:
    rows = [{"metric": {}, "values": [[1_790_000_000.126, "1"]]}]
    with pytest.raises(Malformed, match="1790000000126 ms is not on the grid"):
        read_frame(reply_of({"resultType": "matrix", "result": rows}), GRID)


@pytest.mark.parametrize("time_s", ["1e300", "-1e16", "9.3e15"])
def test_a_time_that_has_no_room_is_malformed_however_it_is_read(time_s: str) -> None:
    body = f'{{"resultType":"matrix","result":[{{"metric":{{}},"values":[[{time_s},"1"]]}}]}}'.encode()
    with pytest.raises(ValueError, match="milliseconds in 64 bits"):
        take_points(body)
    for read in (lambda data: from_json(data, GRID), samples_from_json):
        with pytest.raises(Malformed):
            read(json.loads(body))


def test_a_time_without_end_is_malformed() -> None:
    rows = [{"metric": {}, "value": ["-Inf", "1"]}]
    with pytest.raises(Malformed):
        from_json({"resultType": "vector", "result": rows}, GRID)


@pytest.mark.parametrize("row", [[], "text", 1, None])
def test_a_series_that_is_no_object_is_malformed(row: Any) -> None:
    rows = [row, {"metric": {}, "values": [[1_790_000_000.125, "1"]]}]
    with pytest.raises(Malformed):
        read_frame(reply_of({"resultType": "matrix", "result": rows}), GRID)
    with pytest.raises(Malformed):
        read_frame(reply_of({"resultType": "matrix", "result": [row]}), GRID)
