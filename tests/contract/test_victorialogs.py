"""VictoriaLogs as a backend keeps the contract, as far as its documentation tells: **unverified** by any real one.

No VictoriaLogs runs here and none was recorded. The model below does what the documentation says, each behaviour with
the place that says so; what Loki's recordings hold is loaded into it, and the answers are held against their truth.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.connectors.backends import victorialogs
from federation_core.connectors.backends.victorialogs import VictoriaLogs
from federation_core.connectors.http import HttpClient
from federation_core.errors import ClusterError, InvalidConfig, Malformed, Rejected, TimedOut, TooLarge, Unreachable
from federation_core.health import About
from federation_core.labels import Labels, quote
from federation_core.query import Deadline, Direction, TimeRange
from federation_core.signals.logs.language import matches, parse
from federation_core.signals.logs.payload import Entries, Entry, first_entries
from tests.support.loki_connected import Unwired, entries_of, federate_logs, fetch
from tests.support.loki_model import END_MS, RECORDED, START_MS, recorded_lines
from tests.support.prometheus_replies import RepliesServer, Reply, Request, answering

pytestmark = pytest.mark.heavy

CLUSTERS = ("prod", "app-prod", "shared-services")
TRUTH: Mapping[str, Any] = json.loads((RECORDED.parent / "loki_truth.json").read_text(encoding="utf-8"))
#: "Querying / Querying logs": JSON lines.
LINES = {"Content-Type": "application/stream+json"}
_TOKEN = re.compile(
    r'\s+|(?P<text>"(?:[^"\\]|\\.)*")|_time:\[(?P<start>[^,]+), (?P<end>[^)]+)\)|(?P<recent>_time:[0-9]+[smh])'
    r"|(?P<sort>\| sort by \(_time\)(?P<desc> desc)? limit (?P<limit>[0-9]+)$)"
    r"|(?P<op>[{},*]|:=|:~|:|=~|!~|!=|=|!|_msg)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Model:
    """One VictoriaLogs.

    * Fields that are empty are not there, and the fields of a stream are fields of its lines too ("Key concepts").
    * Exact copies are kept: nothing says that they are not.
    * Without the tenant's headers it is tenant 0:0 ("Querying / Querying logs").
    """

    lines: tuple[Entry, ...]
    tenant: str = "0:0"
    most_sorted: int = 10**9
    #: Times have nine digits in the documentation; RFC 3339 leaves zeros at their end out.
    nine_digits: bool = True
    asked: list[str] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        tenant = f"{headers.get('accountid', '0')}:{headers.get('projectid', '0')}"
        mine = self.lines if tenant == self.tenant else ()
        assert request.method == "POST"
        query = request.field("query")
        self.asked.append(query)
        match request.path:
            case "/select/logsql/query":
                return self._query(query, mine)
            case "/select/logsql/stream_field_names":
                # "Querying / Querying stream field names"
                hits = Counter(name for line in mine for name in line.labels.names())
                return Reply({"values": [{"value": name, "hits": count} for name, count in hits.items()]})
        return refused(f'unsupported path requested: "{request.path}"')

    def _query(self, text: str, mine: Iterable[Entry]) -> Reply:
        try:
            accepts, start_ns, end_ns, limit, backward = read_query(text)
        except AssertionError:
            return refused(f"cannot parse query [{text}]: unexpected token")
        if limit > self.most_sorted:
            return refused(
                f"cannot execute query [{text}]: cannot calculate [sort by (_time) limit {limit}],"
                " since it requires more than 51MB of memory"
            )  # fmt: skip
        found = [line for line in mine if start_ns <= line.t_ns < end_ns and accepts(line)]
        # "LogsQL / sort pipe" tells no order between equal values.
        random.Random(len(self.asked)).shuffle(found)
        found.sort(key=lambda line: line.t_ns, reverse=backward)
        return Reply("".join(self._row(line) + "\n" for line in found[:limit]).encode(), headers=LINES)

    def _row(self, line: Entry) -> str:
        # "Key concepts / Stream fields": a stream is named by its labels.
        stream = "{" + ",".join(f"{name}={quote(value)}" for name, value in line.labels) + "}"
        seconds, nanoseconds = divmod(line.t_ns, 10**9)
        digits = f".{nanoseconds:09d}" if self.nine_digits else f".{nanoseconds:09d}".rstrip("0").rstrip(".")
        time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"
        row = {"_time": time, "_stream": stream, "_stream_id": "0" * 48, **fields_of(line)}
        return json.dumps({name: value for name, value in sorted(row.items()) if value}, ensure_ascii=False)


def fields_of(line: Entry) -> dict[str, str]:
    return {**line.metadata.as_dict(), **line.labels.as_dict(), "_msg": line.line}


def refused(words: str) -> Reply:
    return Reply(words.encode(), 400, {"Content-Type": "text/plain; charset=utf-8"})


def read_query(text: str) -> tuple[Callable[[Entry], bool], int, int, int, bool]:
    """Read a query of the LogsQL that is sent: what accepts a line, the window, the limit, whether backward.

    "LogsQL / Time filter" ([a, b) and durations), "Stream filter" (as in LogQL, an absent label is empty), "Exact
    filter" (:=), "Empty value filter" (:""), "Regexp filter" (~, anywhere in the value, RE2), "Logical filter" (all
    must hold, ! negates), "sort pipe". Raises AssertionError: it is something else.
    """
    at, tokens = 0, list[re.Match[str]]()
    while at < len(text):
        token = _TOKEN.match(text, at)
        assert token is not None, text[at:]
        tokens += [token] if token[0].strip() else []
        at = token.end()
    time, *rest, sort = tokens
    assert time["start"] or time["recent"]
    assert sort["sort"]
    tests, said = list[Callable[[Entry], bool]](), [_value(token) for token in rest]
    while said:
        match said:
            case ["*", *said]:
                pass
            case ["{", *said]:
                while said[0] != "}":
                    name, op, value, *said = said[1:] if said[0] == "," else said
                    tests.append(_stream_test(name[1:], op, value[1:]))
                said = said[1:]
            case ["!", name, op, value, *said]:
                tests.append(_negated(_field_test(name, op, value)))
            case [name, op, value, *said]:
                tests.append(_field_test(name, op, value))
            case _:
                raise AssertionError(said)
    window = (_instant(time["start"]), _instant(time["end"])) if time["start"] else (0, 2**63)
    return lambda line: all(test(line) for test in tests), *window, int(sort["limit"]), bool(sort["desc"])


def _value(token: re.Match[str]) -> str:
    # Strings are as in Go, which Python reads alike as far as they are sent; a quotation mark tells them from words.
    return '"' + ast.literal_eval(token["text"]) if token["text"] else token["op"]


def _stream_test(name: str, op: str, value: str) -> Callable[[Entry], bool]:
    found = re2.compile(value).fullmatch if "~" in op else lambda text: text == value or None
    return lambda line: (found(line.labels.get(name)) is None) == op.startswith("!")


def _field_test(name: str, op: str, value: str) -> Callable[[Entry], bool]:
    assert value[0] == '"'
    if op == ":~":
        finds = re2.compile(value[1:]).search
        return lambda line: finds(fields_of(line).get(name.strip('"'), "")) is not None
    # What is no exact filter is one of words, but for the empty value.
    assert op == ":=" or (op == ":" and value == '"')
    return lambda line: fields_of(line).get(name.strip('"'), "") == value[1:]


def _negated(test: Callable[[Entry], bool]) -> Callable[[Entry], bool]:
    return lambda line: not test(line)


def _instant(text: str) -> int:
    whole, digits = text.removesuffix("Z").split(".")
    assert len(digits) == 9
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(digits)


def backend_at(url: str, tenant: str = "", **options: Any) -> Backend:
    return Backend("logs", "victorialogs", url=url, origin="clusters.yaml:7", access=Access(tenant=tenant), **options)


def opened(server: RepliesServer | str, tenant: str = "", cluster: str = "prod") -> Connector:
    backend = backend_at(server if isinstance(server, str) else server.url, tenant)
    return connect(Cluster(cluster, "e", (backend,)), backend)


def over(reply: Callable[[Request], Reply]) -> VictoriaLogs:
    """Open a connector to a model without a server; all but the sockets is real."""
    return VictoriaLogs(cast("HttpClient", Unwired(reply)), {})


def told(entries: Iterable[Entry]) -> Counter[tuple[int, str, Labels, Labels]]:
    return Counter((entry.t_ns, entry.line, entry.labels, entry.metadata) for entry in entries)


def counted(lines: Iterable[Entry]) -> list[Entry]:
    """Number exact copies."""
    seen: Counter[Entry] = Counter()
    found = []
    for line in lines:
        found.append(Entry(line.t_ns, line.line, line.labels, line.metadata, seen[line]))
        seen[line] += 1
    return found


def answer(text: str, lines: Iterable[Entry], limit: int, direction: Direction) -> Entries:
    """The first entries of one store that holds all lines."""
    return first_entries(Entries.of(counted(e for e in lines if matches(parse(text), e))), limit, direction)


@pytest.fixture(scope="module")
def three() -> Iterator[dict[str, Connector]]:
    with ExitStack() as stack:
        models = {name: Model(recorded_lines(name), nine_digits=name != "prod") for name in CLUSTERS}
        yield {
            name: opened(stack.enter_context(answering(model.reply)), cluster=name) for name, model in models.items()
        }


class TestTruth:
    """What Loki's recordings hold, held by VictoriaLogs."""

    @pytest.mark.parametrize("cluster", ["prod", "shared-services"])
    def test_all_lines_of_a_server_are_those_of_the_truth(self, cluster: str) -> None:
        lines = recorded_lines(cluster)
        with answering(Model(lines).reply) as server:
            found = entries_of(fetch(opened(server), "{}", limit=999))
        assert (told(found), found.more) == (told(lines), False)
        assert Counter(entry.labels.get("service") for entry in found) == TRUTH[cluster]["stored"]
        levels = Counter(f"{entry.labels.get('service')}/{entry.labels.get('level')}" for entry in found)
        assert levels == TRUTH[cluster]["stored_by_level"]

    def test_a_search_over_three_clusters_equals_the_truth(self, three: dict[str, Connector]) -> None:
        traces = sorted(
            {trace for cluster in ("prod", "shared-services") for trace in TRUTH[cluster]["lines_by_trace"]}
        )
        for trace in traces[::4]:
            payload, warnings = federate_logs(f'{{}} |= "{trace}"', three)
            found = Counter(entry.cluster for entry in payload.entries)
            every = {name: sum(trace in line.line for line in recorded_lines(name)) for name in CLUSTERS}
            assert (found, warnings) == (Counter(every), ())
            for cluster in ("prod", "shared-services"):
                assert found[cluster] == TRUTH[cluster]["lines_by_trace"].get(trace, 0)

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    @pytest.mark.parametrize("limit", [1, 17, 100, 639])
    def test_the_first_entries_of_all_are_those_of_one_store(
        self, three: dict[str, Connector], limit: int, direction: Direction
    ) -> None:
        payload, _ = federate_logs("{}", three, limit=limit, direction=direction)
        every = [line.t_ns for cluster in CLUSTERS for line in recorded_lines(cluster)]
        assert [entry.t_ns for entry in payload] == sorted(every, reverse=direction == "backward")[:limit]


