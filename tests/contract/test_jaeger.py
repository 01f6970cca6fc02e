"""Jaeger's API as a backend keeps the contract.

Certain is what was recorded: version 1 as VictoriaTraces speaks it, compared with the truth of the data behind it.
Tests that are named `unverified` stand on answers written after Jaeger's public schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.errors import ClusterError, InvalidConfig, Malformed, Rejected, TooLarge
from federation_core.outcome import Verdict
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from federation_core.signals.traces.payload import FoundTraces, Link, Span, SpanKind, SpanStatus, Trace, TracePart
from tests.support.federations import ask
from tests.support.prometheus_replies import Reply, Request, answering
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
PREFIX = "/select/jaeger"
#: How the recorded requests are asked now: wider by what some store leaves out at a bound, where nothing lies here.
WIDER = {"1795470000000000": "1795469999999000", "200ms": "199999us"}


def as_asked(recorded: Exchange) -> Exchange:
    fields = ((name, WIDER.get(value, value)) for name, value in recorded.fields)
    return replace(recorded, fields=tuple(sorted(fields)))


EXCHANGES = [as_asked(exchange) for exchange in read_exchanges(FOLDER / "victoriatraces")]
UNVERIFIED = read_exchanges(FOLDER / "jaeger")
WINDOW = TimeRange(*WINDOW_MS)
#: Traces whose parts in a cluster were recorded.
RECORDED = sorted(
    {(e.path.rpartition("/")[2], e.cluster) for e in EXCHANGES if e.path.startswith(f"{PREFIX}/api/traces/")}
    & {(trace_id, cluster) for trace_id, held in TRACES.items() for cluster in held["clusters"]}
)
WHOLE = sorted(i for i, held in TRACES.items() if all((i, cluster) in RECORDED for cluster in held["clusters"]))
(UNKNOWN_TRACE,) = [e.reply for e in EXCHANGES if e.name == "trace-unknown-id"]
(NO_SUCH_PATH,) = [e.reply for e in EXCHANGES if e.name == "unknown-path"]
#: The recorded server does not know `raw`, nor do the answers differ by it.
DEFAULTS = {"raw": "true"}
A_TRACE = "00000000000000000000000000000abc"
B_TRACE = "00000000000000000000000000000def"
BASE_NS = 1795470000 * 10**9


def jaeger(url: str, cluster: str = "prod", signal: str = "traces") -> Connector:
    backend = Backend(signal, "jaeger", url=url, origin="clusters.yaml:1")
    return connect(Cluster(cluster, "e", (backend,)), backend)


def as_recorded(request: Request) -> Reply | None:
    """Answer as the recorded server does: it has no version 3, and does not know other traces."""
    if "/api/v3/" in request.path:
        return NO_SUCH_PATH
    return UNKNOWN_TRACE if request.path.startswith(f"{PREFIX}/api/traces/") else None


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RecordedServer]]:
    """One server per cluster, each with what was recorded of it."""
    with ExitStack() as stack:
        yield {
            cluster: stack.enter_context(
                replaying([e for e in EXCHANGES if e.cluster == cluster], defaults=DEFAULTS, otherwise=as_recorded)
            )
            for cluster in CLUSTERS
        }


@pytest.fixture(scope="module")
def connectors(servers: dict[str, RecordedServer]) -> dict[str, Connector]:
    return {cluster: jaeger(server.url + PREFIX, cluster) for cluster, server in servers.items()}


@pytest.fixture
def unverified() -> Iterator[Connector]:
    """The original Jaeger as its schema has it, version 3."""
    with replaying([e for e in UNVERIFIED if "-v3-" in e.name]) as server:
        yield jaeger(server.url)


def spans_of(connector: Connector, trace_id: str) -> tuple[Span, ...]:
    part = connector.fetch(Leaf("t", trace_id, WINDOW), scope_of(CLUSTERS), FAR_DEADLINE).payload
    assert isinstance(part, TracePart)
    return part.spans


def search(connector: Connector, text: str, limit: int = 20) -> FoundTraces:
    found = connector.fetch(Leaf("t", text, WINDOW, limit), scope_of(CLUSTERS), FAR_DEADLINE).payload
    assert isinstance(found, FoundTraces)
    return found


class TestTheTruth:
    def test_enough_was_recorded(self) -> None:
        assert (len(RECORDED), len(WHOLE)) == (48, 25)

    def test_every_recorded_part_has_its_spans_to_the_microsecond(self, connectors: dict[str, Connector]) -> None:
        for trace_id, cluster in RECORDED:
            found = part_of(spans_of(connectors[cluster], trace_id))
            assert found == expected_part(trace_id, cluster, unit_ns=1000), (trace_id, cluster)

    def test_traces_are_whole_over_all_clusters(self, connectors: dict[str, Connector]) -> None:
        for trace_id in WHOLE:
            result = ask(connectors, "traces", trace_id)
            trace = result.payload
            assert isinstance(trace, Trace)
            assert result.status == "complete"
            assert facts_of(trace) == expected_trace(trace_id), trace_id
            assert abs(trace.duration_ns - int(TRACES[trace_id]["duration_ns"])) < 2_000, trace_id

    @pytest.mark.parametrize(
        ("cluster", "text", "limit", "rows"),
        [
            ("prod", '{ service = "frontend" && name = "POST /checkout" }', 19, 16),
            ("prod", '{ service = "checkout" && status = error }', 19, 5),
            ("prod", '{ service = "frontend" && duration >= 200ms }', 19, 12),
            ("app-prod", '{ service = "auth" }', 4, 2),
            ("app-prod", '{ service = "checkout" }', 4, 1),
            ("prod", '{ service = "cart" }', 4, 4),
        ],
    )
    def test_recorded_searches_find_whole_traces(
        self, servers: dict[str, RecordedServer], cluster: str, text: str, limit: int, rows: int
    ) -> None:
        found = search(jaeger(servers[cluster].url + PREFIX, cluster), text, limit)
        assert (len(found.parts), found.more, servers[cluster].asked_unknown) == (rows, False, [])
        for part in found.parts:
            assert part_of(part.spans) == expected_part(part.trace_id, cluster, unit_ns=1000)


class TestSurprises:
    @pytest.mark.parametrize("name", ["trace-unknown-id", "trace-short-64-bit-id", "trace-not-hex"])
    def test_an_unknown_id_is_a_200_with_a_total_of_one_and_no_data(self, name: str) -> None:
        (recorded,) = [e.reply for e in EXCHANGES if e.name == name]
        assert json.loads(recorded.body)["total"] == 1
        services = [e for e in EXCHANGES if e.name == "services-prod"]
        with replaying(
            services, otherwise=lambda request: NO_SUCH_PATH if "/api/v3/" in request.path else recorded
        ) as server:
            assert spans_of(jaeger(server.url + PREFIX), "deadbeef" * 4) == ()

    def test_ids_are_asked_for_at_their_full_length(self, servers: dict[str, RecordedServer]) -> None:
        assert spans_of(jaeger(servers["prod"].url + PREFIX), "e31783f353e247aa")
        assert servers["prod"].asked[-1].path == f"{PREFIX}/api/traces/0000000000000000e31783f353e247aa"

    def test_an_error_tag_is_on_every_span_and_its_value_counts(self, connectors: dict[str, Connector]) -> None:
        spans = {span.operation: span for span in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")}
        assert spans["GET /stock"].status is SpanStatus.OK
        assert spans["GET inventory"].status is SpanStatus.UNSET
        assert all("error" not in span.attributes for span in spans.values())

    def test_the_text_of_a_status(self, connectors: dict[str, Connector]) -> None:
        failed = [s for s in spans_of(connectors["prod"], "c894b5bf3e4f29313b8345a68cd62184") if s.status_message]
        assert [(s.status, s.status_message) for s in failed] == [(SpanStatus.ERROR, "unauthenticated")]

    def test_values_are_texts_and_are_still_found_as_numbers(self, connectors: dict[str, Connector]) -> None:
        (span,) = [
            s for s in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca") if "tags" in s.attributes
        ]
        assert span.attributes["http.response.status_code"] == "200"
        text = '{ service = "frontend" && name = "POST /checkout" && span.http.response.status_code >= 500 }'
        found = search(connectors["prod"], text, 19)
        assert {
            int(s.attributes["http.response.status_code"]) for p in found.parts for s in p.spans if not s.parent_id
        } == {502}

    def test_a_link_is_no_parent(self, connectors: dict[str, Connector]) -> None:
        (span,) = spans_of(connectors["app-prod"], "f4c0d8134f81b4732c8096b9ea442e34")
        assert span.links == (Link("c752933cd56bf75b34590f9e0db0b381", "5215ef06e8dac1c8"),)
        assert (span.parent_id, span.kind) == ("", SpanKind.CONSUMER)

    def test_events_have_names_and_attributes(self, connectors: dict[str, Connector]) -> None:
        events = [e for s in spans_of(connectors["prod"], "aa7747d890ff876fe609baf1cc503718") for e in s.events]
        (thrown,) = [event for event in events if event.name == "exception"]
        assert thrown.attributes["exception.stacktrace"] == "line1\nline2\n\tline3"
        assert thrown.t_ns % 1000 == 0

    def test_where_a_span_runs_is_what_its_process_says(self, connectors: dict[str, Connector]) -> None:
        spans = {span.operation: span for span in spans_of(connectors["app-prod"], "000beb2680b3503ec5989e1e1e8b72ca")}
        span = spans["GET inventory"]
        assert (span.service, span.namespace, span.pod) == ("orders-api", "orders", "orders-api-097715-74c27")

    def test_times_are_asked_for_in_microseconds_and_durations_as_go_writes_them(
        self, servers: dict[str, RecordedServer]
    ) -> None:
        search(jaeger(servers["prod"].url + PREFIX), '{ service = "frontend" && duration >= 200ms }', 19)
        asked = servers["prod"].asked[-1]
        assert (asked.field("start"), asked.field("minDuration")) == ("1795469999999000", "199999us")

    def test_traces_are_asked_for_raw_so_that_no_clock_is_moved(self, servers: dict[str, RecordedServer]) -> None:
        spans_of(jaeger(servers["prod"].url + PREFIX), "c894b5bf3e4f29313b8345a68cd62184")
        assert servers["prod"].asked[-1].field("raw") == "true"

    def test_every_search_names_its_limit_because_servers_have_limits_of_their_own(
        self, servers: dict[str, RecordedServer]
    ) -> None:
        (recorded,) = [e.reply for e in EXCHANGES if e.name == "traces-default-limit"]
        assert len(json.loads(recorded.body)["data"]) == 20
        search(jaeger(servers["prod"].url + PREFIX), '{ service = "cart" }', 4)
        assert servers["prod"].asked[-1].field("limit") == "5"

    def test_an_id_in_upper_case_is_asked_for_in_lower_case(self, servers: dict[str, RecordedServer]) -> None:
        spans = spans_of(jaeger(servers["prod"].url + PREFIX), "C894B5BF3E4F29313B8345A68CD62184")
        assert {span.trace_id for span in spans} == {"c894b5bf3e4f29313b8345a68cd62184"}

    def test_a_search_without_a_service_is_one_for_each(self) -> None:
        with answering(one_trace_per_service(["a", "b", "c"])) as server:
            found = search(jaeger(server.url), "{ kind = server }")
            asked = [request.field("service") for request in server.asked if request.path == "/api/traces"]
        assert sorted(asked) == ["a", "b", "c"]
        assert [part.spans[0].service for part in found.parts] == ["c", "b", "a"]

    def test_services_that_no_pattern_accepts_are_not_asked_for(self) -> None:
        with answering(one_trace_per_service(["a"])) as server:
            assert search(jaeger(server.url), '{ service =~ "nosuch.*" }') == FoundTraces()
            assert [request.path for request in server.asked] == ["/api/v3/services", "/api/services"]

    @pytest.mark.parametrize("condition", ['service = "old"', 'service =~ "old|older"'])
    def test_a_service_that_is_named_is_asked_for_even_if_it_is_listed_no_more(self, condition: str) -> None:
        """Stores list the services of some days, and hold traces of more."""
        held = one_trace_per_service(["old", "older"])

        def reply(request: Request) -> Reply:
            return Reply({"data": []}) if request.path == "/api/services" else held(request)

        with answering(reply) as server:
            found = search(jaeger(server.url), f"{{ {condition} }}")
        assert [part.spans[0].service for part in found.parts][-1] == "old"

    def test_a_service_that_nobody_knows_is_nothing_found(self) -> None:
        (recorded,) = [e for e in EXCHANGES if e.name == "traces-unknown-service"]
        services = [e for e in EXCHANGES if e.name == "services-prod"]
        defaults = {**DEFAULTS, "limit": "21"}
        with replaying([recorded, *services], defaults=defaults, otherwise=as_recorded) as server:
            assert search(jaeger(server.url + PREFIX), '{ service = "nosuch" }') == FoundTraces()
            assert (server.asked[-1].field("service"), server.asked_unknown) == ("nosuch", [])

    def test_what_the_list_of_services_may_hide_is_said(self) -> None:
        with answering(one_trace_per_service(["a"])) as server:
            now_ms = WINDOW_MS[1] + 4 * 86_400_000
            for text, said in (("{ }", 1), ('{ service = "a" }', 0)):
                deadline = Deadline(10**15, lambda: now_ms)
                fetched = jaeger(server.url).fetch(Leaf("t", text, WINDOW, 20), scope_of(CLUSTERS), deadline)
                assert len(fetched.warnings) == said
                assert all("services of the last days" in warning for warning in fetched.warnings)

    def test_services_that_could_not_be_listed_are_said(self) -> None:
        body = {"data": [], "errors": [{"code": 500, "msg": "a shard is down"}]}
        absent = Reply(b"404 page not found", 404)
        with answering(lambda request: absent if "/v3/" in request.path else Reply(body)) as server:
            fetched = jaeger(server.url).fetch(Leaf("t", "{ }", WINDOW, 20), scope_of(CLUSTERS), FAR_DEADLINE)
        assert fetched.truncated == "Jaeger sends a part: a shard is down"

    def test_a_trace_that_two_services_find_is_one(self) -> None:
        with answering(one_trace_per_service(["a", "b"], same=True)) as server:
            assert len(search(jaeger(server.url), "{ kind = server }").parts) == 1

    def test_the_limit_holds_over_all_services_together(self) -> None:
        with answering(one_trace_per_service(list("abcdef"))) as server:
            found = search(jaeger(server.url), "{ kind = server }", 2)
        assert ([part.spans[0].service for part in found.parts], found.more) == (["f", "e"], True)

    def test_a_limit_that_is_reached_within_a_second_is_never_complete(self) -> None:
        def reply(request: Request) -> Reply:
            if request.path != "/api/traces":
                return one_trace_per_service(["a"])(request)
            return Reply({"data": [v1_trace(f"{n:032x}", "a", 5) for n in range(1, int(request.field("limit")) + 1)]})

        with answering(reply) as server:
            start_ms = WINDOW_MS[0] + 5_000
            result = ask({"prod": jaeger(server.url)}, "traces", "{ }", start_ms=start_ms, end_ms=start_ms + 1000)
        (verdict,) = result.coverage.clusters
        assert verdict.verdict is Verdict.PARTIAL
        assert "Jaeger stopped at 400 traces within 1 s" in verdict.reason

    def test_errors_beside_traces_are_said(self) -> None:
        body = {"data": [], "errors": [{"code": 500, "msg": "a shard is down"}]}  # also the list of services
        with answering(lambda request: Reply(body)) as server:
            fetched = jaeger(server.url).fetch(Leaf("t", A_TRACE, WINDOW), scope_of(CLUSTERS), FAR_DEADLINE)
        assert fetched.truncated == "Jaeger sends a part: a shard is down"


def v1_trace(trace_id: str, service: str, at_s: int) -> dict[str, object]:
    span = {
        "traceID": trace_id,
        "spanID": f"{at_s + 1:016x}",
        "operationName": "op",
        "startTime": BASE_NS // 1000 + at_s * 1_000_000,
        "duration": 5,
        "processID": "p",
        "tags": [{"key": "span.kind", "type": "string", "value": "server"}],
    }
    return {"traceID": trace_id, "spans": [span], "processes": {"p": {"serviceName": service}}}


def one_trace_per_service(names: list[str], same: bool = False) -> Callable[[Request], Reply]:
    """A version 1 in which every service has one trace, or all have one together."""

    def reply(request: Request) -> Reply:
        if request.path == "/api/services":
            return Reply({"data": names})
        if request.path != "/api/traces":
            return Reply(b"404 page not found\n", 404)
        number = names.index(request.field("service"))
        return Reply({"data": [v1_trace(f"{1 if same else number + 1:032x}", request.field("service"), number)]})

    return reply


class TestUnverifiedVersion3:
    def test_unverified_a_trace_keeps_its_nanoseconds_and_types(self, unverified: Connector) -> None:
        spans = {span.span_id: span for span in spans_of(unverified, A_TRACE)}
        root, call = spans["0000000000000001"], spans["0000000000000002"]
        assert (root.start_ns, root.duration_ns) == (BASE_NS + 1_000_000_123, 200_000_333)
        assert (root.kind, root.status, root.status_message) == (SpanKind.SERVER, SpanStatus.ERROR, "bad gateway")
        assert root.attributes == {"http.response.status_code": 502}
        assert (call.parent_id, call.service, call.namespace, call.pod) == (root.span_id, "orders", "shop", "orders-1")

    def test_unverified_an_unknown_id_is_a_404_in_json(self, unverified: Connector) -> None:
        assert spans_of(unverified, "deadbeef" * 4) == ()

    def test_unverified_a_search_groups_spans_by_trace(self, unverified: Connector) -> None:
        found = search(unverified, '{ service = "web" }')
        assert [(part.trace_id, len(part.spans)) for part in found.parts] == [(B_TRACE, 1), (A_TRACE, 2)]

    def test_unverified_an_answer_in_pieces_is_one(self, unverified: Connector) -> None:
        assert [len(part.spans) for part in search(unverified, '{ service = "orders" }').parts] == [2]

    def test_unverified_nothing_found_is_a_404_in_json(self, unverified: Connector) -> None:
        assert search(unverified, '{ service = "web" && span.http.route = "/nosuch" }') == FoundTraces()

    def test_unverified_a_search_that_is_not_wrapped_is_one(self) -> None:
        def reply(request: Request) -> Reply:
            (recorded,) = [e.reply for e in UNVERIFIED if e.name == "unverified-v3-search-web"]
            if request.path == "/api/v3/services":
                return Reply({"services": ["web"]})
            return Reply(json.loads(recorded.body)["result"])

        with answering(reply) as server:
            assert len(search(jaeger(server.url), "{ }").parts) == 2

    def test_unverified_a_list_of_no_services_may_be_left_out(self) -> None:
        absent = Reply(b"404 page not found", 404)
        with answering(lambda request: Reply({}) if "/v3/" in request.path else absent) as server:
            connector = jaeger(server.url)
            connector.ping(FAR_DEADLINE)
            assert search(connector, "{ }") == FoundTraces()

    @pytest.mark.parametrize("body", [{"error": "Not Found", "status": 404}, {"message": "no Route matched"}, {}])
    def test_unverified_a_404_of_a_gateway_is_no_unknown_id(self, body: dict[str, object]) -> None:
        services = [e for e in UNVERIFIED if e.name == "unverified-v3-services"]
        with (
            replaying(services, otherwise=lambda request: Reply(body, 404)) as server,
            pytest.raises(Malformed, match="answers 404"),
        ):
            spans_of(jaeger(server.url), A_TRACE)

    def test_unverified_both_names_of_every_parameter_are_sent(self) -> None:
        with replaying([e for e in UNVERIFIED if "-v3-" in e.name]) as server:
            search(jaeger(server.url), '{ service = "web" }')
            asked = dict(server.asked[-1].fields)
        assert asked["query.startTimeMin"] == asked["query.start_time_min"] == "2026-11-23T21:39:59.999Z"
        assert asked["query.rawTraces"] == asked["query.raw_traces"] == "true"

    def test_unverified_a_refusal_is_said_in_its_words(self) -> None:
        (refused,) = [e.reply for e in UNVERIFIED if e.name.endswith("parameter-400")]
        services = [e for e in UNVERIFIED if e.name == "unverified-v3-services"]
        with (
            replaying(services, otherwise=lambda request: refused) as server,
            pytest.raises(Rejected, match=r"refuses the query: malformed parameter query\.searchDepth: strconv"),
        ):
            search(jaeger(server.url), '{ service = "web" }')

    def test_unverified_pages_of_a_user_interface_are_no_version_3(self) -> None:
        page = Reply(b"<!doctype html><html></html>", 200, {"Content-Type": "text/html"})
        v1 = [e for e in UNVERIFIED if "-v1-" in e.name]
        with replaying(v1, defaults=DEFAULTS, otherwise=lambda request: page) as server:
            assert len(spans_of(jaeger(server.url), A_TRACE)) == 2

    def test_unverified_a_server_that_became_another_is_asked_again_what_it_is(self) -> None:
        v1 = [e for e in UNVERIFIED if "-v1-" in e.name]
        v3 = [e for e in UNVERIFIED if "-v3-" in e.name]
        absent = Reply(b"404 page not found\n", 404)
        with (
            replaying(v1, defaults=DEFAULTS, otherwise=lambda request: absent) as old,
            replaying(v3, otherwise=lambda request: absent) as new,
        ):
            connector = jaeger(old.url)
            assert len(spans_of(connector, A_TRACE)) == 2
            client = connector._api.http  # type: ignore[attr-defined]
            connector._api.http = replace(client, pools=jaeger(new.url)._api.http.pools)  # type: ignore[attr-defined]
            with pytest.raises(Malformed, match="answers 404"):
                spans_of(connector, A_TRACE)
            assert len(spans_of(connector, A_TRACE)) == 2


class TestUnverifiedVersion1:
    """The original's version 1: tags of types, and a 404 for what is unknown."""

    @pytest.fixture
    def v1(self) -> Iterator[Connector]:
        absent = Reply(b"404 page not found\n", 404)
        found = [e for e in UNVERIFIED if "-v1-" in e.name]
        with replaying(found, defaults=DEFAULTS, otherwise=lambda request: absent) as server:
            yield jaeger(server.url)

    def test_unverified_tags_keep_their_types(self, v1: Connector) -> None:
        root, call = spans_of(v1, A_TRACE)
        assert root.attributes == {
            "http.response.status_code": 502,
            "ratio": 0.5,
            "cache.hit": False,
            "blob": "AAE=",
        }
        assert (root.status, call.status) == (SpanStatus.ERROR, SpanStatus.UNSET)
        assert call.links == (Link(B_TRACE, "0000000000000003"),)

    def test_unverified_an_unknown_id_is_a_404_in_json(self, v1: Connector) -> None:
        assert spans_of(v1, "deadbeef" * 4) == ()


