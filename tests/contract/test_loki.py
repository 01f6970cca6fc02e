"""Loki as a backend keeps the contract: recorded servers are replayed, and what they show is held against the truth.

No real Loki runs here. What goes beyond the recordings (other limits, pages, `{}`) is asked of the model in
tests/support/loki_model.py, which `test_loki_model.py` holds against every recording. How pages become an answer is
shown in tests/unit/connectors/backends/test_loki_pages.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from federation_core.connectors.backends.loki import Loki
from federation_core.errors import ClusterError, Malformed, Rejected, Unreachable
from federation_core.labels import CLUSTER, Labels
from federation_core.query import Deadline, Direction, TimeRange
from federation_core.signals.logs.distribute import EXPORTED_CLUSTER
from federation_core.signals.logs.expr import print_query
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.payload import NS_PER_MS, Entries, Entry, first_entries
from federation_core.tenancy import Limits
from tests.support.loki_connected import entries_of, federate_logs, fetch, loki_at
from tests.support.loki_model import END_MS, RECORDED, LokiModel, loki_serving, recorded_lines
from tests.support.prometheus_replies import RepliesServer, Reply, answering
from tests.support.recorded_server import Exchange, read_exchange, read_exchanges, replaying

CLUSTERS = ("prod", "app-prod", "shared-services")
#: What Loki takes for what a request leaves out (query-range-streams-default-limit-and-direction).
DEFAULTS = {"limit": "100", "direction": "backward"}
TRUTH: Mapping[str, Any] = json.loads((RECORDED.parent / "loki_truth.json").read_text(encoding="utf-8"))
EXACT = "equal timestamp line"


def recorded(name: str) -> Exchange:
    return read_exchange(RECORDED / f"{name}.json")


def as_we_spell(exchange: Exchange) -> Exchange:
    """Return the exchange with the spaces in its query as we write them, which mean nothing."""
    fields = [(name, print_query(parse(text)) if name == "query" else text) for name, text in exchange.fields]
    return replace(exchange, fields=tuple(sorted(fields)))


def is_askable(exchange: Exchange) -> bool:
    """Tell whether the connector can ask just this: lines, of whole milliseconds, without parsers."""
    asked = dict(exchange.fields)
    times = [asked.get(name, "") for name in ("start", "end")]
    return (
        exchange.path.endswith("query_range")
        and exchange.method == "GET"
        and exchange.reply.status == 200
        and "| json" not in asked["query"]
        and all(len(time) == 19 and time.endswith("000000") for time in times)
    )


#: Of equal-timestamps-limit-2-page-1 the page that a connector asks for next was not recorded; the model has it.
ASKABLE = [e for e in read_exchanges(RECORDED) if is_askable(e) and not e.name.endswith("page-1")]


def replayed(exchange: Exchange, limit: int | None = None) -> Entries:
    """Ask a server that knows this exchange and its cluster's labels for what the exchange is about.

    The page that a connector asks for is one line longer than its limit.
    """
    asked = {**DEFAULTS, **dict(exchange.fields)}
    when = TimeRange(*(int(asked[name]) // NS_PER_MS for name in ("start", "end")))
    direction: Direction = "forward" if asked["direction"] == "forward" else "backward"
    with replaying([as_we_spell(exchange), recorded(f"labels-{exchange.cluster}")], defaults=DEFAULTS) as server:
        opened = loki_at(server, exchange.cluster, exchange.tenant)
        most = int(asked["limit"]) - 1 if limit is None else limit
        found = entries_of(fetch(opened, asked["query"], limit=most, direction=direction, when=when))
        assert server.asked_unknown == []
    return found


def told(entries: Entries) -> list[tuple[int, str, Labels]]:
    return [(entry.t_ns, entry.line, Labels.of([*entry.labels, *entry.metadata])) for entry in entries.entries]


class TestRecordings:
    @pytest.mark.parametrize("exchange", ASKABLE, ids=lambda exchange: exchange.name)
    def test_every_line_is_there_with_all_its_labels_in_order(self, exchange: Exchange) -> None:
        streams = json.loads(exchange.reply.body)["data"]["result"]
        lines = [
            (int(t_ns), line, Labels.of({**stream["stream"], **(apart[0]["structuredMetadata"] if apart else {})}))
            for stream in streams
            for t_ns, line, *apart in stream["values"]
        ]
        found, limit = replayed(exchange), int(dict(exchange.fields).get("limit", "100")) - 1
        assert Counter(told(found)) <= Counter(lines)
        assert (len(found.entries), found.more) == (min(len(lines), limit), len(lines) > limit)
        times = [t_ns for t_ns, _, _ in told(found)]
        backward = "direction" not in dict(exchange.fields)
        assert times == sorted((t_ns for t_ns, _, _ in lines), reverse=backward)[:limit]

    @pytest.mark.parametrize("cluster", ["prod", "shared-services"])
    def test_all_lines_of_a_server_are_those_of_the_truth(self, cluster: str) -> None:
        found = replayed(recorded(f"query-range-streams-full-dataset-{cluster}-forward-limit-1000")).entries
        assert len(found) == TRUTH[cluster]["total_stored"]
        services = Counter(entry.labels.get("service") for entry in found)
        assert services == TRUTH[cluster]["stored"]
        levels = Counter(f"{entry.labels.get('service')}/{entry.labels.get('level')}" for entry in found)
        assert levels == TRUTH[cluster]["stored_by_level"]
        for trace_id, count in TRUTH[cluster]["lines_by_trace"].items():
            assert sum(trace_id in entry.line for entry in found) == count

    @pytest.mark.parametrize("exchange", [e for e in ASKABLE if "lines-of-trace" in e.name], ids=lambda e: e.name)
    def test_the_lines_of_a_trace_are_as_many_as_in_truth(self, exchange: Exchange) -> None:
        trace_id = exchange.name.removeprefix("query-range-lines-of-trace-")[:32]
        assert len(replayed(exchange).entries) == TRUTH[exchange.cluster]["lines_by_trace"][trace_id]


class TestSurprises:
    """What the recordings show that one would not expect, one by one."""

    def test_lines_come_by_stream_and_are_put_in_order_of_time(self) -> None:
        exchange = recorded("query-range-limit-5-forward")
        assert len(json.loads(exchange.reply.body)["data"]["result"]) > 1
        found = [entry.t_ns for entry in replayed(exchange).entries]
        assert found == sorted(found)

    def test_the_end_is_outside_and_the_start_is_inside(self) -> None:
        assert replayed(recorded("query-range-end-equals-a-line-timestamp-exclusive")).entries == ()
        with loki_serving(model("prod")) as server:
            text, when = f'{{service="cart"}} |= "{EXACT}"', TimeRange(1_795_470_600_000, 1_795_470_600_001)
            assert len(entries_of(fetch(loki_at(server), text, when=when)).entries) == 4

    def test_exact_copies_are_there_once_and_the_same_text_in_another_stream_is_kept(self) -> None:
        found = replayed(recorded("query-range-equal-timestamps-and-duplicates")).entries
        copies = [entry.labels.get("pod") for entry in found if entry.line.startswith("duplicate")]
        assert len(copies) == len(set(copies)) == 2

    def test_lines_of_one_nanosecond_keep_the_order_in_which_they_were_written(self) -> None:
        with loki_serving(model("prod")) as server:
            orders = {
                direction: [
                    (entry.ordinal, entry.line[-1])
                    for entry in entries_of(
                        fetch(loki_at(server), f'{{service="cart"}} |= "{EXACT}"', direction=direction)
                    ).entries
                ]
                for direction in ("forward", "backward")
            }
        assert orders["forward"] == [(n, str(n)) for n in range(4)]
        assert orders["backward"] == orders["forward"][::-1]

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    @pytest.mark.parametrize("limit", range(1, 7))
    def test_a_limit_within_lines_of_one_nanosecond_takes_the_first_of_them(
        self, limit: int, direction: Direction
    ) -> None:
        exchange = recorded("query-range-equal-timestamps-and-duplicates")
        whole = replayed(exchange).entries
        with loki_serving(model("app-prod")) as server:
            opened = loki_at(server, "app-prod")
            found = entries_of(fetch(opened, dict(exchange.fields)["query"], limit=limit, direction=direction))
        assert found == first_entries(Entries.of(whole), limit, direction)
        # As it was recorded, Loki itself takes others: those of the stream that comes second.
        page = json.loads(recorded("query-range-equal-timestamps-limit-2-page-1").reply.body)["data"]["result"]
        assert [stream["stream"]["pod"] for stream in page] == [whole[-1].labels.get("pod")]

    def test_metadata_is_the_same_whether_a_server_tells_it_from_labels_or_not(self) -> None:
        flagged = replayed(recorded("query-range-structured-metadata-categorized"))
        flat = replayed(recorded("query-range-structured-metadata-flat"))
        assert flagged == flat
        names = {name for entry in flat.entries for name in entry.metadata.names()}
        assert names == {"detected_level", "span_id", "trace_id"}

    def test_what_loki_adds_is_shown_where_it_can_be_asked_for(self) -> None:
        with loki_serving(model("prod")) as server:
            opened = loki_at(server)
            for text in ('{service_name="cart"}', '{service="cart"} | detected_level="warn"'):
                (entry, *_) = entries_of(fetch(opened, text)).entries
                assert (entry.labels.get("service_name"), bool(entry.metadata.get("detected_level"))) == ("cart", True)

    def test_a_filter_sees_metadata(self) -> None:
        (entry,) = replayed(recorded("query-range-structured-metadata-filter-by-trace-id")).entries
        assert entry.metadata.get("trace_id") == "942b0d0e8e513a5ae26152655058ed44"

    def test_lines_are_whatever_was_written(self) -> None:
        lines = [entry.line for entry in replayed(recorded("query-range-odd-lines-empty-ansi-long-logfmt")).entries]
        assert ("" in lines, any("\x1b[31m" in line for line in lines), max(map(len, lines)) > 3000) == (True,) * 3
        assert all("\n" in e.line for e in replayed(recorded("query-range-multi-line-traceback")).entries)
        assert all("日本語" in entry.line for entry in replayed(recorded("query-range-unicode-filter"), 9).entries)

    def test_an_unknown_tenant_is_an_empty_answer(self) -> None:
        assert replayed(recorded("query-range-unknown-tenant-empty")).entries == ()

    @pytest.mark.parametrize(
        ("name", "error", "said"),
        [
            ("query-range-no-tenant-401", Rejected, r"credentials or tenant \(401\): no org id"),
            ("query-range-parse-error-400", Malformed, "cannot read the query: parse error at line 1, col 16"),
            (
                "query-range-regex-error-400",
                Malformed,
                "cannot read the query: parse error : error parsing regexp: missing",
            ),
            ("query-range-empty-matcher-400", Malformed, "at least one regexp or equality matcher"),
            ("query-range-end-before-start-400", Rejected, "end timestamp must not be before"),
            ("query-range-limit-0", Rejected, "refuses the query: limit must be a positive value"),
            ("unknown-path-404", Malformed, "answers 404, which is none of Loki's API: 404 page not found"),
            ("ready-while-starting-503", Unreachable, "answers 503: Some services are not Running"),
        ],
    )
    def test_refusals_are_plain_text_and_told_in_lokis_words(
        self, name: str, error: type[ClusterError], said: str
    ) -> None:
        with answering(lambda _: recorded(name).reply) as server, pytest.raises(error, match=said) as caught:
            fetch(loki_at(server), '{a="b"}')
        assert (type(caught.value), caught.value.cluster) == (error, "prod")

    @pytest.mark.parametrize("name", ["query-range-range-too-long-400", "query-range-limit-above-server-maximum-400"])
    def test_a_limit_of_the_server_is_kept_to_and_not_passed_on(self, name: str) -> None:
        refusals = [recorded(name).reply] * ("too-long" in name)
        served = model("prod")
        with answering(lambda request: refusals.pop() if refusals else served.reply(request)) as server:
            when = TimeRange(1_792_014_000_000, END_MS)
            limits = Limits(max_entries=9_000)
            found = entries_of(fetch(loki_at(server), '{service="cart"}', limit=8_000, when=when, limits=limits))
        assert len(found.entries) == TRUTH["prod"]["stored"]["cart"]
        assert all(int(request.field("limit")) <= 5_000 for request in server.asked)
        spans = [int(request.field("end")) - int(request.field("start")) for request in server.asked[1:]]
        assert all(span <= 721 * 3600 * 10**9 for span in spans)

    def test_a_server_that_says_it_is_not_ready_answers_already(self) -> None:
        exchanges = [recorded("ready-while-starting-503"), recorded("labels-prod")]
        with replaying(exchanges) as server:
            loki_at(server).ping(Deadline(2**62, lambda: END_MS))
            assert [request.path for request in server.asked] == ["/loki/api/v1/labels"]

    def test_a_time_without_data_has_no_labels_and_no_key_for_them(self) -> None:
        when = TimeRange(1_795_383_600_000, 1_795_390_000_000)
        with replaying([recorded("labels-outside-data-window")]) as server:
            assert entries_of(fetch(loki_at(server), "{}", when=when)).entries == ()
            assert len(server.asked) == 1


def model(cluster: str, **limits: Any) -> LokiModel:
    return LokiModel.of(recorded_lines(cluster), **limits)


@pytest.fixture(scope="module")
def three() -> Iterator[dict[str, Loki]]:
    """Servers of the three clusters, which hold what was recorded of them."""
    with ExitStack() as stack:
        yield {name: loki_at(stack.enter_context(loki_serving(model(name))), name) for name in CLUSTERS}


class TestEveryStream:
    def test_is_asked_for_as_loki_takes_it(self) -> None:
        with loki_serving(model("prod")) as server:
            found = entries_of(fetch(loki_at(server), "{}", limit=999))
        assert len(found.entries) == TRUTH["prod"]["total_stored"]
        assert queries(server) == ['{service_name=~".+"}']

    def test_also_those_without_what_the_others_have(self) -> None:
        lines = recorded_lines("prod")
        bare = [Entry(line.t_ns, line.line, Labels.of({"pod": str(n)})) for n, line in enumerate(lines[:5])]
        odd = [Entry(lines[0].t_ns, "odd", Labels.of({"job": "cron"}))]
        with loki_serving(LokiModel.of([*lines, *bare, *odd])) as server:
            found = entries_of(fetch(loki_at(server), "{}", limit=999))
        assert len(found.entries) == len(lines) + 6
        assert queries(server) == [
            '{service_name=~".+"}', '{service_name="", pod=~".+"}', '{service_name="", pod="", job=~".+"}',
        ]  # fmt: skip

    def test_negative_conditions_alone_are_no_hindrance(self) -> None:
        with loki_serving(model("prod")) as server:
            found = entries_of(fetch(loki_at(server), '{level!="info", service!~"c.*"}', limit=999))
        held = TRUTH["prod"]["stored_by_level"]
        assert len(found.entries) == sum(n for k, n in held.items() if k[0] != "c" and not k.endswith("/info"))


def queries(server: RepliesServer) -> list[str]:
    return [request.field("query") for request in server.asked if request.path.endswith("query_range")]


class TestFederated:
    @pytest.mark.parametrize("trace_id", sorted({e.name[27:59] for e in ASKABLE if "lines-of-trace" in e.name}))
    def test_a_search_over_three_clusters_equals_the_truth(self, three: dict[str, Loki], trace_id: str) -> None:
        payload, warnings = federate_logs(f'{{}} |= "{trace_id}"', three)
        found = Counter(entry.cluster for entry in payload.entries)
        truth = {cluster: TRUTH[cluster]["lines_by_trace"].get(trace_id, 0) for cluster in CLUSTERS}
        assert (found, warnings) == (Counter(truth), ())

    def test_a_cluster_that_is_named_is_the_only_one_asked_and_all_of_it(self, three: dict[str, Loki]) -> None:
        payload, _ = federate_logs('{cluster="shared-services"}', three, limit=999)
        assert len(payload.entries) == TRUTH["shared-services"]["total_stored"]
        # A stream's own label of the same value is the same label.
        assert {entry.labels.get(CLUSTER) for entry in payload.entries} == {"shared-services"}
        assert {entry.labels.get(EXPORTED_CLUSTER) for entry in payload.entries} == {""}

    def test_another_value_of_its_own_is_moved_aside(self, three: dict[str, Loki]) -> None:
        payload, _ = federate_logs('{service="cart"}', {"eu": three["prod"]}, limit=1)
        assert payload.entries[0].labels.only([CLUSTER, EXPORTED_CLUSTER]) == Labels.of(
            {CLUSTER: "eu", EXPORTED_CLUSTER: "prod"}
        )

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    @pytest.mark.parametrize("limit", [1, 17, 100, 639])
    def test_the_first_entries_of_all_are_those_of_one_store(
        self, three: dict[str, Loki], limit: int, direction: Direction
    ) -> None:
        payload, _ = federate_logs("{}", three, limit=limit, direction=direction)
        every = [line.t_ns for cluster in CLUSTERS for line in recorded_lines(cluster)]
        times = sorted(every, reverse=direction == "backward")[:limit]
        assert [entry.t_ns for entry in payload.entries] == times

    def test_the_others_answer_where_one_is_dark(self, three: dict[str, Loki], tmp_path: Path) -> None:
        with answering(lambda _: Reply(b"Starting: 7", 503)) as server:
            starting = loki_at(server, "app-prod")
            with pytest.raises(Unreachable) as caught:
                federate_logs('{service="auth"}', {**three, "app-prod": starting})
        assert caught.value.cluster == "app-prod"