TEXTS = st.text(st.sampled_from('ab.*"\\\n`é日\x00 |{}'), max_size=5)
VALUES = st.sampled_from(["", "a", "b", "ab", "a\nb", 'q"', "\\", "é"])
PATTERNS = st.sampled_from(
    ["a", "a.*b", "a?", "", "^b", "b$", "(?i)A", "a|b", ".+", "[^a]", "\\.", "\\Qa", "(?m)^b", "é"]
)
ENTRIES = st.builds(
    lambda t_ns, line, a, b, m: Entry(START_MS * 10**6 + t_ns, line, Labels.of({"a": a, "b": b}), Labels.of({"m": m})),
    st.integers(0, 4),
    TEXTS,
    VALUES,
    VALUES,
    VALUES,
)


@st.composite
def queries(draw: st.DrawFn) -> str:
    matchers = draw(st.lists(st.tuples(st.sampled_from("abz"), st.sampled_from(["=", "!="]), VALUES), max_size=2))
    matchers += draw(st.lists(st.tuples(st.sampled_from("abz"), st.sampled_from(["=~", "!~"]), PATTERNS), max_size=2))
    stages = draw(st.lists(st.tuples(st.sampled_from(["|=", "!="]), TEXTS), max_size=2))
    stages += draw(st.lists(st.tuples(st.sampled_from(["|~", "!~"]), PATTERNS), max_size=2))
    names = st.sampled_from(["a", "m", "z", "_msg"])
    filters = draw(st.lists(st.tuples(names, st.sampled_from(["=", "!="]), VALUES), max_size=1))
    filters += draw(st.lists(st.tuples(names, st.sampled_from(["=~", "!~"]), PATTERNS), max_size=1))
    said = ["{" + ", ".join(f"{n}{op}{quote(v)}" for n, op, v in matchers) + "}"]
    return " ".join(
        [*said, *(f"{op} {quote(v)}" for op, v in stages), *(f"| {n}{op}{quote(v)}" for n, op, v in filters)]
    )


