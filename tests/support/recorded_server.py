"""A server that replays recorded HTTP exchanges, over real HTTP on the loopback interface.

Rule: a request is answered with what the recorded server answered to the same request and nothing is made up: what was
never recorded is a 404 that shows the recorded request nearest to it. Two requests are the same that agree in method,
path, fields (of the URL or the form, in any order, with those that `defaults` fills in) and tenant, and that have every
other header with which the exchange was recorded. So an exchange recorded without a header stands for a server that
does not know it, unless the same exchange was recorded with it. An exchange of several recordings is replayed in the
order of their names, the last one for ever.

    with replaying(read_exchanges(folder, cluster="prod")) as server:
        connect(…, Backend(…, url=server.url))
        server.asked          # the requests that came, as `prometheus_replies.Request`
        server.asked_unknown  # those that were never recorded: an empty list is worth an assertion
"""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.prometheus_replies import RepliesServer, Reply, Request, answering

_TENANT = "x-scope-orgid"
#: What a client says of its own body tells nothing about what it asks.
_OF_THE_BODY = "content-type"

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exchange:
    """One recorded request and its answer; the names of headers are in lower case, `fields` are sorted."""

    name: str
    cluster: str
    method: str
    path: str
    fields: Fields
    headers: Mapping[str, str]
    reply: Reply

    @property
    def tenant(self) -> str:
        return self.headers.get(_TENANT, "")


@dataclass
class RecordedServer(RepliesServer):
    """Where it listens, what it was asked, and what of that was never recorded."""

    asked_unknown: list[Request] = field(default_factory=list)


def read_exchanges(folder: Path, *, cluster: str = "", names: Iterable[str] = ("*",)) -> list[Exchange]:
    """Read the recordings of a folder whose file names (without `.json`) match, of one cluster's server or of all."""
    files = sorted({file for name in names for file in folder.glob(f"{name}.json")})
    found = [read_exchange(file) for file in files]
    return [exchange for exchange in found if cluster in ("", exchange.cluster)]


def read_exchange(file: Path) -> Exchange:
    """Read one recording."""
    recorded = json.loads(file.read_text(encoding="utf-8"))
    request, response = recorded["request"], recorded["response"]
    encoded = response.get("body_base64")
    body = base64.b64decode(encoded) if encoded is not None else response.get("body", "").encode()
    fields = _sorted([*request["query"], *request.get("form", ())])
    headers = {name.lower(): value for name, value in request["headers"].items()}
    reply = Reply(body, response["status"], response["headers"])
    return Exchange(file.stem, recorded["cluster"], request["method"], request["path"], fields, headers, reply)


@contextmanager
def replaying(
    exchanges: Iterable[Exchange],
    *,
    defaults: Mapping[str, str] | None = None,
    otherwise: Callable[[Request], Reply | None] = lambda request: None,
) -> Iterator[RecordedServer]:
    """Serve exchanges inside the block.

    `defaults` are the values that the recorded server takes for fields that a request leaves out, where the recordings
    show them: with and without them a request is the same. `otherwise` may answer what was never recorded.
    """
    recorded, filled_in = list(exchanges), dict(defaults or {})
    times_asked: dict[str, int] = {}

    def reply(request: Request) -> Reply:
        found = _matching(recorded, request, filled_in)
        if found:
            key = _shown(found[0].method, found[0].path, found[0].fields, found[0].headers)
            turn = times_asked[key] = times_asked.get(key, 0) + 1
            return found[min(turn, len(found)) - 1].reply
        given = otherwise(request)
        if given is not None:
            return given
        server.asked_unknown.append(request)
        return Reply(_never_recorded(recorded, request).encode(), 404, {"Content-Type": "text/plain; charset=utf-8"})

    with answering(reply) as listening:
        server = RecordedServer(listening.url, listening.asked)
        yield server


def _matching(recorded: list[Exchange], request: Request, defaults: Mapping[str, str]) -> list[Exchange]:
    """Return the exchanges of this request; of those that share it otherwise, the ones with the most headers."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    fields = _filled_in(request.fields, defaults)
    found = [
        exchange
        for exchange in recorded
        if (exchange.method, exchange.path, exchange.tenant) == (request.method, request.path, headers.get(_TENANT, ""))
        and _filled_in(exchange.fields, defaults) == fields
        and all(headers.get(name) == value for name, value in exchange.headers.items() if name != _OF_THE_BODY)
    ]
    most = max((len(exchange.headers) for exchange in found), default=0)
    return [exchange for exchange in found if len(exchange.headers) == most]


def _filled_in(fields: Fields, defaults: Mapping[str, str]) -> Fields:
    there = {name for name, _ in fields}
    return _sorted([*fields, *((name, value) for name, value in defaults.items() if name not in there)])


def _sorted(pairs: Iterable[Iterable[str]]) -> Fields:
    return tuple(sorted((name, value) for name, value in pairs))


def _never_recorded(recorded: list[Exchange], request: Request) -> str:
    asked = _shown(request.method, request.path, request.fields, {k.lower(): v for k, v in request.headers.items()})
    known = {_shown(one.method, one.path, one.fields, one.headers): one.name for one in recorded}
    near = difflib.get_close_matches(asked, known, n=1, cutoff=0)
    return f"never recorded: {asked}\nnearest: " + (f"{known[near[0]]}: {near[0]}" if near else "none") + "\n"


def _shown(method: str, path: str, fields: Fields, headers: Mapping[str, str]) -> str:
    said = "&".join(f"{name}={value}" for name, value in sorted(fields))
    return f"{method} {path}?{said} tenant={headers.get(_TENANT, '')}"
