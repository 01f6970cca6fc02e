"""A real VictoriaMetrics over given samples, stale markers included.

They are sent by remote write, as a Prometheus would: its text formats have no stale markers. A plain NaN it drops.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.prometheus_server import _free_port
from tests.support.sample_store import Series

_LITERAL_BYTES = 60


@contextmanager
def victoria_metrics_holding(series: Sequence[Series], folder: Path) -> Iterator[str]:
    """Start VictoriaMetrics with these samples; gives its host and port."""
    binary = shutil.which("victoria-metrics")
    if binary is None:
        pytest.skip("victoria-metrics is not installed: apt-get install victoria-metrics")
    address = f"127.0.0.1:{_free_port()}"
    server = subprocess.Popen(
        [binary, f"-storageDataPath={folder}", f"-httpListenAddr={address}", "-retentionPeriod=100y"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _ask_until_it_answers(f"http://{address}/health")
        for start in range(0, len(series), 200):
            body = b"".join(map(_time_series, series[start : start + 200]))
            headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
            with urllib.request.urlopen(
                urllib.request.Request(f"http://{address}/api/v1/write", _snappy(body), headers), timeout=60
            ) as reply:
                assert reply.status == 204
        _ask_until_it_answers(f"http://{address}/internal/force_flush")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def _ask_until_it_answers(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{url} does not answer")


def _time_series(series: Series) -> bytes:
    """Return one `TimeSeries` of Prometheus' remote write: field 1 labels, field 2 samples (value, time in ms)."""
    labels, times, values = series
    pairs = (_field(1, name.encode()) + _field(2, value.encode()) for name, value in labels)
    samples = (b"\x09" + struct.pack("<d", v) + b"\x10" + _varint(t) for t, v in zip(times, values, strict=True))
    return _field(1, b"".join([*(_field(1, pair) for pair in pairs), *(_field(2, sample) for sample in samples)]))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _snappy(data: bytes) -> bytes:
    """Return the data as a block of snappy that holds it as it is."""
    pieces = (data[at : at + _LITERAL_BYTES] for at in range(0, len(data), _LITERAL_BYTES))
    return _varint(len(data)) + b"".join(bytes([(len(piece) - 1) << 2]) + piece for piece in pieces)
