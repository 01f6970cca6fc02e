"""A backend that speaks VictoriaLogs' HTTP API: the logs of one cluster.

Rule: an answer holds the first entries that one store would give, or `truncated` says what is missing. VictoriaLogs is
sent filters that accept at least what ours do, and every line is then judged again by the signal's own functions. Of
the lines of one nanosecond it gives whichever it likes: a page that is full proves all but its last nanosecond, which
is asked again with the next. **Unverified**: no VictoriaLogs has answered this yet.
Source: VictoriaMetrics documentation, "VictoriaLogs / Querying" and "LogsQL". docs/add-a-backend.md walks through this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np
import orjson
import re2

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.about import also_told, first_told, named
from federation_core.connectors.http import Answer, Fields, HttpClient, open_client
from federation_core.connectors.refusals import refusal, without_addresses, words_of
from federation_core.errors import InvalidConfig, Malformed, Rejected
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.labels import Labels, MatchOp, quote
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.signals.logs.expr import LineFilter, LineOp, LogQuery, Stage, compile_line_pattern, passing
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.payload import NS_PER_MS, Entries, concat, first_entries, ints, texts, window_ns
from federation_core.tenancy import Scope
from federation_core.times import format_time

_API: Final = "/select/logsql/"
_NS_PER_S: Final = 1_000_000_000
#: The most lines and bytes that are asked for at once, and the most requests that one leaf is worth.
_MOST_LINES, _FEWEST_LINES, _MOST_BYTES, _MOST_REQUESTS = 10_000, 16, 128 * 1024 * 1024, 64
_SMALL_BYTES: Final = 8 * 1024 * 1024
#: Fields that are the line itself, its time and its stream.
_OWN: Final = frozenset(("_time", "_msg", "_stream", "_stream_id"))
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_LABEL: Final = re.compile(r'([^=",{}]+|"(?:[^"\\]|\\.)*")="((?:[^"\\]|\\.)*)"(?:,|$)', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_ESCAPED: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
#: What sorting a page takes too much of, so that a smaller one may be had.
_TOO_MUCH: Final = re.compile(rb"it requires more than \S+ of memory")
_ADDRESSED: Final = re.compile(rb'remoteAddr: "[^"]*"(?:, X-Forwarded-For: "[^"]*")?; (?:requestURI: [^;]*; )?')
_RELEASE: Final = re.compile(r'^vm_app_version\{[^}]*short_version="([^"]*)"', re.MULTILINE)
#: Stands for the stream of a line that came without one, as lines of new streams do for a while.
_UNNAMED: Final = Labels([("", "")])
_NEW_STREAM: Final = "the backend cannot name the streams of some lines yet, as they are new"
_TENANT: Final = re.compile(r"(\d{1,10})(?::(\d{1,10}))?", re.ASCII)


class VictoriaLogs:
    """The logs of one cluster behind VictoriaLogs' API; safe to use from several threads."""

    kind = "victorialogs"
    #: Filters are no engine: whatever a query says is judged again.
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, http: HttpClient, tenant: Mapping[str, str]) -> None:
        self._http, self._tenant = http, tenant

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Return the first entries of the leaf's query in its direction, as Entries; all where it has no limit.

        More than the tenant's `max_entries` are not read, and then it is said. Raises QueryCanceled, ClusterError.
        """
        limit = min(leaf.limit or scope.limits.max_entries, scope.limits.max_entries)
        query = parse(leaf.text)
        if any(one.op is LineOp.LACKS and not one.text for one in query.line_filters):
            # Every line holds the empty text.
            return Fetched(Entries())
        entries, truncated = self._first(query, leaf, limit, deadline)
        return Fetched(first_entries(entries, limit, leaf.direction, more=bool(truncated)), truncated=truncated)

    def _first(self, query: LogQuery, leaf: Leaf, need: int, deadline: Deadline) -> tuple[Entries, str]:
        """Return at least the first `need` entries and what shows whether there are more, or say why not."""
        start_ns, end_ns = (min(max(t_ns, 0), 2**63 - 1) for t_ns in window_ns(leaf.time_range))
        backward, filters, when, unnamed = leaf.direction == "backward", _narrowing(query), "", ""
        parts, count, size, most, left_bytes = list[Entries](), 0, need + 1, _MOST_LINES, _MOST_BYTES
        for _ in range(_MOST_REQUESTS):
            if start_ns >= end_ns:
                return concat(parts), unnamed
            size, order = min(size, most), "(_time) desc" if backward else "(_time)"
            text = f"_time:[{_instant(start_ns)}, {_instant(end_ns)}) {filters} | sort by {order} limit {size}"
            try:
                page, size_bytes = self._lines(text, deadline, left_bytes)
            except Rejected as refused:
                if size <= _FEWEST_LINES or not _TOO_MUCH.search(refused.message.encode()):
                    raise
                most = size // 2
                continue
            left_bytes, unnamed = left_bytes - size_bytes, unnamed or (_NEW_STREAM if _UNNAMED in page.sets else "")
            # Whatever a backend makes of the edges, what lies beyond them is not part of the answer.
            found = page.take((page.t_ns >= start_ns) & (page.t_ns < end_ns))
            if len(page) < size:
                return concat([*parts, _accepted(query, found)]), unnamed
            if not len(found):
                raise self._malformed("lines of another time than was asked")
            edge_ns = int(found.t_ns.min() if backward else found.t_ns.max())
            is_edge, when = found.t_ns == edge_ns, format_time(edge_ns // NS_PER_MS)
            wanted, at_edge = _accepted(query, found.take(~is_edge)), _accepted(query, found.take(is_edge))
            parts, count = [*parts, wanted], count + len(wanted)
            if count >= need and count + len(at_edge) > need:
                return concat([*parts, at_edge]), unnamed
            if is_edge.all() and size >= most:
                return concat([*parts, at_edge]), f"{size} lines or more at one nanosecond ({when}) are too many"
            start_ns, end_ns = (start_ns, edge_ns + 1) if backward else (edge_ns, end_ns)
            # The edge again, what is still needed, and one more; many at once where few are wanted, or none is whole.
            lines, rare = int(is_edge.sum()) + max(0, need - count) + 1, 2 * len(wanted) < len(found)
            size = most if is_edge.all() else max(lines, 2 * size) if rare else lines
        return concat(parts), f"what lies beyond {when} is not looked at: it takes more than {_MOST_REQUESTS} requests"

    def inventory(self, deadline: Deadline) -> Inventory:
        """List the names of the streams' fields of the last hour. Raises QueryCanceled, ClusterError."""
        return Inventory(label_names=self._stream_fields("_time:1h", deadline))

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend answers a question; raise the ClusterError that explains why not otherwise."""
        self._stream_fields("_time:1m", deadline)

    def about(self, deadline: Deadline) -> About:
        """Return VictoriaLogs' release, and the time of its newest line of the last hour."""
        newest_ms = first_told(partial(self._newest_ms, deadline))
        return About(also_told(partial(self._release, deadline)) or "", newest_ms)

    def _newest_ms(self, deadline: Deadline) -> int | None:
        page, _ = self._lines("_time:1h | sort by (_time) desc limit 1", deadline, _SMALL_BYTES)
        return int(page.t_ns.max()) // NS_PER_MS if len(page) else None

    def _release(self, deadline: Deadline) -> str:
        answer = self._http.ask("GET", "/metrics", (), deadline, max_bytes=_SMALL_BYTES)
        found = _RELEASE.search(answer.body.decode(errors="replace")) if answer.status == 200 else None
        return named("VictoriaLogs", found[1]) if found else ""

    def _lines(self, text: str, deadline: Deadline, max_bytes: int) -> tuple[Entries, int]:
        body = self._ask("query", text, deadline, max(1, max_bytes)).body
        if not body:
            # No lines are an empty body, which anybody may answer with. This question has an answer that one must know.
            self._stream_fields("_time:1s", deadline)
        try:
            return _read(body), len(body)
        except (ValueError, TypeError, OverflowError):
            raise self._malformed("no log lines") from None

    def _stream_fields(self, text: str, deadline: Deadline) -> tuple[str, ...]:
        answer = self._ask("stream_field_names", text, deadline, _SMALL_BYTES)
        try:
            return tuple(sorted("" + found["value"] for found in orjson.loads(answer.body)["values"]))
        except (ValueError, LookupError, TypeError):
            raise self._malformed("no names of fields") from None

    def _ask(self, path: str, text: str, deadline: Deadline, max_bytes: int) -> Answer:
        # A cluster of VictoriaLogs may be set up to answer with what some of its nodes have.
        fields: Fields = (("query", text), ("allow_partial_response", "0"))
        if deadline.clock is not None:
            fields = (*fields, ("timeout", f"{max(0.001, deadline.remaining_s(deadline.clock())):.3f}s"))
        answer = self._http.ask("POST", _API + path, fields, deadline, max_bytes=max_bytes, headers=self._tenant)
        if answer.status == 200:
            return answer
        # Whom it was sent to is for the backend's own log. What is refused otherwise is readable, and too much.
        found = _TOO_MUCH.search(answer.body)
        answer = replace(answer, body=found[0] if found else _ADDRESSED.sub(b"", answer.body))
        if answer.status == 400 and answer.body.startswith((b"cannot parse query", b"unsupported path")):
            said = without_addresses(words_of(answer), text)
            raise Malformed(f"the backend cannot read the query: {said}", cluster=self._http.cluster)
        raise refusal(answer, self._http.cluster, "VictoriaLogs' API", text)

    def _malformed(self, what: str) -> Malformed:
        return Malformed(f"the answer is not one of VictoriaLogs' API: {what}", cluster=self._http.cluster)


