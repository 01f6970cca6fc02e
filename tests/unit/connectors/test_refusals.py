"""What backends say when they refuse, in the words that reach who asks."""

from __future__ import annotations

import pytest

from federation_core.connectors.http import Answer
from federation_core.connectors.refusals import refusal, without_addresses
from federation_core.errors import Rejected, Unreachable


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            'Post "http://10.0.0.1:9/read": dial tcp 10.0.0.1:9: refused',
            'Post "<address>": dial tcp <address>: refused',
        ),
        ("lookup store.internal on [fd00::1]:53: no such host", "lookup <address> on <address>: no such host"),
        ("receive series from Addr: store-0.stores:10901 MinTime: 5", "receive series from Addr: <address> MinTime: 5"),
        ("s3://bucket/blocks is gone", "<address> is gone"),
        # Nothing of these is an address.
        (
            "found [2:30], [5m:30s] and 12:30:45 at 1:24 in v2.42.0",
            "found [2:30], [5m:30s] and 12:30:45 at 1:24 in v2.42.0",
        ),
        ("code = Unavailable desc = too many requests", "code = Unavailable desc = too many requests"),
    ],
)
def test_addresses_are_not_told(said: str, shown: str) -> None:
    assert without_addresses(said) == shown


def test_of_its_own_troubles_a_backend_tells_no_address_and_of_a_query_what_was_asked() -> None:
    words = b"cannot reach ingester-0.ring:9095"
    down = refusal(Answer(500, {}, words), "prod", "Loki's API")
    assert (type(down), down.message) == (Unreachable, "the backend answers 500: cannot reach <address>")
    wrong = refusal(Answer(400, {}, b'unexpected "http://shop:80"'), "prod", "Loki's API")
    assert (type(wrong), wrong.message) == (Rejected, 'the backend refuses the query: unexpected "http://shop:80"')


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", 1.0),
        ("-1", 1.0),
        ("١", 1.0),
        ("1" * 9, 1.0),
        ("", 1.0),
    ],
)
def test_when_to_try_again_is_said_in_seconds_or_as_a_time_on_the_backends_clock(
    said: str, seconds: float
) -> None:
    headers = {"retry-after": said, "date": "Tue, 24 Nov 2026 10:00:00 GMT"}
    found = refusal(Answer(429, headers, b""), "prod", "Loki's API")
    assert found.retry_after_s == seconds
