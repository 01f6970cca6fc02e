"""What a real Prometheus 2.42 answered, replayed: our answer to a question is its own, refusals included.

Compared are the `data` of a query and of a question about series, as text: every label, time and value as it was sent.
The order of series is not: Prometheus promises none. The recordings were made by GET; the connector sends queries as
forms, with a few fields more that Prometheus 2.42 does not know, and `query-post-form` shows that it reads them alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched, connect
from federation_core.connectors.backends.prometheus import Prometheus
from federation_core.connectors.backends.prometheus_api import NOTHING_LESS, PrometheusApi, Reply, seconds
from federation_core.connectors.http import open_client
from federation_core.errors import (
    ClusterError,
    FederationError,
    InvalidRequest,
    Malformed,
    QueryExecutionError,
    Rejected,
    TimedOut,
    Unreachable,
)
from federation_core.labels import Labels
from federation_core.plan import Leaf
from federation_core.query import TimeRange
from federation_core.selector_text import selector_text
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.times import parse_duration_ms
from tests.support.connected import federate_over
from tests.support.recorded_server import Exchange, RecordedServer, read_exchange, read_exchanges, replaying
from tests.support.sample_store import FAR_DEADLINE, scope_of
from webapp.facades.prometheus_times import read_instant_ms

pytestmark = pytest.mark.heavy
FOLDER = Path(__file__).parents[1] / "fixtures" / "backends" / "prometheus"
EXCHANGES = {exchange.name: exchange for exchange in read_exchanges(FOLDER)}
ALL_TIME = TimeRange(0, 4_000_000_000_000)
LOOKBACK = ("lookback_delta", "300.000")
#: What the connector is never given to ask, because the centre answers it alone.
AT_THE_CENTRE = ("query-scalar", "query-string", "query-range-scalar-expression")
EVALUATED = sorted(
    name
    for name, exchange in EXCHANGES.items()
    if exchange.path in ("/api/v1/query", "/api/v1/query_range")
    and exchange.reply.status == 200
    and name not in ("query-no-time", "query-string")
)
LISTED = sorted(
    name
    for name in EXCHANGES
    if name.startswith(("series-", "labels-", "label-values-", "metadata-")) and "400" not in name
)


def time_range_of(exchange: Exchange) -> TimeRange:
    """Return when a query was asked about; 0 for an instant that cannot be read, or is not given.

    Raises InvalidRequest: no query of ours has such a range.
    """
    asked = dict(exchange.fields)
    if exchange.path.endswith("query_range"):
        step = asked["step"]
        step_ms = int(step) * 1000 if step.isdecimal() else parse_duration_ms(step)
        return TimeRange(int(asked["start"]) * 1000, int(asked["end"]) * 1000, step_ms)
    at_ms = read_instant_ms(asked["time"]) if "time" in asked and asked["time"] != "yesterday" else 0
    return TimeRange(at_ms, at_ms)


def is_made(exchange: Exchange) -> bool:
    """Tell whether an exchange is a query that the connector can make: its times are some that we take."""
    if not exchange.path.startswith("/api/v1/query"):
        return False
    try:
        return time_range_of(exchange).step_ms > 0 or exchange.path == "/api/v1/query"
    except InvalidRequest:
        return False


def as_we_ask(exchange: Exchange) -> Exchange:
    """Return the exchange with the request that the connector makes of the same question."""
    asked = dict(exchange.fields)
    if is_made(exchange):
        when = time_range_of(exchange)
        named = (("start", when.start_ms), ("end", when.end_ms), ("step", when.step_ms))
        times = named if exchange.path.endswith("query_range") else (("time", when.end_ms),)
        fields = [("query", asked.get("query", "")), LOOKBACK, *((name, seconds(ms)) for name, ms in times)]
        return replace(exchange, method="POST", fields=tuple(sorted([*fields, *NOTHING_LESS])), headers={})
    if exchange.name not in LISTED or exchange.path.endswith("metadata"):
        return replace(exchange, fields=tuple(sorted([*exchange.fields, *NOTHING_LESS])))
    node = parse(asked.get("match[]", '{__name__=~".+"}'))
    when = listed_time_of(exchange)
    span = (("start", seconds(when.start_ms)), ("end", seconds(when.end_ms)))
    match = ("match[]", selector_text(node.selector))  # type: ignore[union-attr]
    return replace(exchange, fields=tuple(sorted([match, *span, *NOTHING_LESS])))


def listed_time_of(exchange: Exchange) -> TimeRange:
    """Return what a question about series is about; the recorded ones without times were about all time."""
    asked = dict(exchange.fields)
    return TimeRange(int(asked["start"]) * 1000, int(asked["end"]) * 1000) if "start" in asked else ALL_TIME


@contextmanager
def replayed(*names: str, signal: str = "metrics") -> Iterator[tuple[Connector, RecordedServer]]:
    """Open the connector to a server that knows these exchanges, and what it says it is."""
    known = [as_we_ask(EXCHANGES[name]) for name in (*names, "buildinfo")]
    with replaying(known) as server:
        cluster = EXCHANGES[names[0]].cluster
        backend = Backend(signal, "prometheus", url=server.url, origin="clusters.yaml:1")
        yield connect(Cluster(cluster, "e", (backend,)), backend), server
        assert server.asked_unknown == []


@contextmanager
def api_over(*names: str) -> Iterator[PrometheusApi]:
    with replaying([as_we_ask(EXCHANGES[name]) for name in names]) as server:
        backend = Backend("metrics", "prometheus", url=server.url, origin="clusters.yaml:1")
        yield PrometheusApi(open_client(Cluster("prod", "e", (backend,)), backend))


def fetch(name: str) -> Fetched:
    """Ask what was recorded under a name."""
    exchange = EXCHANGES[name]
    leaf = Leaf("v", dict(exchange.fields)["query"], time_range_of(exchange))
    with replayed(name) as (connector, _):
        return connector.fetch(leaf, scope_of([exchange.cluster]), FAR_DEADLINE)


def data_of(name: str) -> Any:
    body = EXCHANGES[name].reply.body
    assert isinstance(body, bytes)
    return orjson.loads(body)["data"]


def as_texts(data: Any) -> tuple[str, list[bytes]]:
    """Return the result of a query as the text of each series, in no order."""
    result = data["result"]
    rows = result if data["resultType"] in ("vector", "matrix") else [result]
    return data["resultType"], sorted(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows)


class TestQueries:
    def test_enough_was_recorded(self) -> None:
        assert (len(EXCHANGES), len(EVALUATED), len(LISTED)) == (52, 23, 8)

    @pytest.mark.parametrize("name", EVALUATED)
    def test_our_answer_is_the_recorded_one(self, name: str) -> None:
        assert as_texts(to_json(fetch(name).payload)) == as_texts(data_of(name))

    @pytest.mark.parametrize("name", AT_THE_CENTRE)
    def test_what_needs_no_series_is_answered_alike_without_asking(self, name: str) -> None:
        exchange = EXCHANGES[name]
        payload, _ = federate_over(dict(exchange.fields)["query"], {}, time_range_of(exchange))
        assert as_texts(to_json(payload)) == as_texts(data_of(name))

    def test_a_form_is_read_as_a_url_is(self) -> None:
        form, url = read_exchange(FOLDER / "query-post-form.json"), EXCHANGES["query-with-remote-read-down-warnings"]
        assert (form.method, form.fields) == ("POST", url.fields)
        assert as_texts(data_of(form.name)) == as_texts(data_of(url.name))


class TestDiscovery:
    @pytest.mark.parametrize("name", LISTED)
    def test_our_list_is_the_recorded_one(self, name: str) -> None:
        exchange = EXCHANGES[name]
        question, _, label = exchange.path.removeprefix("/api/v1/").partition("/")
        asked = dict(exchange.fields).get("match[]", '{__name__=~".+"}')
        about = f'values "{label.removesuffix("/values")}"' if label else question
        text = f"{about} {selector_text(parse(asked).selector)}"  # type: ignore[union-attr]
        with replayed(name, signal="series") as (connector, _):
            found = connector.fetch(Leaf("f", text, listed_time_of(exchange)), scope_of(["prod"]), FAR_DEADLINE).payload
        told = [row.as_dict() if isinstance(row, Labels) else row for row in found.rows]
        assert told == list(data_of(name))

    def test_a_name_that_the_path_does_not_take_is_looked_for_in_the_series(self) -> None:
        """Prometheus 2 refuses `label/a-b/values`, so it is never asked for that."""
        assert EXCHANGES["label-values-bad-name-400"].reply.status == 400
        with replaying([as_we_ask(EXCHANGES["series-with-remote-read-down"])]) as server:
            backend = Backend("series", "prometheus", url=server.url, origin="clusters.yaml:1")
            opened = connect(Cluster("prod", "e", (backend,)), backend)
            text = 'values "a-b" {__name__="http_requests_total"}'
            found = opened.fetch(Leaf("f", text, ALL_TIME), scope_of(["prod"]), FAR_DEADLINE).payload
        assert found.rows == ()
        assert [request.path for request in server.asked] == ["/api/v1/series"]


#: What was recorded of a refusal → the error that it is, its status, and words of it that reach who asks.
REFUSED: dict[str, tuple[type[FederationError], str]] = {
    "query-bad-data-bad-time-400": (Malformed, 'cannot parse "yesterday" to a valid timestamp'),
    "query-bad-data-parse-error-400": (Malformed, "1:24: parse error: unclosed left parenthesis"),
    "query-missing-query-400": (Malformed, "no expression found in input"),
    "query-range-end-before-start-400": (Malformed, "end timestamp must not be before start time"),
    "query-range-step-zero-400": (Malformed, "zero or negative query resolution step widths"),
    "query-range-too-many-points-400": (Malformed, "exceeded maximum resolution of 11,000 points per timeseries"),
    "query-range-too-many-samples-422": (Rejected, "too many samples into memory"),
    "query-execution-error-many-to-many-422": (QueryExecutionError, "found duplicate series for the match group"),
    "query-timeout-503": (TimedOut, "query timed out in expression evaluation"),
    "query-while-starting": (Unreachable, "the backend answers 503"),
    "label-values-bad-name-400": (Malformed, 'invalid label name: "a-b"'),
    "series-no-match-400": (Malformed, "no match[] parameter provided"),
    "unknown-path-404": (Malformed, "the backend answers 404, which is none of Prometheus' API"),
}


def ask_again(api: PrometheusApi, exchange: Exchange) -> Reply:
    """Put a recorded request as our client puts it; by GET one that no connector can make."""
    if is_made(exchange):
        query = dict(exchange.fields).get("query", "")
        return api.query(query, time_range_of(exchange), FAR_DEADLINE, lambda chunk: None)
    return api.get(exchange.path.removeprefix("/api/v1/"), exchange.fields, FAR_DEADLINE)


class TestSurprises:
    """Each is one of the list that came with the recordings."""

    @pytest.mark.parametrize("name", REFUSED)
    def test_errors_are_json_with_a_type_and_text_where_no_query_was_read(self, name: str) -> None:
        """400 bad_data, 422 execution, 503 timeout are JSON; 404 and the 503 while starting are plain text."""
        kind, words = REFUSED[name]
        with api_over(name) as api, pytest.raises(kind) as caught:
            ask_again(api, EXCHANGES[name])
        assert words in caught.value.message
        assert isinstance(caught.value, QueryExecutionError) or getattr(caught.value, "cluster", "") == "prod"

    def test_times_that_it_refuses_are_refused_before_it_is_asked(self) -> None:
        """At most 11,000 steps, a step above nothing, an end that is not before the start."""
        unmade = {e.name for e in EXCHANGES.values() if e.path.endswith("query_range") and not is_made(e)}
        refusals = ("end-before-start", "step-zero", "too-many-points")
        assert unmade == {f"query-range-{why}-400" for why in refusals}

    def test_every_recorded_refusal_is_told(self) -> None:
        refused = {e.name for e in EXCHANGES.values() if e.reply.status != 200 and e.path.startswith("/api/")}
        assert refused == set(REFUSED)

    def test_a_limit_of_the_server_is_the_clusters_and_not_the_querys_error(self) -> None:
        """Both are 422 `execution`: only the words tell a query that is wrong from a server that is full."""
        with api_over("query-range-too-many-samples-422") as api, pytest.raises(ClusterError):
            ask_again(api, EXCHANGES["query-range-too-many-samples-422"])

    def test_values_are_strings_nan_and_infinity_included(self) -> None:
        shown = str(to_json(fetch("query-nan-and-inf-values").payload))
        assert "'+Inf'" in shown
        assert "'NaN'" in str(to_json(fetch("query-division-by-zero").payload))

    @pytest.mark.parametrize(
        "name", ["query-with-remote-read-down-warnings", "query-range-with-remote-read-down-warnings"]
    )
    def test_warnings_come_with_a_200_and_are_passed_on(self, name: str) -> None:
        (said,) = fetch(name).warnings
        assert said.startswith("cluster prod: remote_read: error sending request")
        # Where the backend's own backends are is nothing for who asks.
        assert ("127.0.0.1" in str(EXCHANGES[name].reply.body), "127.0.0.1" in said) == (True, False)

    def test_the_end_of_a_range_is_inclusive(self) -> None:
        name = "query-range-scalar-expression"
        when = time_range_of(EXCHANGES[name])
        (row,) = to_json(fetch(name).payload)["result"]
        assert (row["values"][0][0] * 1000, row["values"][-1][0] * 1000) == (when.start_ms, when.end_ms)

    def test_lookback_is_five_minutes_and_ours_is_the_same(self) -> None:
        within, past = fetch("query-lookback-edge-within-5m"), fetch("query-lookback-edge-past-5m")
        assert [len(to_json(fetched.payload)["result"]) for fetched in (within, past)] == [1, 0]

    def test_an_instant_without_a_time_would_mean_now_so_it_always_has_one(self) -> None:
        assert "time" not in dict(EXCHANGES["query-no-time"].fields)
        with replayed("query-post-form") as (connector, server):
            connector.fetch(
                Leaf("v", "count(http_requests_total)", TimeRange(1795471000000, 1795471000000)),
                scope_of(["prod"]),
                FAR_DEADLINE,
            )
        assert [request.field("time") for request in server.asked] == ["1795471000.000"]

    def test_times_keep_their_milliseconds(self) -> None:
        assert to_json(fetch("query-time-rfc3339").payload)["result"][0]["value"][0] == 1795470600.123

    def test_a_backend_that_starts_is_down_and_not_broken(self) -> None:
        with api_over("query-while-starting") as api, pytest.raises(Unreachable):
            ask_again(api, EXCHANGES["query-while-starting"])

    def test_it_says_what_it_is(self) -> None:
        with replayed("query-post-form") as (connector, _):
            assert isinstance(connector, Prometheus)
            assert connector.dialect(FAR_DEADLINE).engine == "Prometheus"
