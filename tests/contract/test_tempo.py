"""Tempo as a backend keeps the contract: recorded answers of Tempo 3.0.3 give the truth of the data behind them.

What recordings cannot show (a search that stops, faults) is shown against a server that answers as it is told, and in
tests/unit/connectors/backends/test_tempo_*.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.errors import ClusterError, InvalidConfig, Malformed, Rejected, TooLarge, Unreachable
from federation_core.outcome import Verdict
from federation_core.plan import Leaf
from federation_core.query import TimeRange
from federation_core.signals.traces.payload import FoundTraces, Span, SpanKind, SpanStatus, Summaries, Trace, TracePart
from tests.support.federations import ask
from tests.support.prometheus_replies import Reply, Request, answering
from tests.support.prometheus_server import _free_port
from tests.support.recorded_server import Exchange, RecordedServer, read_exchanges, replaying
from tests.support.sample_store import FAR_DEADLINE, scope_of
from tests.support.trace_truth import (
    CLUSTERS,
    FOLDER,
    TRACES,
    WINDOW_MS,
    expected_part,
    expected_trace,
    facts_of,
    part_of,
)

pytestmark = pytest.mark.heavy
EXCHANGES = read_exchanges(FOLDER / "tempo")
WINDOW = TimeRange(*WINDOW_MS)
#: Traces whose parts in a cluster were recorded.
RECORDED = sorted(
    {
        (exchange.path.rpartition("/")[2], exchange.cluster)
        for exchange in EXCHANGES
        if exchange.path.startswith("/api/v2/traces/") and not exchange.fields and exchange.reply.status == 200
    }
    & {(trace_id, cluster) for trace_id, held in TRACES.items() for cluster in held["clusters"]}
)
WHOLE = sorted(i for i, held in TRACES.items() if all((i, cluster) in RECORDED for cluster in held["clusters"]))
EMPTY = Reply({"trace": {}, "metrics": {}})
A_TRACE = "942b0d0e8e513a5ae26152655058ed44"


def tempo(url: str, cluster: str = "prod", tenant: str = "team-a", signal: str = "traces") -> Connector:
    backend = Backend(signal, "tempo", url=url, origin="clusters.yaml:1", access=Access(tenant=tenant))
    return connect(Cluster(cluster, "e", (backend,)), backend)


def unrecorded_traces_are_empty(request: Request) -> Reply | None:
    return EMPTY if request.path.startswith("/api/v2/traces/") else None


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RecordedServer]]:
    """One server per cluster, each with what was recorded of it."""
    with ExitStack() as stack:
        yield {
            cluster: stack.enter_context(
                replaying([e for e in EXCHANGES if e.cluster == cluster], otherwise=unrecorded_traces_are_empty)
            )
            for cluster in CLUSTERS
        }


@pytest.fixture(scope="module")
def connectors(servers: dict[str, RecordedServer]) -> dict[str, Connector]:
    return {cluster: tempo(server.url, cluster) for cluster, server in servers.items()}


def spans_of(connector: Connector, trace_id: str) -> tuple[Span, ...]:
    part = connector.fetch(Leaf("t", trace_id, WINDOW), scope_of(CLUSTERS), FAR_DEADLINE).payload
    assert isinstance(part, TracePart)
    return part.spans


def search(connector: Connector, text: str, limit: int, when: TimeRange = WINDOW) -> FoundTraces:
    found = connector.fetch(Leaf("t", text, when, limit), scope_of(CLUSTERS), FAR_DEADLINE).payload
    assert isinstance(found, FoundTraces)
    return found


class TestTheTruth:
    def test_enough_was_recorded(self) -> None:
        assert (len(RECORDED), len(WHOLE)) == (64, 41)

    def test_every_recorded_part_has_its_spans(self, connectors: dict[str, Connector]) -> None:
        for trace_id, cluster in RECORDED:
            found = part_of(spans_of(connectors[cluster], trace_id))
            assert found == expected_part(trace_id, cluster), (trace_id, cluster)

    def test_traces_are_whole_over_all_clusters(self, connectors: dict[str, Connector]) -> None:
        for trace_id in WHOLE:
            result = ask(connectors, "traces", trace_id)
            trace = result.payload
            assert isinstance(trace, Trace)
            assert result.status == "complete"
            assert facts_of(trace) == expected_trace(trace_id), trace_id
            assert trace.duration_ns == int(TRACES[trace_id]["duration_ns"]), trace_id

    def test_a_dark_cluster_costs_its_spans_and_no_more(self, connectors: dict[str, Connector]) -> None:
        trace_id = "0000000000000000e31783f353e247aa"
        dark = {**connectors, "prod": tempo(f"http://127.0.0.1:{_free_port()}")}
        result = ask(dark, "traces", trace_id)
        assert isinstance(result.payload, Trace)
        assert (result.status, result.payload.clusters) == ("partial", ("app-prod", "shared-services"))
        assert {verdict.cluster for verdict in result.coverage.clusters if verdict.verdict is not Verdict.OK} == {
            "prod"
        }
        assert {span.parent_id for span in result.payload.spans} >= {"7d045105730fb739"}

    def test_a_search_over_all_clusters_finds_every_trace_that_was_recorded(
        self, connectors: dict[str, Connector]
    ) -> None:
        found = ask(connectors, "traces", "{ }", start_ms=WINDOW_MS[0], end_ms=WINDOW_MS[1], limit=199).payload
        assert isinstance(found, Summaries)
        places = {trace.trace_id: trace.clusters for trace in found.traces}
        expected = {
            trace_id: tuple(c for c in sorted(CLUSTERS) if (trace_id, c) in RECORDED) for trace_id, _ in RECORDED
        }
        assert places == expected
        assert sum(len(clusters) > 1 for clusters in places.values()) >= 16
        assert not found.more

    def test_search_rows_name_all_58_traces_in_the_clusters_that_hold_them(self) -> None:
        listed: dict[str, set[str]] = {}
        for cluster in CLUSTERS:
            (exchange,) = [e for e in EXCHANGES if e.name == f"search-all-traces-{cluster}"]
            with replaying([exchange], otherwise=unrecorded_traces_are_empty) as server:
                search(tempo(server.url, cluster), "{ }", 199)
                for request in server.asked[1:]:
                    listed.setdefault(request.path.rpartition("/")[2], set()).add(cluster)
        assert listed == {trace_id: set(held["clusters"]) for trace_id, held in TRACES.items()}
        assert (len(listed), sum(len(clusters) > 1 for clusters in listed.values())) == (58, 24)


class TestRecordedSearches:
    def test_every_recorded_answer_is_read(self) -> None:
        """With other parameters than ours too: windows on an id, short ids, other limits, no times."""
        read = 0
        for recorded in EXCHANGES:
            if recorded.reply.status != 200 or recorded.path != "/api/search":
                continue
            rows = json.loads(recorded.reply.body).get("traces", [])

            def reply(request: Request, recorded: Exchange = recorded) -> Reply:
                return recorded.reply if request.path == "/api/search" else EMPTY

            with answering(reply) as server:
                search(tempo(server.url), "{ }", 200)
            assert len({request.path for request in server.asked}) == 1 + len(rows), recorded.name
            read += 1
        assert read >= 14

    @pytest.mark.parametrize(
        ("name", "spans"),
        [
            ("trace-v2-64-bit-id-short-form", 3),
            ("trace-v2-leading-zeros-removed-from-id", 3),
            (f"trace-v2-no-accept-header-{A_TRACE}-prod", 3),
            (f"trace-v2-with-time-window-hit-{A_TRACE}-prod", 3),
            # Why we send no times with an id.
            (f"trace-v2-with-time-window-miss-{A_TRACE}-prod", 0),
        ],
    )
    def test_other_ways_to_ask_for_an_id_give_the_same_spans(self, name: str, spans: int) -> None:
        (recorded,) = [e for e in EXCHANGES if e.name == name]
        trace_id = recorded.path.rpartition("/")[2].rjust(32, "0")
        with answering(lambda request: recorded.reply) as server:
            assert len(spans_of(tempo(server.url), trace_id)) == spans
        if spans:
            assert TRACES[trace_id]["clusters"]["prod"]["spans"] == spans

    @pytest.mark.parametrize(
        ("cluster", "text", "limit", "rows"),
        [
            ("prod", "{ status = error }", 99, 7),
            ("app-prod", "{ status = error }", 99, 7),
            ("app-prod", "{ kind = server }", 99, 24),
            ("shared-services", "{ kind = server }", 99, 18),
            ("prod", "{ duration > 200ms }", 49, 12),
            ("prod", '{ service = "checkout" }', 49, 16),
        ],
    )
    def test_they_are_asked_as_they_were_recorded(
        self, servers: dict[str, RecordedServer], cluster: str, text: str, limit: int, rows: int
    ) -> None:
        server = servers[cluster]
        before = len(server.asked)
        found = search(tempo(server.url, cluster), text, limit)
        fetched = [request.path.rpartition("/")[2] for request in server.asked[before + 1 :]]
        assert (len(fetched), server.asked_unknown) == (rows, [])
        assert {part.trace_id for part in found.parts} == {i for i in fetched if (i, cluster) in RECORDED}

    def test_a_found_trace_has_all_its_spans_here(self, connectors: dict[str, Connector]) -> None:
        for part in search(connectors["prod"], "{ status = error }", 99).parts:
            assert part_of(part.spans) == expected_part(part.trace_id, "prod")

    def test_the_newest_matching_span_is_first(self, connectors: dict[str, Connector]) -> None:
        parts = search(connectors["app-prod"], "{ kind = server }", 99).parts
        newest = [max(s.start_ns for s in part.spans if s.kind is SpanKind.SERVER) for part in parts]
        assert newest == sorted(newest, reverse=True)

    @pytest.mark.parametrize(
        ("name", "text", "when"),
        [
            ("search-window-before-the-data", "{ }", TimeRange(1795466400_000, 1795468200_000)),
            ("search-empty-result", '{ service = "nosuch" }', WINDOW),
        ],
    )
    def test_nothing_found_is_nothing(self, name: str, text: str, when: TimeRange) -> None:
        with replaying([e for e in EXCHANGES if e.name == name], defaults={"limit": "20"}) as server:
            assert search(tempo(server.url), text, 19, when) == FoundTraces()

    def test_twenty_traces_that_tempo_stops_at_are_not_the_newest_and_are_not_taken_for_them(self) -> None:
        (everything,) = [e for e in EXCHANGES if e.name == "search-all-traces-prod"]
        rows = json.loads(everything.reply.body)["traces"]

        starts = {row["traceID"].rjust(32, "0"): int(row["startTimeUnixNano"]) for row in rows}

        def reply(request: Request) -> Reply:
            """Answer as the recorded server would have, from all its rows; a trace from its row."""
            if request.path != "/api/search":
                trace_id = request.path.rpartition("/")[2]
                return Reply(one_span(trace_id, starts[trace_id]))
            there = [row for row in rows if int(row["startTimeUnixNano"]) >= int(request.field("start")) * 10**9]
            return Reply({"traces": there[: int(request.field("limit"))], "metrics": {}})

        (stopped,) = [e for e in EXCHANGES if e.name == "search-default-limit-prod"]
        with replaying([stopped], defaults={"limit": "20"}, otherwise=reply) as server:
            fetched = tempo(server.url).fetch(Leaf("t", "{ }", WINDOW, 19), scope_of(CLUSTERS), FAR_DEADLINE)
            searches = [request for request in server.asked if request.path == "/api/search"]
        found = fetched.payload
        newest = sorted(starts, key=lambda trace_id: starts[trace_id], reverse=True)
        assert [part.trace_id for part in found.parts] == newest[:19]
        assert (found.more, fetched.truncated) == (True, "")
        assert [request.field("limit") for request in searches] == ["20", "40", "40", "40"]
        rows_sent = json.loads(stopped.reply.body)["traces"]
        assert {row["traceID"].rjust(32, "0") for row in rows_sent} != set(newest[:20])


class TestSurprises:
    def test_an_unknown_id_is_a_200_without_spans(self, connectors: dict[str, Connector]) -> None:
        assert spans_of(connectors["prod"], "deadbeef" * 4) == ()

    def test_an_id_of_another_cluster_is_a_200_without_spans(self, connectors: dict[str, Connector]) -> None:
        assert spans_of(connectors["prod"], "f4c0d8134f81b4732c8096b9ea442e34") == ()

    def test_ids_in_base64_are_hexadecimal_here(self, connectors: dict[str, Connector]) -> None:
        spans = {span.span_id: span for span in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")}
        assert spans["7c3f5e8b439243eb"].parent_id == "92d2db66ff1d4b2f"
        assert {span.trace_id for span in spans.values()} == {"000beb2680b3503ec5989e1e1e8b72ca"}

    def test_ids_of_links_too(self, connectors: dict[str, Connector]) -> None:
        (link,) = [
            link for s in spans_of(connectors["app-prod"], "f4c0d8134f81b4732c8096b9ea442e34") for link in s.links
        ]
        assert (link.trace_id, link.span_id) == ("c752933cd56bf75b34590f9e0db0b381", "5215ef06e8dac1c8")

    def test_leading_zeros_that_a_search_leaves_out_come_back(self, servers: dict[str, RecordedServer]) -> None:
        search(tempo(servers["prod"].url), "{ }", 199)
        asked = {request.path for request in servers["prod"].asked}
        assert "/api/v2/traces/0009ec88f38a221c1f2b92b4e259ae45" in asked
        assert "/api/v2/traces/000000000000000048e020959843ffb3" in asked

    def test_a_64_bit_id_is_looked_up_at_its_full_length(self, connectors: dict[str, Connector]) -> None:
        assert len(spans_of(connectors["prod"], "48e020959843ffb3")) == 3

    def test_names_of_kinds_and_statuses_and_an_unset_status(self, connectors: dict[str, Connector]) -> None:
        spans = spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")
        assert {(span.kind, span.status) for span in spans} == {
            (SpanKind.CLIENT, SpanStatus.UNSET),
            (SpanKind.SERVER, SpanStatus.OK),
            (SpanKind.SERVER, SpanStatus.UNSET),
        }

    def test_numbers_in_texts_lists_and_unicode(self, connectors: dict[str, Connector]) -> None:
        spans = {span.span_id: span for span in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")}
        attributes = spans["92d2db66ff1d4b2f"].attributes
        assert attributes["http.response.status_code"] == 200
        assert attributes["tags"] == ["a", "b", "ç"]

    def test_where_a_span_runs_is_what_its_process_says(self, connectors: dict[str, Connector]) -> None:
        spans = {span.span_id: span for span in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")}
        span = spans["7c3f5e8b439243eb"]
        assert (span.service, span.namespace, span.pod) == ("orders-api", "orders", "orders-api-097715-74c27")

    def test_a_root_in_another_cluster_is_no_root_here(self, connectors: dict[str, Connector]) -> None:
        parts = search(connectors["app-prod"], "{ kind = server }", 99).parts
        parts = tuple(part for part in parts if TRACES[part.trace_id]["root"]["cluster"] == "prod")
        assert parts
        assert all(span.parent_id for part in parts for span in part.spans)

    def test_a_span_that_was_sent_twice_is_one(self) -> None:
        """Tempo keeps both; of the traces that were sent so only protobuf was recorded."""
        body = json.loads(exchange(A_TRACE).reply.body)
        body["trace"]["resourceSpans"] *= 2
        with answering(lambda request: Reply(body)) as server:
            connector = tempo(server.url)
            trace = ask({"prod": connector}, "traces", A_TRACE).payload
            assert isinstance(trace, Trace)
            assert (len(spans_of(connector, A_TRACE)), len(trace.spans)) == (6, 3)

    def test_matching_spans_are_counted_in_traces_because_a_span_set_holds_three(
        self, connectors: dict[str, Connector]
    ) -> None:
        (recorded,) = [e for e in EXCHANGES if e.name == "search-all-traces-app-prod"]
        rows = {row["traceID"].rjust(32, "0"): row["spanSets"][0] for row in json.loads(recorded.reply.body)["traces"]}
        assert max(len(held["spans"]) for held in rows.values()) == 3
        window = {"start_ms": WINDOW_MS[0], "end_ms": WINDOW_MS[1], "limit": 199}
        found = ask({"app-prod": connectors["app-prod"]}, "traces", "{ }", **window).payload
        assert isinstance(found, Summaries)
        matched = {trace.trace_id: len(trace.matched) for trace in found.traces}
        assert matched == {i: rows[i]["matched"] for i in matched}
        assert max(matched.values()) == 120

    def test_questions_stand_in_the_url_because_a_form_is_ignored_and_have_times_because_others_find_the_recent(
        self,
    ) -> None:
        with answering(lambda request: Reply({"traces": [], "metrics": {}})) as server:
            search(tempo(server.url), "{ }", 20)
            tempo(server.url).ping(FAR_DEADLINE)
        assert {request.method for request in server.asked} == {"GET"}
        assert all({"q", "start", "end", "limit"} <= {name for name, _ in r.fields} for r in server.asked)

    def test_several_tenants_are_named_as_configured(self) -> None:
        with answering(lambda request: Reply({"traces": [], "metrics": {}})) as server:
            tempo(server.url, tenant="team-a|team-b").ping(FAR_DEADLINE)
        assert {k.lower(): v for k, v in server.asked[0].headers.items()}["x-scope-orgid"] == "team-a|team-b"

    def test_v1_answers_where_v2_is_absent(self) -> None:
        v1 = [e for e in EXCHANGES if e.path == f"/api/traces/{A_TRACE}" and e.cluster == "prod"]
        (v2,) = [e for e in EXCHANGES if e.name == f"trace-v2-{A_TRACE}-prod"]
        with replaying(v1) as old, replaying([v2]) as new:
            assert sorted(spans_of(tempo(old.url), A_TRACE), key=lambda s: s.key) == sorted(
                spans_of(tempo(new.url), A_TRACE), key=lambda s: s.key
            )

    def test_a_404_of_v1_is_an_unknown_id(self) -> None:
        (unknown,) = [e for e in EXCHANGES if e.name == "trace-v1-unknown-id-404"]
        assert unknown.reply.body == b""
        absent = Reply(b"404 page not found\n", 404)

        def reply(request: Request) -> Reply:
            if request.path == "/api/search":
                return Reply({"traces": [], "metrics": {}})
            return absent if request.path.startswith("/api/v2/") else unknown.reply

        with answering(reply) as server:
            assert spans_of(tempo(server.url), "deadbeef" * 4) == ()

    @pytest.mark.parametrize(
        "absent",
        [Reply(b"", 404), Reply(b"404 page not found\n", 404), Reply({}), Reply({"message": "ok"}), Reply([])],
    )
    def test_a_gateway_without_such_a_path_is_no_unknown_id(self, absent: Reply) -> None:
        """Some say no more of a path that they do not know than Tempo says of an id: the search tells them apart."""
        with answering(lambda request: absent) as server, pytest.raises(Malformed, match="Tempo's API"):
            spans_of(tempo(server.url), A_TRACE)

    def test_blocks_that_v1_could_not_read_are_said(self) -> None:
        v1 = [e for e in EXCHANGES if e.path == f"/api/traces/{A_TRACE}" and e.cluster == "prod"]
        with replaying([replace(e, reply=replace(e.reply, status=206)) for e in v1]) as server:
            fetched = tempo(server.url).fetch(Leaf("t", A_TRACE, WINDOW), scope_of(CLUSTERS), FAR_DEADLINE)
        assert (len(fetched.payload.spans), fetched.truncated) == (
            3,
            "Tempo sends a part: some of its blocks could not be read",
        )

    def test_no_times_are_sent_with_an_id_because_they_would_leave_out_spans(
        self, servers: dict[str, RecordedServer]
    ) -> None:
        spans_of(tempo(servers["prod"].url), A_TRACE)
        assert servers["prod"].asked[-1].fields == ()

    def test_times_of_a_search_are_whole_seconds_and_wider(self) -> None:
        with answering(lambda request: Reply({"traces": [], "metrics": {}})) as server:
            search(tempo(server.url), "{ }", 20, TimeRange(1795470000_001, 1795471799_999))
            assert server.asked[0].fields[1:] == (("start", "1795470000"), ("end", "1795471800"), ("limit", "21"))

    def test_what_is_found_is_judged_by_the_nanosecond(self, connectors: dict[str, Connector]) -> None:
        (span,) = (s for s in spans_of(connectors["prod"], "c894b5bf3e4f29313b8345a68cd62184") if s.parent_id == "")
        at_ms = span.start_ns // 1_000_000
        for start_ms, end_ms, found in ((at_ms, at_ms + 1, 1), (at_ms + 1, at_ms + 2, 0), (at_ms - 1, at_ms, 0)):
            with answering(
                lambda request: traces_of([exchange("c894b5bf3e4f29313b8345a68cd62184")], request)
            ) as server:
                text = f'{{ name = "{span.operation}" && kind = {span.kind} }}'
                assert len(search(tempo(server.url), text, 20, TimeRange(start_ms, end_ms)).parts) == found

    @pytest.mark.parametrize(
        ("name", "words", "within_s"),
        [
            ("search-window-too-long-400", "", 168 * 3600),
            ("", "range specified by start and end exceeds 24h0m0s. received start={start} end={end}", 86_400),
        ],
    )
    def test_a_window_longer_than_a_search_may_be_is_searched_in_stretches(
        self, name: str, words: str, within_s: int
    ) -> None:
        recorded = [e.reply for e in EXCHANGES if e.name == name]

        def reply(request: Request) -> Reply:
            asked = dict(request.fields)
            if int(asked["end"]) - int(asked["start"]) > within_s:
                return recorded[0] if recorded else Reply(words.format(**asked).encode(), 400)
            return Reply({"traces": [], "metrics": {}})

        with answering(reply) as server:
            connector = tempo(server.url)
            for _ in range(2):
                week = TimeRange(WINDOW_MS[1] - 10 * 86_400_000, WINDOW_MS[1])
                fetched = connector.fetch(Leaf("t", "{ }", week, 20), scope_of(CLUSTERS), FAR_DEADLINE)
                assert (fetched.payload, fetched.truncated) == (FoundTraces(), "")
            longest = [int(r.field("end")) - int(r.field("start")) for r in server.asked]
        # What was refused once is not asked again.
        assert sum(stretch_s > within_s for stretch_s in longest) <= 1

    def test_a_limit_above_what_tempo_gives_is_not_asked_twice_and_the_answer_is_exact(self) -> None:
        starts = {f"{n:032x}": WINDOW_MS[0] * 10**6 + n * 10**9 for n in range(1, 61)}

        def reply(request: Request) -> Reply:
            if request.path != "/api/search":
                trace_id = request.path.rpartition("/")[2]
                return Reply(one_span(trace_id, starts[trace_id]))
            asked = {name: int(value) for name, value in request.fields if name != "q"}
            if asked["limit"] > 10:
                return Reply(f"limit {asked['limit']} exceeds max limit 10".encode(), 400)
            there = [i for i, at in starts.items() if asked["start"] <= at / 10**9 <= asked["end"]]
            return Reply({"traces": [{"traceID": i} for i in there[: asked["limit"]]], "metrics": {}})

        with answering(reply) as server:
            connector = tempo(server.url)
            fetched = connector.fetch(Leaf("t", "{ }", WINDOW, 20), scope_of(CLUSTERS), FAR_DEADLINE)
            limits = [request.field("limit") for request in server.asked if request.path == "/api/search"]
        assert (limits[0], set(limits[1:])) == ("21", {"10"})
        assert [part.trace_id for part in fetched.payload.parts] == sorted(starts, reverse=True)[:20]
        assert (fetched.payload.more, fetched.truncated) == (True, "")

    def test_no_search_begins_at_zero_which_tempo_takes_for_no_time(self) -> None:
        with answering(lambda request: Reply({"traces": [], "metrics": {}})) as server:
            search(tempo(server.url), "{ }", 20, TimeRange(0, 60_000))
            assert search(tempo(server.url), "{ }", 20, TimeRange(2**31 * 1000, 2**31 * 1000 + 5000)) == FoundTraces()
        (request,) = server.asked
        assert (request.field("start"), request.field("end")) == ("1", "60")

    def test_a_limit_that_is_reached_is_never_complete(self) -> None:
        """Tempo stops at its limit without a word: here it holds more traces in one second than it tells of."""
        trace = exchange("c894b5bf3e4f29313b8345a68cd62184")
        rows = [{"traceID": f"{number:x}", "startTimeUnixNano": "1795471110424940264"} for number in range(1, 1200)]

        def reply(request: Request) -> Reply:
            if request.path == "/api/search":
                return Reply({"traces": rows[: int(request.field("limit"))], "metrics": {"totalJobs": 1}})
            wanted = int(request.path.rpartition("/")[2], 16).to_bytes(16, "big")
            return Reply(as_trace(trace, wanted))

        with answering(reply) as server:
            second = WINDOW_MS[0] + 1110_000
            result = ask({"prod": tempo(server.url)}, "traces", "{ }", start_ms=second, end_ms=second + 1000)
        (verdict,) = result.coverage.clusters
        assert verdict.verdict is Verdict.PARTIAL
        assert "Tempo stopped at 400 traces within 1 s" in verdict.reason
        assert isinstance(result.payload, Summaries)
        assert (len(result.payload.traces), result.payload.more) == (20, True)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (
                {"traces": [], "metrics": {"totalJobs": 5, "completedJobs": 3}},
                "Tempo searched 3 of 5 parts of its store",
            ),
            (
                {"traces": [], "metrics": {}, "status": "PARTIAL", "message": "no tempo-0:80"},
                "Tempo sends a part: no <address>",
            ),
        ],
    )
    def test_a_search_that_was_not_ended_is_not_complete(self, body: dict[str, object], words: str) -> None:
        with answering(lambda request: Reply(body)) as server:
            fetched = tempo(server.url).fetch(Leaf("t", "{ }", WINDOW, 20), scope_of(CLUSTERS), FAR_DEADLINE)
        assert fetched.truncated == words

    def test_a_trace_above_its_own_limit_is_not_complete(self) -> None:
        body = {**EMPTY.body, "status": "PARTIAL", "message": "trace exceeds max size"}
        with answering(lambda request: Reply(body)) as server:
            fetched = tempo(server.url).fetch(Leaf("t", A_TRACE, WINDOW), scope_of(CLUSTERS), FAR_DEADLINE)
        assert fetched.truncated == "Tempo sends a part: trace exceeds max size"


def exchange(trace_id: str, cluster: str = "prod") -> Exchange:
    (found,) = [e for e in EXCHANGES if e.name == f"trace-v2-{trace_id}-{cluster}"]
    return found


def one_span(trace_id: str, start_ns: int) -> dict[str, object]:
    """Return a trace of one span, as Tempo would send it but for its ids in hexadecimal."""
    span = {"traceId": trace_id, "spanId": "1" * 16, "name": "op", "startTimeUnixNano": str(start_ns)}
    return {"trace": {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "endTimeUnixNano": str(start_ns)}]}]}]}}


def traces_of(exchanges: list[Exchange], request: Request) -> Reply:
    """Answer a search with these traces, and each by its id."""
    by_path = {e.path: e for e in exchanges}
    if request.path == "/api/search":
        return Reply({"traces": [{"traceID": path.rpartition("/")[2]} for path in by_path], "metrics": {}})
    return by_path[request.path].reply


def as_trace(recorded: Exchange, trace_id: bytes) -> dict[str, object]:
    """Return a recorded trace under another id, in hexadecimal as OTLP has it."""
    body = json.loads(recorded.reply.body)
    for group in body["trace"]["resourceSpans"]:
        for scoped in group["scopeSpans"]:
            for span in scoped["spans"]:
                span["traceId"] = trace_id.hex()
    return dict(body)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "error", "words"),
        [
            ("search-invalid-traceql-400", Rejected, "refuses the query: invalid TraceQL query: parse error at line 1"),
            ("search-window-too-long-400", Rejected, "range specified by start and end exceeds 168h0m0s"),
            ("search-limit-zero-400", Rejected, "invalid limit: must be a positive number"),
            ("search-times-in-milliseconds-400", Rejected, "invalid start"),
            ("search-only-start-400", Rejected, "start must be before end"),
            ("search-start-after-end-400", Rejected, "start must be before end"),
            ("search-spss-above-maximum-400", Rejected, "spans per span set exceeds 100"),
            ("search-invalid-traceql-type-mismatch-400", Rejected, "must operate on the same type"),
            ("search-no-tenant-401", Rejected, r"refuses our credentials or tenant \(401\): no org id"),
            ("trace-v2-no-tenant-401", Rejected, r"refuses our credentials or tenant \(401\): no org id"),
            ("trace-v2-id-not-hex-400", Rejected, "trace IDs can only contain hex characters"),
            ("trace-v2-start-after-end-400", Rejected, "refuses the query"),
            ("unknown-path-404", Malformed, "answers 404, which is none of Tempo's API: 404 page not found"),
            ("ready-while-starting-503", Unreachable, "answers 503: Some services are not Running"),
        ],
    )
    def test_what_was_recorded_is_the_right_error_in_tempos_words(
        self, name: str, error: type[ClusterError], words: str
    ) -> None:
        (recorded,) = [e for e in EXCHANGES if e.name == name]
        with answering(lambda request: recorded.reply) as server:
            for call in (
                lambda c: search(c, "{ }", 20),
                lambda c: spans_of(c, A_TRACE),
                lambda c: c.ping(FAR_DEADLINE),
            ):
                with pytest.raises(error, match=words) as caught:
                    call(tempo(server.url))
                assert caught.value.cluster == "prod"

    @pytest.mark.parametrize(
        ("reply", "error", "words"),
        [
            (
                Reply(b"<html>please log in</html>", 200, {"Content-Type": "text/html"}),
                Malformed,
                "not one of Tempo's API",
            ),
            (Reply(b"<html>404 Not Found</html>", 404), Malformed, "answers 404"),
            (Reply(b'{"traces": [{"traceID'), Malformed, "not one of Tempo's API"),
            (Reply(b'{"trace": {"x": "\xff\xfe"}, "traces": []}'), Malformed, "not one of Tempo's API"),
        ],
    )
    def test_what_is_no_answer_is_the_clusters_error(self, reply: Reply, error: type[ClusterError], words: str) -> None:
        with answering(lambda request: reply) as server:
            for call in (
                lambda c: search(c, "{ }", 20),
                lambda c: spans_of(c, A_TRACE),
                lambda c: c.ping(FAR_DEADLINE),
            ):
                with pytest.raises(error, match=words):
                    call(tempo(server.url))

    def test_one_trace_of_a_search_that_fails_fails_the_search(self) -> None:
        good = exchange("c894b5bf3e4f29313b8345a68cd62184")

        def reply(request: Request) -> Reply:
            if request.path == "/api/search":
                rows = [{"traceID": i} for i in ("c894b5bf3e4f29313b8345a68cd62184", A_TRACE)]
                return Reply({"traces": rows, "metrics": {}})
            return good.reply if request.path == good.path else Reply(b"", 500)

        with answering(reply) as server, pytest.raises(Unreachable, match="answers 500"):
            search(tempo(server.url), "{ }", 20)

    def test_answers_of_one_search_are_bounded_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("federation_core.connectors.trace_search.Allowance.__init__.__defaults__", (10_000,))
        rows = [{"traceID": f"{number:x}"} for number in range(1, 9)]

        def reply(request: Request) -> Reply:
            if request.path == "/api/search":
                return Reply({"traces": rows, "metrics": {}})
            return Reply({"trace": {}, "padding": "x" * 3000})

        with answering(reply) as server, pytest.raises(TooLarge, match="the traces found are more than 10000 bytes"):
            search(tempo(server.url), "{ }", 20)

    def test_spans_of_another_trace_are_no_answer(self) -> None:
        other = exchange("c894b5bf3e4f29313b8345a68cd62184")
        with answering(lambda request: other.reply) as server, pytest.raises(Malformed, match="spans of trace c894b5"):
            spans_of(tempo(server.url), A_TRACE)


class TestTheRest:
    def test_inventory_lists_services(self, connectors: dict[str, Connector]) -> None:
        with replaying(
            [replace(e, fields=()) for e in EXCHANGES if e.name == "tag-values-v2-service.name-app-prod"]
        ) as server:
            services = tempo(server.url).inventory(FAR_DEADLINE).services
        assert sorted(name for _, name in services) == ["auth", "checkout", "inventory", "notifier", "orders-api"]

    def test_ping_asks_for_credentials_but_reads_nothing(self) -> None:
        with answering(lambda request: Reply({"traces": [], "metrics": {}})) as server:
            tempo(server.url).ping(FAR_DEADLINE)
        assert server.asked[0].fields == (("q", "{}"), ("start", "1"), ("end", "2"), ("limit", "1"))

    def test_only_traces_and_only_by_url(self) -> None:
        for backend in (
            Backend("traces", "tempo", path="/x", origin="clusters.yaml:7"),
            Backend("logs", "tempo", url="http://x", origin="clusters.yaml:7"),
        ):
            with pytest.raises(InvalidConfig, match=r"clusters\.yaml:7: a tempo backend"):
                connect(Cluster("prod", "e", (backend,)), backend)