def _narrowing(query: LogQuery) -> str:
    """Print filters that accept every line that the query accepts, and mostly no other."""
    pairs = [(m, f"(?s:{m.value})" if "~" in m.op else m.value) for m in query.selector.matchers if _is_sent(m.value)]
    streams = ",".join(f"{quote(m.label)}{m.op.value}{quote(value)}" for m, value in pairs)
    return " ".join([f"{{{streams}}}" if streams else "*", *filter(None, map(_filter, query.stages))])


def _is_sent(text: str) -> bool:
    """Tell whether a text or pattern means the same there: what is quoted ends, and no byte was replaced by U+FFFD."""
    return "\\Q" not in text and "\ufffd" not in text


def _filter(stage: Stage) -> str:
    """Print a filter in LogsQL; nothing where it is judged here alone. A field that is absent is an empty one."""
    if isinstance(stage, LineFilter):
        return _line_filter(stage.op, stage.text) if stage.text and _is_sent(stage.text) else ""
    matcher, value, sign = stage.matcher, stage.matcher.value, "!" if "!" in stage.matcher.op else ""
    if matcher.label in _OWN or not _is_sent(value):
        return ""
    if matcher.op in (MatchOp.EQ, MatchOp.NE):
        return f"{sign}{quote(matcher.label)}:{'=' if value else ''}{quote(value)}"
    # A regexp filter finds its pattern anywhere.
    return "" if not sign and matcher.matches("") else f"{sign}{quote(matcher.label)}:~{quote(f'^(?s:{value})$')}"