class TestExact:
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(ENTRIES, max_size=30), queries(), st.integers(1, 12), st.sampled_from(["forward", "backward"]),
        st.integers(16, 40),
    )  # fmt: skip
    def test_an_answer_is_the_first_entries_of_one_store(
        self, lines: list[Entry], text: str, limit: int, direction: Direction, most: int
    ) -> None:
        found = fetch(over(Model(tuple(lines), most_sorted=most).reply), text, limit=limit, direction=direction)
        if not found.truncated:
            assert entries_of(found) == answer(text, lines, limit, direction)
        else:
            # Halving what takes too much comes down to half of what there is room for, or a little more.
            assert len(lines) > most / 2

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    @pytest.mark.parametrize("limit", range(1, 9))
    def test_a_limit_within_lines_of_one_nanosecond_takes_the_first_of_them(
        self, limit: int, direction: Direction
    ) -> None:
        lines = [Entry(START_MS * 10**6 + n // 4, f"line {7 - n}", Labels.of({"a": str(n % 3)})) for n in range(8)]
        for _ in range(3):
            found = fetch(over(Model(tuple(lines)).reply), "{}", limit=limit, direction=direction)
            assert entries_of(found) == answer("{}", lines, limit, direction)

    def test_exact_copies_are_counted(self) -> None:
        lines = [Entry(START_MS * 10**6, "same", Labels.of({"a": "1"}))] * 3
        assert [entry.ordinal for entry in entries_of(fetch(over(Model(tuple(lines)).reply), "{}"))] == [2, 1, 0]

    def test_more_lines_of_one_nanosecond_than_are_asked_for_at_once_are_said_to_be_missing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(victorialogs, "_MOST_LINES", 20)
        lines = [Entry(START_MS * 10**6, f"line {n}", Labels()) for n in range(30)]
        newer = Entry(START_MS * 10**6 + 1, "newer", Labels())
        found = fetch(over(Model((*lines, newer)).reply), "{}", limit=10)
        assert re.search("20 lines or more at one nanosecond .* are too many", found.truncated)
        assert entries_of(found).more
        assert entries_of(found)[0].line == "newer"
        assert fetch(over(Model((*lines, newer)).reply), "{}", limit=1).truncated == ""

    def test_where_few_lines_of_many_are_wanted_the_pages_grow(self) -> None:
        lines = [Entry(START_MS * 10**6 + n, "a" * (n % 50) + ("b" if n % 50 else "c"), Labels()) for n in range(5_000)]
        model = Model(tuple(lines))
        text = '{} !~ "a.*b" !~ "^b"'
        assert entries_of(fetch(over(model.reply), text, limit=20)) == answer(text, lines, 20, "backward")
        assert len(model.asked) < 10

    def test_what_takes_too_many_requests_is_said_to_be_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(victorialogs, "_MOST_REQUESTS", 3)
        monkeypatch.setattr(victorialogs, "_MOST_LINES", 16)
        lines = [Entry((START_MS + n) * 10**6, str(n), Labels()) for n in range(100)]
        found = fetch(over(Model(tuple(lines)).reply), "{}", limit=90)
        assert re.search("beyond .* is not looked at: it takes more than 3 requests", found.truncated)
        assert [entry.line for entry in entries_of(found)] == [str(99 - n) for n in range(len(entries_of(found)))]
        assert len(entries_of(found)) > 40

    def test_a_page_that_takes_too_much_memory_there_is_asked_for_in_smaller_ones(self) -> None:
        """The words are those of VictoriaLogs' issues: "since it requires more than 51MB of memory"."""
        lines = recorded_lines("prod")
        model = Model(lines, most_sorted=100)
        for text in ("{}", '{} != "' + "long" * 200 + '"'):
            assert entries_of(fetch(over(model.reply), text, limit=250)) == answer(text, lines, 250, "backward")
        with pytest.raises(Rejected, match="refuses the query: it requires more than 51MB of memory"):
            fetch(over(Model(lines, most_sorted=0).reply), "{}")

    def test_lines_of_streams_too_new_to_be_named_are_said_to_be_missing(self) -> None:
        """VictoriaMetrics issue 6042: the index shows a stream's labels some seconds after its first lines."""
        rows = (
            b'{"_time":"2026-11-23T21:40:00Z","_msg":"a"}\n{"_time":"2026-11-23T21:40:01Z","_msg":"b","_stream":"{}"}\n'
        )
        found = fetch(over(lambda _: Reply(rows)), "{}")
        assert "streams of some lines" in found.truncated
        assert [entry.line for entry in entries_of(found)] == ["b"]

    def test_what_is_beyond_the_edges_is_no_part_of_the_answer(self) -> None:
        rows = b"".join(b'{"_time":"%d-11-23T21:40:00Z","_stream":"{}"}\n' % year for year in (2025, 2026, 2027))
        assert len(entries_of(fetch(over(lambda _: Reply(rows)), "{}"))) == 1
        with pytest.raises(Malformed, match="another time than was asked"):
            fetch(over(lambda _: Reply(rows)), "{}", limit=2, when=TimeRange(0, 1))

    def test_a_backend_that_takes_no_notice_of_the_query_changes_nothing(self) -> None:
        lines, model = recorded_lines("prod"), Model(recorded_lines("prod"))
        text = '{service="cart"} |= "a" | level="info"'

        def deaf(request: Request) -> Reply:
            query = request.field("query")
            wide = re.sub(r"\) .*\| sort", ") * | sort", query, flags=re.DOTALL)
            return model.reply(Request("POST", request.path, (("query", wide),), {}, ("", 0)))

        assert entries_of(fetch(over(deaf), text, limit=7)) == answer(text, lines, 7, "backward")


class TestAsked:
    @pytest.mark.parametrize(
        ("text", "filters"),
        [
            ("{}", "*"),
            ('{a="b", c!="", d=~"e|f", g!~".*"}', '{"a"="b","c"!="","d"=~"(?s:e|f)","g"!~"(?s:.*)"}'),
            ('{a=~"\\\\Qb"}', "*"),
            ('{} |= "x.y" != "say \\"hi\\""', '* _msg:~"x\\\\.y" !_msg:~"say\\\\ \\\\\\"hi\\\\\\""'),
            ('{} |= "" |= "\ufffd"', "*"),
            ('{} |~ "a.b" !~ "a.b" !~ "ab" |~ "a*"', '* _msg:~"(?-s:a.b)" !_msg:~"ab"'),
            ('{} | a="b" | a!="b" | a="" | a!=""', '* "a":="b" !"a":="b" "a":"" !"a":""'),
            ('{} | a=~"b" | a!~"b" | a=~"b?"', '* "a":~"^(?s:b)$" !"a":~"^(?s:b)$"'),
            ('{} | _msg="b" | _stream=~"b"', "*"),
        ],
    )
    def test_filters_are_sent_that_accept_at_least_what_ours_do(self, text: str, filters: str) -> None:
        model = Model(())
        fetch(over(model.reply), text)
        window = "_time:[2026-11-23T21:40:00.000000000Z, 2026-11-23T22:10:00.000000000Z)"
        assert model.asked[0] == f"{window} {filters} | sort by (_time) desc limit 101"

    def test_no_line_is_without_the_empty_text_and_nobody_is_asked(self) -> None:
        model = Model(recorded_lines("prod"))
        assert (len(entries_of(fetch(over(model.reply), '{} != ""'))), model.asked) == (0, [])

    @pytest.mark.parametrize(("tenant", "headers"), [("12:3", ("12", "3")), ("7", ("7", "0")), ("", (None, None))])
    def test_the_tenant_is_sent_as_two_headers(self, tenant: str, headers: tuple[str | None, str | None]) -> None:
        """ "VictoriaLogs / Multitenancy": AccountID and ProjectID, 0 where they are left out."""
        with answering(Model(recorded_lines("prod"), tenant="12:3").reply) as server:
            found = entries_of(fetch(opened(server, tenant), '{service="cart"}', limit=999))
        assert len(found) == (TRUTH["prod"]["stored"]["cart"] if tenant == "12:3" else 0)
        assert (server.asked[0].headers.get("AccountID"), server.asked[0].headers.get("ProjectID")) == headers

    def test_the_time_that_is_left_is_sent_and_that_a_part_of_the_answer_is_none(self) -> None:
        """ "Querying / Partial responses" and "/ Querying logs", `timeout`."""
        with answering(Model(()).reply) as server:
            fetch(opened(server), "{}", deadline=Deadline(END_MS + 4_200, lambda: END_MS))
        assert server.asked[0].field("timeout") == "4.200s"
        assert {request.field("allow_partial_response") for request in server.asked} == {"0"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "words", "error", "said"),
        [
            (400, "cannot parse query [x]: unexpected", Malformed, "cannot read the query: cannot parse query"),
            (400, 'unsupported path requested: "/x"', Malformed, "unsupported path"),
            (
                400,
                'remoteAddr: "10.1.2.3:4"; requestURI: /select; too broad',
                Rejected,
                "refuses the query: too broad$",
            ),
            (401, "no", Rejected, r"credentials or tenant \(401\)"),
            (429, "slow", Rejected, "takes no more requests now: slow"),
            (502, "cannot reach a vlstorage", Unreachable, "answers 502"),
            (503, "-search.maxConcurrentRequests", Unreachable, "answers 503"),
            (504, "", TimedOut, "gave up in its own time"),
            (413, "", TooLarge, "too large"),
            (404, "404 page not found", Malformed, "none of VictoriaLogs' API"),
        ],
    )
    def test_are_told_in_its_words_without_addresses(
        self, status: int, words: str, error: type[ClusterError], said: str
    ) -> None:
        with answering(lambda _: Reply(words.encode(), status)) as server:
            for ask in (lambda: fetch(opened(server), "{}"), lambda: opened(server).ping(Deadline(10**15))):
                with pytest.raises(error, match=said) as caught:
                    ask()
                assert (type(caught.value), caught.value.cluster) == (error, "prod")
                assert "10.1.2.3" not in caught.value.message

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>", b"[]\n", b"1\n", b"{}\n", b'{"_time":"2026-11-23T21:40:00Z"}', b'{"_time":"now"}\n',
            b'{"_time":"2026-11-23T21:40:00Z","_msg":1}\n', b'{"_time":"2026-02-30T21:40:00Z","_stream":"{}"}\n',
            b'{"_time":"2026-11-23T21:40:00Z","_stream":"{a}"}\n', b'{"_time":"9999-11-23T21:40:00Z","_stream":"{}"}\n',
            b'{"_time":"2026-11-23T21:40:00Z","_stream":"{"}\n', b'{"_time":"2026-11-23T21:40:00Z"}\nerror\n',
        ],
    )  # fmt: skip
    def test_what_are_no_lines_is_malformed(self, body: bytes) -> None:
        with pytest.raises(Malformed, match="not one of VictoriaLogs' API: no log lines"):
            fetch(over(lambda _: Reply(body)), "{}")

    def test_an_empty_answer_is_believed_of_a_victorialogs_alone(self) -> None:
        assert len(entries_of(fetch(over(Model(()).reply), "{}"))) == 0
        with pytest.raises(Malformed, match="no names of fields"):
            fetch(over(lambda _: Reply(b"")), "{}")

    def test_whatever_is_answered_is_entries_or_malformed(self) -> None:
        rng = random.Random()
        state = rng.getstate()[1][:3]
        body = cast(
            "bytes", Model(recorded_lines("prod")[:6]).reply(asking("_time:1h * | sort by (_time) limit 9")).body
        )
        for _ in range(3_000):
            mutated = bytearray(body)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(mutated))
                mutated[at : at + rng.randint(0, 3)] = rng.choice(
                    [b"", b'"', b"\\", b"{", b"\xff", b"\n", b"9", b",", b"u"]
                )
            try:
                found = fetch(over(lambda _, sent=bytes(mutated): Reply(sent)), "{}")
            except Malformed:
                continue
            assert isinstance(found.payload, Entries), (state, mutated)
            json.dumps([entry.line for entry in found.payload]).encode()


