"""Frames and sample columns: on the wire, as Prometheus' JSON, and what makes them refuse to exist."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import Malformed
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import STALE_BITS, Frame, Grid, SampleColumns, size
from federation_core.signals.metrics.prometheus_json import (
    format_scalar,
    format_value,
    format_values,
    from_json,
    samples_from_json,
    to_json,
)
from federation_core.signals.metrics.wire import decode, encode
from tests.support.sample_store import STALE

RECORDED = Path(__file__).parents[3] / "fixtures" / "prometheus"
GRID = Grid(1_000, 500, 4)
A, B = Labels.of({"__name__": "x", "pod": "a"}), Labels.of({"__name__": "x", "pod": "b"})


def bits(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    listed: list[int] = np.ascontiguousarray(values).view(np.uint64).tolist()
    return listed


def frame() -> Frame:
    values = np.array([[1.0, float("nan"), STALE, -0.0], [2.5, 0.0, float("-inf"), 1e300]])
    return Frame((A, B), GRID, values, np.array([[True, True, True, True], [True, False, True, False]]))


def test_a_frame_survives_the_wire_bit_for_bit_where_it_is_present() -> None:
    sent = frame()
    got = decode(encode(sent))
    assert isinstance(got, Frame)
    assert (got.labels, got.grid, got.kind) == (sent.labels, sent.grid, "vector")
    assert got.present.tolist() == sent.present.tolist()
    assert bits(got.values[got.present]) == bits(sent.values[sent.present])


def test_raw_samples_survive_the_wire_with_their_stale_markers() -> None:
    sent = SampleColumns.of([(A, [1, 2], [1.0, STALE]), (B, [], []), (A.with_label("c", "d"), [9], [np.nan])])
    got = decode(encode(sent))
    assert isinstance(got, SampleColumns)
    assert got.labels == sent.labels
    assert got.offsets.tolist() == [0, 2, 2, 3]
    assert got.t_ms.tolist() == [1, 2, 9]
    assert bits(got.values) == bits(sent.values)
    assert got.stale.tolist() == [False, True, False]


@pytest.mark.parametrize("payload", [Frame.empty(GRID), SampleColumns.empty(), Frame.scalar(GRID, 3.0)])
def test_payloads_without_series_survive_the_wire(payload: Frame | SampleColumns) -> None:
    assert size(decode(encode(payload))) == size(payload)


def test_absent_values_and_repeated_texts_are_not_sent() -> None:
    many = tuple(Labels.of({"service": "a-long-service-name", "pod": str(i)}) for i in range(1000))
    sparse = Frame(many, Grid(0, 1000, 100), np.zeros((1000, 100)), np.eye(1000, 100, dtype=np.bool_))
    assert len(encode(sparse)) < 100 * 8 + 1000 * 100 // 8 + 1000 * 30


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"nonsense", encode(Frame.scalar(GRID, 1.0))[:-9], b"\x81\xa4form\xa5frame"]
)
def test_bytes_that_are_no_payload_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


def tampered(payload: Frame | SampleColumns, **changes: object) -> bytes:
    wire = msgpack.unpackb(encode(payload))
    labels = {key: changes.pop(key) for key in tuple(changes) if key in wire["labels"]}
    return bytes(msgpack.packb({**wire, **changes, "labels": {**wire["labels"], **labels}}))


def repeating() -> Frame:
    values = np.tile([0.1, 0.2, 0.3, 0.1], (40, 1))
    rows = tuple(Labels.of({"pod": f"p{number}", "zone": f"z{number % 2}"}) for number in range(40))
    return Frame(rows, GRID, values, np.ones((40, 4), dtype=np.bool_))


def columns_of(payload: Frame, **changes: object) -> dict[str, object]:
    return {**msgpack.unpackb(encode(payload))["values"], **changes}


POD, ZONE = msgpack.unpackb(encode(repeating()))["labels"]["columns"]


@pytest.mark.parametrize(
    "data",
    [
        tampered(frame(), grid=[0, 1, 1 << 60]),
        tampered(frame(), series=1 << 40),
        tampered(frame(), series=-2),
        tampered(frame(), present=b""),
        tampered(frame(), values={"all": b"\0" * 8}),
        tampered(frame(), values={"all": b"\0" * 9}),
        tampered(frame(), values={}),
        tampered(repeating(), values=columns_of(repeating(), which=b"\0" * 8)),
        tampered(repeating(), values=columns_of(repeating(), which=b"\3" * 160)),
        tampered(repeating(), values=columns_of(repeating(), heads=b"\0" * 5)),
        tampered(repeating(), values=columns_of(repeating(), tails=b"\0" * 7)),
        tampered(repeating(), values=columns_of(repeating(), heads=b"", tails=b"")),
        tampered(repeating(), shape=b"\1" * 40),
        tampered(repeating(), shape=b""),
        tampered(repeating(), names=[["pod", 7]]),
        tampered(repeating(), names=[["pod"]]),
        tampered(repeating(), names=[["pod", "zone", "node"]]),
        tampered(repeating(), columns=[POD, [ZONE[0], b"\2" * 40]]),
        tampered(repeating(), columns=[POD, [ZONE[0], b"\0" * 39]]),
        tampered(repeating(), columns=[POD, [ZONE[0], None]]),
        tampered(repeating(), columns=[POD, [[1, 2], ZONE[1]]]),
        tampered(SampleColumns.of([(A, [1, 2], [1.0, 2.0]), (B, [], [])]), offsets=np.array([0, 3, -1]).tobytes()),
        tampered(SampleColumns.of([(A, [1, 2], [1.0, 2.0]), (B, [], [])]), offsets=b""),
        tampered(SampleColumns.of([(A, [1, 2], [1.0, 2.0])]), t_ms=b"\0" * 7),
    ],
)
def test_a_part_that_does_not_fit_itself_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


def test_numbers_that_occur_often_are_sent_once() -> None:
    sent = repeating()
    assert "which" in columns_of(sent)
    assert len(encode(sent)) < sent.values.nbytes / 2
    apart = Frame(sent.labels, GRID, np.random.default_rng(1).random((40, 4)), sent.present)
    assert "all" in columns_of(apart)


@given(st.data())
def test_any_payload_survives_the_wire_bit_for_bit(data: st.DataObject) -> None:
    names, texts = st.sampled_from(["a", "b", "é", "\0"]), st.text(min_size=1, max_size=3)
    pool = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=300))
    rows = tuple(map(Labels.of, data.draw(st.lists(st.dictionaries(names, texts), max_size=40))))
    grid = Grid(data.draw(st.integers(-(2**40), 2**40)), 1000, data.draw(st.integers(1, 8)))
    places = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, len(pool), (len(rows), grid.steps))
    values = np.array(pool, dtype=np.uint64)[places].view(np.float64)
    present = places % data.draw(st.integers(1, 3)) == 0
    got = decode(encode(Frame(rows, grid, values, present)))
    assert isinstance(got, Frame)
    assert (got.labels, got.grid, got.present.tolist()) == (rows, grid, present.tolist())
    assert bits(got.values[present]) == bits(values[present])


def test_times_are_in_order_within_a_series_and_may_fall_between_two() -> None:
    assert SampleColumns.of([(A, [5, 9], [1, 2]), (B, [], []), (B, [3, 4], [1, 2]), (A, [], [])]).in_order
    assert SampleColumns.of([(A, [], []), (B, [3], [1])]).in_order
    assert not SampleColumns.of([(A, [5, 5], [1, 2])]).in_order
    assert not SampleColumns.of([(A, [1], [1]), (B, [5, 4], [1, 2])]).in_order


def test_stale_markers_are_told_from_other_nan_by_their_bits() -> None:
    with np.errstate(invalid="ignore"):
        touched = np.array([STALE]) + 0
    columns = SampleColumns.of([(A, [1, 2, 3], [np.nan, STALE, touched[0]])])
    assert bits(columns.values)[1] == STALE_BITS
    # Arithmetic has turned the third one into an ordinary NaN.
    assert columns.stale.tolist() == [False, True, False]
    assert columns.without_stale().t_ms.tolist() == [1, 3]


def test_removing_samples_keeps_every_series() -> None:
    columns = SampleColumns.of([(A, [1], [STALE]), (B, [1, 2], [5.0, 6.0])])
    clean = columns.without_stale()
    assert clean.labels == (A, B)
    assert clean.offsets.tolist() == [0, 0, 2]


def test_a_frame_of_the_wrong_shape_cannot_exist() -> None:
    with pytest.raises(ValueError, match="a frame"):
        Frame((A,), GRID, np.zeros((1, 3)), np.ones((1, 4), dtype=np.bool_))


def test_columns_whose_offsets_do_not_fit_cannot_exist() -> None:
    with pytest.raises(ValueError, match="offsets"):
        SampleColumns((A,), np.array([0, 5]), np.array([1]), np.array([1.0]))


def test_an_instant_is_a_vector_and_a_range_a_matrix() -> None:
    instant = Frame((A, B), Grid.of(TimeRange(0, 1500)), np.array([[1.0], [2.0]]), np.array([[True], [False]]))
    assert to_json(instant) == {"resultType": "vector", "result": [{"metric": dict(A), "value": [1.5, "1"]}]}
    assert to_json(frame()) == {
        "resultType": "matrix",
        "result": [
            {"metric": dict(A), "values": [[1, "1"], [1.5, "NaN"], [2, "NaN"], [2.5, "-0"]]},
            {"metric": dict(B), "values": [[1, "2.5"], [2, "-Inf"]]},
        ],
    }


def test_a_scalar_is_a_scalar_at_an_instant_and_a_matrix_over_a_range() -> None:
    assert to_json(Frame.scalar(Grid(2_000, 0, 1), 2.0)) == {"resultType": "scalar", "result": [2, "2"]}
    assert to_json(Frame.scalar(Grid(0, 1000, 2), 2.0)) == {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[0, "2"], [1, "2"]]}],
    }


@pytest.mark.parametrize(
    ("value", "sample", "scalar"),
    [
        (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
        (1e20, "100000000000000000000", "100000000000000000000"),
        (-1e21, "-1e+21", "-1000000000000000000000"),
        (1e-6, "0.000001", "0.000001"),
        (1.5e-7, "1.5e-07", "0.00000015"),
        (5e-324, "5e-324", "0." + "0" * 323 + "5"),
        (123456789012345680.0, "123456789012345680", "123456789012345680"),
        (float("nan"), "NaN", "NaN"),
        (float("inf"), "+Inf", "+Inf"),
        (-3.0, "-3", "-3"),
        (-0.0, "-0", "-0"),
    ],
)
def test_values_are_printed_as_prometheus_prints_them(value: float, sample: str, scalar: str) -> None:
    assert (format_value(value), format_scalar(value)) == (sample, scalar)
    assert repr(float(sample)) == repr(float(scalar)) == repr(value)


@given(st.lists(st.floats(), max_size=8))
def test_many_values_are_printed_as_each_is(values: list[float]) -> None:
    plain = [round(math.remainder(value, 1000), 3) if math.isfinite(value) else 1.0 for value in values]
    for some in (values, plain):
        assert format_values(np.array(some)) == [format_value(value) for value in some]


def recorded(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (data, request parameters) of a recorded answer of a real Prometheus."""
    record = json.loads((RECORDED / f"{name}.json").read_text())
    return json.loads(record["response"]["body"])["data"], dict(record["request"]["query"])