def _line_filter(op: LineOp, text: str) -> str:
    # A word filter finds whole words only: a text is sent as the pattern that finds just it.
    if op in (LineOp.CONTAINS, LineOp.LACKS):
        return f"{'!' if op is LineOp.LACKS else ''}_msg:~{quote(re2.escape(text))}"
    if op is LineOp.FINDS:
        return "" if compile_line_pattern(text).search("") else f"_msg:~{quote(f'(?-s:{text})')}"
    # Should its dot find a newline there, lines that are wanted would be missing.
    return "" if "." in text else f"!_msg:~{quote(text)}"


def _accepted(query: LogQuery, entries: Entries) -> Entries:
    used, streams = np.unique(entries.labels, return_inverse=True)
    sets = [entries.sets[index] for index in used.tolist()]
    chosen = np.array([labels != _UNNAMED and query.selector.matches(labels) for labels in sets], dtype=np.bool_)
    return passing(query, entries if chosen.all() else entries.take(chosen[streams]))


def _read(body: bytes) -> Entries:
    """Read JSON lines. An ordinal counts exact copies: VictoriaLogs keeps those, and no order among the others.

    Raises ValueError, TypeError, OverflowError: they are something else.
    """
    if body and not body.endswith(b"\n"):
        raise ValueError("the last line has no end")
    # Bytes that are no UTF-8 are passed on as they were stored.
    rows = orjson.loads(f"[{body.decode(errors='replace').removesuffix(chr(10)).replace(chr(10), ',')}]")
    sets, streams = dict[Labels, int](), dict[str, tuple[int, frozenset[tuple[str, str]]]]()
    keys = list[tuple[int, str, int, int]]()
    for row in rows:
        if type(row) is not dict or not set(map(type, row.values())) <= {str}:
            raise ValueError("a line is no object of texts")
        stream = row.get("_stream", "")
        if stream not in streams:
            labels = _labels_of(stream) if stream else _UNNAMED
            streams[stream] = sets.setdefault(labels, len(sets)), frozenset(labels)
        place, shown = streams[stream]
        apart = Labels(sorted([pair for pair in row.items() if pair[0] not in _OWN and pair[1] and pair not in shown]))
        keys.append((_nanoseconds(row.get("_time", "")), row.get("_msg", ""), place, sets.setdefault(apart, len(sets))))
    seen, ordinals = Counter[tuple[int, str, int, int]](), list[int]()
    for key in keys:
        ordinals.append(seen[key])
        seen[key] += 1
    t_ns, lines, places, metadata = zip(*keys, strict=True) if keys else ((), (), (), ())
    columns = ints(t_ns), texts(lines), ints(places), ints(metadata), ints(ordinals)
    return Entries(*columns, np.zeros(len(keys), dtype=np.int64), tuple(sets), ("",))