def asking(query: str) -> Request:
    return Request("POST", "/select/logsql/query", (("query", query),), {}, ("", 0))


class TestRead:
    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("{}", {}),
            ('{a="b",c.d="e=\\"f\\",g"}', {"a": "b", "c.d": 'e="f",g'}),
            ('{"a"="\\n\\t\\\\\\x00\\u200b\\U000e0001é"}', {"a": "\n\t\\\x00\u200b\U000e0001é"}),
            ('{a="\\xff\\ud800"}', {"a": "\ufffd\ufffd"}),
        ],
    )
    def test_streams_are_read_as_go_quotes_them(self, text: str, labels: dict[str, str]) -> None:
        row = json.dumps({"_time": "2026-11-23T21:40:00.5Z", "_stream": text, "_msg": "m"}) + "\n"
        (entry,) = entries_of(fetch(over(lambda _: Reply(row.encode())), "{}"))
        assert (entry.labels, entry.t_ns) == (Labels.of(labels), START_MS * 10**6 + 500_000_000)

    def test_fields_of_the_line_are_its_metadata_and_those_of_the_stream_are_not(self) -> None:
        row = (
            b'{"_time":"2026-11-23T21:40:00Z","_stream":"{a=\\"1\\"}","_stream_id":"0","a":"1","k8s.pod":"p","e":""}\n'
        )
        (entry,) = entries_of(fetch(over(lambda _: Reply(row)), "{}"))
        assert (entry.labels, entry.metadata, entry.line) == (Labels.of({"a": "1"}), Labels.of({"k8s.pod": "p"}), "")

    def test_bytes_that_are_no_text_do_not_take_the_other_lines_with_them(self) -> None:
        rows = b"".join(b'{"_time":"2026-11-23T21:40:00Z","_stream":"{}","_msg":"%s"}\n' % m for m in (b"\xff", b"b"))
        assert {entry.line for entry in entries_of(fetch(over(lambda _: Reply(rows)), "{}"))} == {"\ufffd", "b"}


