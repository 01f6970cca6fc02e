"""The façade reads times as a real Prometheus does: the same texts are asked of one, and the grids are compared."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.prometheus_server import prometheus_on
from webapp.facades.prometheus_times import read_duration_ms, read_instant_ms

pytestmark = pytest.mark.heavy
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with (
        prometheus_on(prometheus_binary, tmp_path_factory.mktemp("prometheus")) as address,
        closing(HTTPConnection(address, timeout=30)) as connection,
    ):

        def ask(path: str, **fields: str) -> dict[str, Any]:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", f"/api/v1/{path}", urlencode(fields), headers)
            return dict(json.load(connection.getresponse()))

        yield ask


def _drawn(count: int) -> list[str]:
    """Seconds with more digits than are kept, many of them beside half a millisecond."""
    drawing = random.Random(29)
    near = [f"{drawing.randrange(10**9)}.{drawing.randrange(1000):03d}{drawing.choice('0459')}" for _ in range(count)]
    return near + [repr(drawing.uniform(-3, 3)) for _ in range(count)]


def test_instants_in_seconds_are_rounded_as_there(ask: Ask) -> None:
    halves = ["0.0005", "0.00049", "0.0025", "0.9996", "1.0005", "-0.0005", "-0.0004", "-1.5", "-1.9996"]
    for text in [*halves, "1e3", "1E+3", ".5", "5.", "+5", "012", "1_0.5_5", *_drawn(150)]:
        at_s, _ = ask("query", query="time()", time=text)["data"]["result"]
        assert (text, read_instant_ms(text)) == (text, round(at_s * 1000))


def test_instants_in_rfc_3339_are_cut_as_there(ask: Ask) -> None:
    fractions = ("", ".5", ",5", ".0005", ".0009999", ".999999999", ".000000001")
    days = ("2026-09-21T16:10:00", "1969-12-31T23:59:58", "1700-01-01T00:00:00", "2024-02-29T12:00:00")
    for text in [day + part + zone for day in days for part in fractions for zone in ("Z", "-00:00", "+05:30")]:
        at_s, _ = ask("query", query="time()", time=text)["data"]["result"]
        assert (text, read_instant_ms(text)) == (text, round(at_s * 1000))


def test_steps_are_cut_as_there(ask: Ask) -> None:
    seconds = ["1.0009", "1.001", "0.0015", "0.009", "0.001", "1e-3", "+1", ".5", "1_0", "9223372036", *_drawn(60)]
    for text in [*seconds, "1ms", "1s500ms", "1m30s", "1d", "1y", "292y"]:
        step_ms = read_duration_ms(text)
        if step_ms <= 0:
            continue
        asked = ask("query_range", query="time()", start="0", end=str(step_ms / 1000), step=text)
        (row,) = asked["data"]["result"]
        assert (text, step_ms) == (text, round(row["values"][-1][0] * 1000))


@pytest.mark.parametrize("text", ["", "NaN1", "1__0", "_1", "1_", "e5", ".", "0x10", " 5", "5 ", "1e400", "٣", "1;2"])
def test_what_is_neither_number_nor_time_is_refused_there_too(ask: Ask, text: str) -> None:
    for read, answer in (
        (read_instant_ms, ask("query_range", query="time()", start=text, end="1", step="1")),
        (read_duration_ms, ask("query_range", query="time()", start="0", end="1", step=text)),
    ):
        with pytest.raises(ValueError, match="valid"):
            read(text)
        assert answer["errorType"] == "bad_data"


@pytest.mark.parametrize(
    "text",
    [
        *("2026-09-21T16:10:00", "2026-09-21t16:10:00z", "2026-09-21 16:10:00Z", "2026-09-21T16:10Z"),
        *("2026-09-21T16:10:00.Z", "2026-09-21T16:10:00.1234567891Z", "2026-02-29T00:00:00Z", "2026-9-1T00:00:00Z"),
        *("2026-09-21T24:00:00Z", "2026-09-21T16:10:60Z", "10000-01-01T00:00:00Z", "2026-09-21T16:10:00+2:00"),
    ],
)
def test_what_is_no_rfc_3339_is_refused_there_too(ask: Ask, text: str) -> None:
    with pytest.raises(ValueError, match="valid timestamp"):
        read_instant_ms(text)
    assert ask("query", query="time()", time=text)["errorType"] == "bad_data"


@pytest.mark.parametrize("text", ["1.5s", "1h1h", "1m1h", "-1s", "1D", "293y", "9223372037", "1e300", "1m 30s", "s"])
def test_what_is_no_duration_is_refused_there_too(ask: Ask, text: str) -> None:
    with pytest.raises(ValueError, match="valid duration"):
        read_duration_ms(text)
    for fields in ({"step": text}, {"step": "1", "timeout": text}):
        answer = ask("query_range", query="time()", start="0", end="1", **fields)
        assert answer["errorType"] == "bad_data"