@pytest.mark.parametrize(
    "name",
    [
        "query-nan-and-inf-values",
        "query-scalar",
        "query-vector-rate-by-service-prod",
        "query-empty-vector",
        "query-range-gaps",
        "query-range-counter-reset",
        "query-range-histogram-quantile-prod",
    ],
)
def test_a_recorded_answer_is_read_and_written_back_unchanged(name: str) -> None:
    data, asked = recorded(name)
    if "step" in asked:
        grid = Grid.of(TimeRange(*(round(float(asked[part]) * 1000) for part in ("start", "end", "step"))))
    else:
        grid = Grid(round(float(asked["time"]) * 1000), 0, 1)
    assert to_json(from_json(data, grid)) == data


def test_recorded_raw_samples_are_read_and_written_back_unchanged() -> None:
    data, _ = recorded("query-matrix-selector")
    columns = samples_from_json(data)
    assert columns.sample_count > 0
    assert to_json(columns) == data


@pytest.mark.parametrize(
    "data",
    [
        {"resultType": "string", "result": [0, "a"]},
        {"resultType": "vector", "result": [{"metric": {}, "value": [7, "1"]}]},
        {"resultType": "matrix", "result": [{"metric": {}}]},
        {"status": "success"},
        {"resultType": "vector", "result": [{"metric": {}, "value": [1, "many"]}]},
    ],
)
def test_an_answer_to_something_else_is_malformed(data: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        from_json(data, Grid(1_000, 0, 1))


def test_a_value_between_two_steps_is_malformed() -> None:
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1.25, "1"]]}]}
    with pytest.raises(Malformed, match="not on the grid"):
        from_json(data, GRID)