class TestProbes:
    def test_it_tells_its_release_its_newest_line_and_the_fields_of_its_streams(self) -> None:
        """ "Monitoring": metrics at /metrics, of which `vm_app_version` names the release."""
        model = Model(recorded_lines("prod"))
        metrics = b'x 1\nvm_app_version{version="victoria-logs-x", short_version="v1.36.1"} 1\n'
        replies = defaultdict(lambda: model.reply, {"/metrics": lambda _: Reply(metrics)})
        deadline = Deadline(END_MS + 5_000, lambda: END_MS)
        with answering(lambda request: replies[request.path](request)) as server:
            newest_ms = max(line.t_ns for line in model.lines) // 10**6
            assert opened(server).about(deadline) == About("VictoriaLogs 1.36.1", newest_ms)
            names = sorted({name for line in model.lines for name in line.labels.names()})
            assert list(opened(server).inventory(deadline).label_names) == names
            opened(server).ping(deadline)

    def test_what_it_does_not_tell_is_left_out(self) -> None:
        with answering(lambda _: Reply(b"no", 401)) as server:
            assert opened(server).about(Deadline(10**15)) == About()

    @pytest.mark.parametrize(
        ("backend", "words"),
        [
            (Backend("logs", "victorialogs", path="/x", origin="c:7"), "c:7: a victorialogs backend needs `url`"),
            (Backend("metrics", "victorialogs", url="http://x", origin="c:7"), "holds no metrics, only logs"),
            (backend_at("http://x", pushdown="off"), "`pushdown` is for metrics"),
            (backend_at("http://x", "team-a"), "a tenant of VictoriaLogs is numbers"),
        ],
    )
    def test_a_configuration_that_cannot_work_is_refused_with_its_place(self, backend: Backend, words: str) -> None:
        with pytest.raises(InvalidConfig, match=words):
            connect(Cluster("prod", "e", (backend,)), backend)
