"""What backends tell of themselves, asked over real HTTP; the answers are spelled as the projects spell them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import connect
from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.errors import TimedOut, Unreachable
from federation_core.health import About
from federation_core.query import Deadline
from tests.support.every_backend import all_questions
from tests.support.prometheus_replies import PROMETHEUS_2, Reply, Request, answering, hang, success
from tests.support.prometheus_server import _free_port

NOW_MS = 1_795_496_400_000
#: Every kind that has a URL, with one of its signals.
SIGNALS = dict(reversed(all_questions()))
#: What a Prometheus says that has taken nothing since it started.
NO_SAMPLE = {"minTime": 2**63 - 1, "maxTime": -(2**63)}
REFUSED, NOT_THERE, BROKEN = Reply(b"no", 401), Reply(b"404 page not found", 404), Reply(b"oh", 500)

Replies = Mapping[str, Reply | Callable[[Request], Reply]]


def deadline(left_ms: int = 5_000) -> Deadline:
    return Deadline(NOW_MS + left_ms, lambda: NOW_MS)


def told(kind: str, replies: Replies, signal: str = "") -> tuple[About, list[Request]]:
    """Ask a backend that knows these paths, each ending so; any other is not there."""

    def reply(request: Request) -> Reply:
        found = next((reply for path, reply in replies.items() if request.path.endswith(path)), NOT_THERE)
        return found(request) if callable(found) else found

    with answering(reply) as server:
        backend = Backend(signal or SIGNALS[kind], kind, url=server.url, origin="clusters.yaml:1")
        return connect(Cluster("prod", "e", (backend,)), backend).about(deadline()), server.asked


def vector(*values: str) -> Reply:
    return success({"resultType": "vector", "result": [{"metric": {}, "value": [0, value]} for value in values]})


def of_second_query(reply: Reply) -> Callable[[Request], Reply]:
    """Nothing has a sample within the last five minutes."""
    return lambda request: reply if "[1h:1m]" in request.field("query") else vector()


class TestPrometheus:
    @pytest.mark.parametrize("signal", ["metrics", "series", "inventory"])
    def test_a_prometheus_tells_its_release_and_its_newest_sample(self, signal: str) -> None:
        stats = success({"headStats": {"maxTime": NOW_MS - 7}})
        replies = {"buildinfo": success({**PROMETHEUS_2, "version": "2.42.0+ds"}), "tsdb": stats}
        found, asked = told("prometheus", replies, signal)
        assert found == About("Prometheus 2.42.0", NOW_MS - 7)
        assert len(asked) == 2

    @pytest.mark.parametrize("head", [NO_SAMPLE, {}, {"maxTime": "soon"}, {"maxTime": 0}])
    def test_without_a_sample_of_its_own_the_newest_is_that_of_up(self, head: Any) -> None:
        replies = {"buildinfo": success(PROMETHEUS_2), "tsdb": success({"headStats": head})}
        found, _ = told("prometheus", {**replies, "/query": vector("1795496391.5")})
        assert found.newest_ms == 1_795_496_391_500

    def test_data_that_came_to_an_end_are_found_within_the_hour(self) -> None:
        replies = {"buildinfo": success(PROMETHEUS_2), "/query": of_second_query(vector("1795495000"))}
        assert told("prometheus", replies)[0].newest_ms == 1_795_495_000_000

    @pytest.mark.parametrize("reply", [vector(), vector("NaN"), vector("+Inf"), vector("x"), success([]), BROKEN])
    def test_what_is_no_time_is_not_told(self, reply: Reply) -> None:
        assert told("prometheus", {"buildinfo": success(PROMETHEUS_2), "/query": reply})[0].newest_ms is None

    @pytest.mark.parametrize(
        ("build", "headers", "name"),
        [
            ({"version": "0.31.0", "goVersion": "go1.19"}, {}, "Thanos 0.31.0"),
            ({"version": "2.10.0", "goVersion": "go1.21", "application": "Grafana Mimir"}, {}, "Mimir 2.10.0"),
            ({"version": "2.24.0"}, {"X-Server-Hostname": "vm"}, "VictoriaMetrics"),
            ({"version": "2.24.0"}, {}, ""),
        ],
    )
    def test_others_are_told_apart_and_not_asked_for_stats_of_prometheus(
        self, build: Any, headers: Mapping[str, str], name: str
    ) -> None:
        replies = {"buildinfo": Reply({"status": "success", "data": build}, headers=headers)}
        found, asked = told("prometheus", {**replies, "/query": vector("1795496391")})
        assert found == About(name, 1_795_496_391_000)
        assert not any("tsdb" in request.path for request in asked)


LINE = {"stream": {"service_name": "cart"}, "values": [[str((NOW_MS - 9) * 1_000_000 + 5), "a line"]]}


class TestLoki:
    def test_loki_tells_its_release_and_its_newest_line(self) -> None:
        replies = {
            "buildinfo": Reply({"version": "3.7.6", "goVersion": ""}),
            "labels": success(["__stream_shard__", "app", "service_name"]),
            "query_range": success({"resultType": "streams", "result": [LINE]}),
        }
        found, asked = told("loki", replies)
        assert found == About("Loki 3.7.6", NOW_MS - 9)
        assert dict(asked[-1].fields)["query"] == '{service_name=~".+"}'
        assert (dict(asked[-1].fields)["limit"], dict(asked[-1].fields)["direction"]) == ("1", "backward")

    @pytest.mark.parametrize("names", [["job", "app"], ["pod"], ["__stream_shard__", "pod"]])
    def test_the_likeliest_label_is_asked_for(self, names: list[str]) -> None:
        _, asked = told("loki", {"labels": success(names), "query_range": success({"result": []})})
        assert dict(asked[-1].fields)["query"] == f'{{{names[-1] if "pod" in names else "job"}=~".+"}}'

    @pytest.mark.parametrize("answer", [success({"result": []}), success({}), success(None), BROKEN])
    def test_without_a_line_no_time_is_told(self, answer: Reply) -> None:
        replies = {"buildinfo": Reply({"version": "2.9.0"}), "labels": success(["job"]), "query_range": answer}
        assert told("loki", replies)[0] == About("Loki 2.9.0")

    def test_an_empty_loki_is_asked_for_no_line(self) -> None:
        found, asked = told("loki", {"buildinfo": Reply({"version": "2.9.0"}), "labels": Reply({"status": "success"})})
        assert (found, len(asked)) == (About("Loki 2.9.0"), 2)


class TestTempo:
    BUILD: ClassVar[Any] = {"/api/status/buildinfo": Reply({"version": "v3.0.3"})}
    FOUND = Reply({"traces": [{"traceID": "1", "startTimeUnixNano": str((NOW_MS - 4) * 1_000_000)}]})

    def test_tempo_tells_its_release_and_a_recent_trace(self) -> None:
        found, asked = told("tempo", {**self.BUILD, "/api/search": self.FOUND})
        assert found == About("Tempo 3.0.3", NOW_MS - 4)
        assert len(asked) == 2

    def test_only_where_nothing_is_recent_the_hour_is_searched(self) -> None:
        def search(request: Request) -> Reply:
            is_long = int(request.field("end")) - int(request.field("start")) > 3_000
            return self.FOUND if is_long else Reply({"traces": [], "metrics": {}})

        found, asked = told("tempo", {**self.BUILD, "/api/search": search})
        assert (found.newest_ms, len(asked)) == (NOW_MS - 4, 3)

    @pytest.mark.parametrize("row", [{"traceID": "1"}, {"startTimeUnixNano": "x"}, None, 3])
    def test_a_trace_without_a_time_tells_none(self, row: Any) -> None:
        assert told("tempo", {**self.BUILD, "/api/search": Reply({"traces": [row]})})[0] == About("Tempo 3.0.3")


class TestJaeger:
    @staticmethod
    def of(services: list[str], ages_ms: Mapping[str, int]) -> tuple[About, list[Request]]:
        def search(request: Request) -> Reply:
            service = request.field("service")
            start_us = (NOW_MS - ages_ms.get(service, 0)) * 1_000
            span = {"traceID": "ab", "spanID": "01", "operationName": "o", "startTime": start_us, "duration": 1}
            span |= {"processID": "p1", "tags": [], "logs": [], "references": []}
            trace = {"traceID": "ab", "spans": [span], "processes": {"p1": {"serviceName": service, "tags": []}}}
            return Reply({"data": [trace] if service in ages_ms else []})

        return told("jaeger", {"/api/services": Reply({"data": services}), "/api/traces": search})

    def test_the_newest_span_of_a_few_services_is_told(self) -> None:
        assert self.of(["a", "b"], {"a": 900_000, "b": 400_000})[0] == About("", NOW_MS - 400_000)

    def test_one_fresh_service_is_enough(self) -> None:
        found, asked = self.of(["a", "b", "c"], {"a": 1_000, "b": 5})
        assert found.newest_ms == NOW_MS - 1_000
        assert len([request for request in asked if request.path.endswith("traces")]) == 1

    def test_of_many_services_a_few_old_ones_tell_nothing(self) -> None:
        assert self.of([*"abcdefg"], {"a": 900_000, "g": 0})[0] == About()


def test_an_embedded_store_tells_its_release_and_the_newest_of_its_signal(tmp_path: Path) -> None:
    with SegmentStore(tmp_path / "s", cluster="prod") as store:
        ingest = Ingest(store)
        record = {"timeUnixNano": str(NOW_MS * 1_000_000), "body": {"stringValue": "hello"}}
        ingest.add({"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [record]}]}]})
        ingest.flush()
    found = {}
    for signal in ("logs", "traces", "inventory"):
        backend = Backend(signal, "embedded", path=str(tmp_path / "s"), origin="clusters.yaml:1")
        about = connect(Cluster("prod", "e", (backend,)), backend).about(deadline())
        found[signal] = about.newest_ms
        assert about.version.startswith("AppSentry")
    assert found == {"logs": NOW_MS, "traces": None, "inventory": NOW_MS}


@pytest.mark.parametrize("kind", SIGNALS)
class TestEveryKind:
    def test_a_backend_that_refuses_tells_nothing(self, kind: str) -> None:
        assert told(kind, {"": REFUSED})[0] == About()

    def test_a_backend_without_these_paths_tells_nothing(self, kind: str) -> None:
        assert told(kind, {})[0] == About()

    def test_strange_words_are_not_passed_on(self, kind: str) -> None:
        strange = {"version": "<b>3\x1b[2J", "goVersion": "go1"}
        found, _ = told(kind, {"buildinfo": Reply({"status": "success", "data": strange, **strange})})
        assert found.version in ("", "Loki", "Tempo")

    def test_where_nobody_listens_it_cannot_be_asked(self, kind: str) -> None:
        url = f"http://127.0.0.1:{_free_port()}"
        backend = Backend(SIGNALS[kind], kind, url=url, origin="clusters.yaml:1")
        with pytest.raises(Unreachable):
            connect(Cluster("prod", "e", (backend,)), backend).about(deadline())

    def test_a_backend_that_hangs_cannot_be_asked(self, kind: str) -> None:
        with answering(lambda request: Reply(act=hang)) as server:
            backend = Backend(SIGNALS[kind], kind, url=server.url, origin="clusters.yaml:1")
            with pytest.raises(TimedOut):
                connect(Cluster("prod", "e", (backend,)), backend).about(deadline(100))