CALLS: list[Callable[[Connector], object]] = [
    lambda connector: search(connector, '{ service = "web" }'),
    lambda connector: spans_of(connector, A_TRACE),
    lambda connector: connector.ping(FAR_DEADLINE),
    lambda connector: connector.inventory(FAR_DEADLINE),
]


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("traces-bad-duration", "cannot parse minDuration"),
            ("traces-by-tags-bad-json", "cannot parse tags"),
            ("traces-limit-bad", "cannot parse limit"),
            ("traces-no-service", "service name is required"),
        ],
    )
    def test_what_was_recorded_is_said_in_its_words(self, name: str, words: str) -> None:
        (refused,) = [e.reply for e in EXCHANGES if e.name == name]

        def reply(request: Request) -> Reply:
            return refused if request.path == "/api/traces" else one_trace_per_service(["web"])(request)

        with answering(reply) as server, pytest.raises(Rejected, match=words):
            search(jaeger(server.url), '{ service = "web" }')

    def test_a_url_without_its_prefix_is_said_and_not_repeated(self) -> None:
        with answering(lambda request: NO_SUCH_PATH) as server:
            for call in CALLS:
                with pytest.raises(Malformed, match="for VictoriaTraces the URL ends in /select/jaeger") as caught:
                    call(jaeger(server.url))
                assert "nosuch" not in caught.value.message

    @pytest.mark.parametrize(
        ("reply", "error", "words"),
        [
            (Reply(b"who are you", 401), Rejected, r"refuses our credentials or tenant \(401\): who are you"),
            (Reply(b"404 page not found", 404), Malformed, "answers 404, which is none of Jaeger's API"),
            (
                Reply(b"<html>please log in</html>", 200, {"Content-Type": "text/html"}),
                Malformed,
                "not one of Jaeger's API",
            ),
            (Reply(b'{"data": [{"traceID'), Malformed, "not one of Jaeger's API"),
            (Reply(b'{"data": ["\xff\xfe"]}'), Malformed, "not one of Jaeger's API"),
            (Reply({"data": 5}), Malformed, "not one of Jaeger's API"),
            (Reply({"services": 5}), Malformed, "not one of Jaeger's API"),
        ],
    )
    def test_what_is_no_answer_is_the_clusters_error(self, reply: Reply, error: type[ClusterError], words: str) -> None:
        with answering(lambda request: reply) as server:
            for call in CALLS:
                with pytest.raises(error, match=words) as caught:
                    call(jaeger(server.url))
                assert caught.value.cluster == "prod"

    def test_answers_of_one_search_are_bounded_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("federation_core.connectors.trace_search.Allowance.__init__.__defaults__", (1_000,))
        with answering(one_trace_per_service(list("abcdef"))) as server, pytest.raises(TooLarge, match="1000 bytes"):
            search(jaeger(server.url), "{ kind = server }")

    def test_spans_of_another_trace_are_no_answer(self) -> None:
        other = Reply({"data": [v1_trace(B_TRACE, "a", 1)]})
        services = one_trace_per_service(["a"])

        def reply(request: Request) -> Reply:
            return other if request.path == f"/api/traces/{A_TRACE}" else services(request)

        with answering(reply) as server, pytest.raises(Malformed, match="spans of trace 0000"):
            spans_of(jaeger(server.url), A_TRACE)

    def test_only_traces_and_only_by_url(self) -> None:
        for backend in (
            Backend("traces", "jaeger", path="/x", origin="clusters.yaml:7"),
            Backend("logs", "jaeger", url="http://x", origin="clusters.yaml:7"),
        ):
            with pytest.raises(InvalidConfig, match=r"clusters\.yaml:7: a jaeger backend"):
                connect(Cluster("prod", "e", (backend,)), backend)


def test_inventory_lists_services(connectors: dict[str, Connector]) -> None:
    services = connectors["app-prod"].inventory(FAR_DEADLINE).services
    assert sorted(name for _, name in services) == ["auth", "checkout", "inventory", "notifier", "orders-api"]