def _labels_of(text: str) -> Labels:
    at, end, pairs = 1, max(1, len(text) - 1), list[tuple[str, str]]()
    while found := _LABEL.match(text, at, end):
        pairs.append((_ESCAPE.sub(_unescaped, found[1].strip('"')), _ESCAPE.sub(_unescaped, found[2])))
        at = found.end()
    if at != end or text[:1] + text[-1:] != "{}":
        raise ValueError("no stream")
    return Labels.of(pairs)


def _unescaped(escape: re.Match[str]) -> str:
    # As Go escapes; a byte of its own is no UTF-8, and neither is half of a surrogate pair.
    byte, code, char = escape[1], int(escape[1] or escape[2] or escape[3] or "0", 16), escape[4]
    wrong = (byte and code > 0x7F) or 0xD800 <= code < 0xE000
    return _ESCAPED.get(char, char) if char else "\ufffd" if wrong else chr(code)


def _nanoseconds(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("no time")
    second = datetime.fromisoformat(found[1] + "+00:00")
    return int(second.timestamp()) * _NS_PER_S + int((found[2] or "").ljust(9, "0"))


def _instant(t_ns: int) -> str:
    # To the nanosecond: of a coarser end VictoriaLogs takes all that it may mean.
    whole_s, rest_ns = divmod(t_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(whole_s, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first query.

    Raises InvalidConfig: no URL, another signal, an option of metrics, no tenant of VictoriaLogs', bad certificates.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a victorialogs backend needs `url`, the address before /select/logsql")
    if backend.signal != "logs":
        raise InvalidConfig(f"{backend.origin}: a victorialogs backend holds no {backend.signal}, only logs")
    if backend.pushdown != "exact":
        raise InvalidConfig(f"{backend.origin}: `pushdown` is for metrics; victorialogs is always sent the filters")
    tenant = _TENANT.fullmatch(backend.access.tenant)
    if tenant is None and backend.access.tenant:
        raise InvalidConfig(f"{backend.origin}: a tenant of VictoriaLogs is numbers, `account` or `account:project`")
    headers = {"AccountID": tenant[1], "ProjectID": tenant[2] or "0"} if tenant else {}
    return VictoriaLogs(open_client(cluster, backend), headers)
