"""Following a job by its server-sent events, over as many connections as it takes.

Rule: a connection that is lost is opened again with the id of the newest event, so nothing is shown twice and nothing
is missed; a server that stays away for longer than `GIVE_UP_S` is said.
Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from webapp.cli.client import Api, NoAnswer

#: How long to try to reach a server again before we say that it is gone, in seconds.
GIVE_UP_S = 30.0
#: How long to wait between two tries, in seconds.
_RETRY_S = 0.5


def follow(api: Api, query_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the job of every event, until the one with which it ends.

    Raises NoAnswer: the server refuses (no such query), or is away for too long.
    """
    seen_id, lost_s = "", time.monotonic()
    while True:
        try:
            with api.events(query_id, seen_id) as stream:
                if stream.status == 204:
                    return
                if not stream.reply.ok and stream.status < 500 and stream.status != 429:
                    raise stream.reply.refusal()
                for event_id, name, job in _events(stream.lines()):
                    seen_id, lost_s = event_id, time.monotonic()
                    yield job
                    if name == "end":
                        return
        except ConnectionError as exc:
            if time.monotonic() - lost_s > GIVE_UP_S:
                raise NoAnswer(f"{exc}; query {query_id} goes on without us") from None
        if time.monotonic() - lost_s > GIVE_UP_S:
            raise NoAnswer(f"the server ends every stream; query {query_id} goes on without us")
        time.sleep(_RETRY_S)


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (id, name, job) of every event that is whole; what a lost connection has cut off is not."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            job = json.loads(fields["data"])
            yield fields.get("id", ""), fields.get("event", ""), job
            fields = {}
