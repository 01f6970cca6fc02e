"""Writing an embedded store: whole or not at all, one writer, every bit kept."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from federation_core.connectors.stores import segments, segments_files
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_layout import load_manifest
from federation_core.errors import Malformed, StoreUnavailable, Unreachable
from tests.support.otlp_requests import rows, samples_of
from tests.support.segment_rows import log_batch, sample_batch


def lines(path: Path) -> list[str]:
    return [line for (line,) in rows(path, "logs", "line")]


def test_what_was_appended_is_there_for_any_parquet_reader(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, cluster="prod") as store:
        store.append({"logs": log_batch((1000, "a"), (2000, "b"))}, b"state")
        assert store.state == b"state"
    assert lines(tmp_path) == ["a", "b"]
    assert json.loads((tmp_path / "manifest.json").read_text())["cluster"] == "prod"


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with SegmentStore(tmp_path), pytest.raises(StoreUnavailable, match=f"written by process {os.getpid()};"):
        SegmentStore(tmp_path)


def test_a_writer_in_another_process_is_refused_and_may_follow(tmp_path: Path) -> None:
    script = (
        "import sys, federation_core.connectors.stores.segments as s\n"
        "s.SegmentStore(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreUnavailable, match=f"process {other.pid}"):
            SegmentStore(tmp_path)
        # Killed, not closed: the lock goes with the process.
        other.send_signal(signal.SIGKILL)
        other.wait()
        SegmentStore(tmp_path).close()


def test_a_closed_store_refuses_to_append(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.append({"logs": log_batch((1, "a"))})


def test_every_bit_of_a_value_survives(tmp_path: Path) -> None:
    patterns = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 1, 1 << 63, 0]
    values = [struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in patterns]
    with SegmentStore(tmp_path) as store:
        store.append({"samples": sample_batch(store, "x", list(enumerate(values)))})
    found = rows(tmp_path, "samples", "t_ms, value, nan_bits")
    bits = [struct.unpack("<Q", struct.pack("<d", v) if b is None else struct.pack("<q", b))[0] for _, v, b in found]
    assert bits == patterns


def test_a_series_keeps_its_number_across_restarts(tmp_path: Path) -> None:
    for t_ms in (1000, 2000):
        with SegmentStore(tmp_path) as store:
            store.append({"samples": sample_batch(store, "x", [(t_ms, 1.0)], b="2", a="1")})
            store.append({"samples": sample_batch(store, "y", [(t_ms, 1.0)])})
    assert rows(tmp_path, "series", "series_id, name, labels") == [(1, "x", '{"a":"1","b":"2"}'), (2, "y", "{}")]


class Crash(BaseException):
    """The power goes."""


def crashing(real: Callable[..., object], at_call: int) -> Callable[..., object]:
    calls = 0

    def call(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise Crash
        return real(*args)

    return call


@pytest.mark.parametrize("at_call", range(1, 6))
@pytest.mark.parametrize("function", ["publish", "write_whole", "sync_directory"])
def test_a_crash_at_any_point_leaves_the_version_before_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, at_call: int
) -> None:
    with SegmentStore(tmp_path) as store:
        store.append({"logs": log_batch((1, "1 before"))}, b"1")
    store = SegmentStore(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(segments, function, crashing(getattr(segments_files, function), at_call))
        try:
            store.append({"logs": log_batch((2, "2 after")), "samples": sample_batch(store, "x", [(2, 1.0)])}, b"2")
            survived = True
        except Crash:
            survived = False
    store.close()
    with SegmentStore(tmp_path) as again:
        state = again.state
        assert lines(tmp_path) == (["1 before", "2 after"] if survived else ["1 before"])
        assert (state, bool(samples_of(tmp_path, "x"))) == ((b"2", True) if survived else (b"1", False))
        again.append({"logs": log_batch((3, "3 later"))}, b"3")
    assert lines(tmp_path)[-1] == "3 later"


def test_what_a_crash_left_behind_is_swept_at_the_next_start(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        store.append({"logs": log_batch((1, "a"))}, b"1")
    left = [tmp_path / "logs" / "00000009-1.parquet", tmp_path / "spans" / "x.parquet.tmp",
            tmp_path / "state-00000099.bin", tmp_path / "manifest.json.tmp"]  # fmt: skip
    for file in left:
        file.write_bytes(b"half")
    SegmentStore(tmp_path).close()
    assert [file for file in left if file.exists()] == []
    assert lines(tmp_path) == ["a"]


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot write a store"):
        SegmentStore(tmp_path / "file")


def test_no_store_is_unreachable_and_a_damaged_one_malformed(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no embedded store"):
        load_manifest(tmp_path / "none")
    SegmentStore(tmp_path).close()
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text[:50])
    with pytest.raises(Malformed, match="damaged"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(text.replace('"format": 1', '"format": 9'))
    with pytest.raises(Malformed, match="format 9"):
        load_manifest(tmp_path)
