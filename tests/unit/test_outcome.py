"""The ledger, partials, results and their wire form."""

from __future__ import annotations

import msgpack
import pytest

from federation_core.errors import (
    QueryExecutionError,
    Rejected,
    TimedOut,
    Unreachable,
    Unserved,
    WireVersionMismatch,
)
from federation_core.outcome import (
    ClusterVerdict,
    Coverage,
    Partial,
    Result,
    Stats,
    Verdict,
    fails_query,
    verdict_of,
)
from federation_core.wire import decode_partial, decode_result, encode_partial, encode_result


def encode(payload: str) -> bytes:
    return payload.encode()


def decode(data: bytes) -> str:
    return data.decode()


def ledger(**verdicts: Verdict) -> Coverage:
    return Coverage.of({name: ClusterVerdict(name, verdict) for name, verdict in verdicts.items()})


def test_a_partial_holds_payloads_or_an_error_and_never_both_or_neither() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Partial("q", "prod")
    with pytest.raises(ValueError, match="exactly one"):
        Partial("q", "prod", payloads={}, error=TimedOut("late"))


def test_a_result_has_an_error_exactly_when_it_failed() -> None:
    with pytest.raises(ValueError, match="exactly when"):
        Result("q", "failed", Coverage())
    with pytest.raises(ValueError, match="exactly when"):
        Result("q", "complete", Coverage(), error=TimedOut("late"))


@pytest.mark.parametrize("verdict", [v for v in Verdict if v not in ("ok", "cached", "pruned", "denied")])
def test_any_verdict_but_a_full_answer_makes_the_answer_incomplete(verdict: Verdict) -> None:
    coverage = ledger(prod=Verdict.OK, stage=verdict)
    assert not coverage.complete
    assert coverage.header() == "1/2;missing=stage"
    assert any("stage" in warning for warning in coverage.warnings())


def test_clusters_that_were_not_asked_count_neither_way() -> None:
    coverage = ledger(prod=Verdict.OK, dev=Verdict.PRUNED, test=Verdict.DENIED, stage=Verdict.CACHED)
    assert coverage.complete
    assert coverage.header() == "2/2"
    assert coverage.warnings() == ()


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TimedOut("x"), Verdict.TIMED_OUT),
        (Unserved("x"), Verdict.NO_WORKER),
        (Unreachable("x"), Verdict.FAILED),
        (Rejected("x"), Verdict.FAILED),
        (Rejected("x", retry_after_s=3), Verdict.THROTTLED),
    ],
)
def test_a_clusters_error_decides_its_verdict(error: TimedOut, verdict: Verdict) -> None:
    assert verdict_of(error) is verdict
    assert not fails_query(error)


def test_an_engines_execution_error_is_the_querys_error() -> None:
    assert fails_query(QueryExecutionError("many-to-many", cluster="prod"))


def test_a_cut_partial_is_never_ok() -> None:
    row = Partial("q", "prod", payloads={}, truncated="limit of 20 traces").verdict()
    assert (row.verdict, row.reason) == (Verdict.PARTIAL, "limit of 20 traces")


@pytest.mark.parametrize(
    "partial",
    [
        Partial("q", "prod", payloads={"a": "x", "b": ""}, warnings=("w",), stats=Stats(1, 2, 3), watermark_ms=9),
        Partial("q", "prod", error=TimedOut("late", cluster="prod"), elapsed_ms=7),
        Partial("q", "prod", payloads={}, truncated="limit"),
    ],
)
def test_a_partial_survives_the_wire(partial: Partial) -> None:
    back = decode_partial(encode_partial(partial, encode), decode)
    assert back.verdict().to_wire() == partial.verdict().to_wire()
    assert (back.payloads, back.warnings, back.truncated) == (partial.payloads, partial.warnings, partial.truncated)


def test_a_result_survives_the_wire() -> None:
    coverage = ledger(prod=Verdict.OK, stage=Verdict.TIMED_OUT)
    result = Result("q", "partial", coverage, payload="x", warnings=("stage is missing",), merge_ms=3)
    back = decode_result(encode_result(result, encode), decode)
    assert (back.status, back.payload, back.warnings, back.coverage) == ("partial", "x", result.warnings, coverage)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"not msgpack at all", msgpack.packb([1]), msgpack.packb({"v": 99})])
def test_bytes_of_another_release_or_of_nobody_are_refused(data: bytes) -> None:
    with pytest.raises(WireVersionMismatch):
        decode_partial(data, decode)
    with pytest.raises(WireVersionMismatch):
        decode_result(data, decode)
