"""Jobs as their owners meet them: joined, cancelled, listened to, submitted once, paged, kept. Everything is real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jwt
import pytest

from federation_core.config import Auth
from federation_core.connectors.stores.redis import connect
from tests.support.event_stream import EventStream
from tests.support.stack import CLUSTERS, COUNTS, METRIC, Stack
from tests.support.web_server import Answer, WebServer
from webapp import create_app
from webapp.cli.stack import commands

pytestmark = pytest.mark.heavy
Start = Callable[..., subprocess.Popen[str]]
SUM = {"signal": "metrics", "query": f"sum({METRIC})"}
EVERYTHING = str(sum(COUNTS.values()))
KEY = "a-secret-of-at-least-thirty-two-bytes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("jobs")) as stack:
        stack.start_merge(with_beat=True)
        stack.start_worker()
        # The first query opens six stores; no test's deadline should pay for that.
        assert stack.ask(timeout_ms=30_000).status == "complete"
        yield stack


@pytest.fixture(scope="module")
def web(stack: Stack) -> Iterator[WebServer]:
    with WebServer(stack) as web:
        yield web


@pytest.fixture(autouse=True)
def _faults_end_with_the_test(stack: Stack) -> Iterator[None]:
    yield
    stack.break_clusters({})


@pytest.fixture
def command(stack: Stack) -> Iterator[Start]:
    """Start an `appsentry` command; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        argv, pipe = commands.python("webapp.cli", *arguments), subprocess.PIPE
        process = subprocess.Popen(argv, env=commands.environment(os.environ), stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def question(stack: Stack, offset_ms: int = 0, **more: Any) -> dict[str, Any]:
    """Two of these with the same offset are the same question."""
    return {**SUM, "time": str((stack.now_ms - offset_ms) / 1000), **more}


def submitted(web: WebServer, body: dict[str, Any], **headers: str) -> str:
    answer = web.post("/api/v1/queries", body, **headers)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["Location"])


def value(answer: Answer) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json["result"][0]["value"][1])


def state(web: WebServer, where: str) -> str:
    return str(web.get(where).json["state"])


class TestAnotherWebProcess:
    """A job belongs to no process."""

    def test_a_job_of_a_killed_web_process_is_watched_and_collected_from_another(self, stack: Stack) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        with WebServer(stack) as first, WebServer(stack) as second:
            where = submitted(first, question(stack, 1))
            with EventStream(first.url + where + "/events") as stream:
                seen = next(iter(stream))
                first.process.send_signal(signal.SIGKILL)
                first.process.wait(10)
            with EventStream(second.url + where + "/events", seen.id) as stream:
                stack.break_clusters({})
                ids = {event.id: event.name for event in stream}
            assert seen.id not in ids
            assert list(ids.values())[-1] == "end"
            assert value(second.get(where + "/result")) == EVERYTHING

    def test_a_cursor_of_one_process_is_opened_by_another(self, stack: Stack, web: WebServer) -> None:
        where = submitted(web, {"signal": "metrics", "query": METRIC})
        page = web.get(where + "/result?limit=2", Prefer="wait=20")
        with WebServer(stack) as second:
            following = second.get(f"{where}/result?cursor={page.json['cursor']}")
        assert (page.status_code, following.status_code, len(following.json["result"])) == (200, 200, 2)


class TestJoining:
    """Equal questions in flight share one execution."""

    def test_two_submitters_share_an_execution_and_have_a_job_each(self, stack: Stack, web: WebServer) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        first, second = (submitted(web, question(stack, 2)) for _ in range(2))
        assert first != second
        assert web.get(second).json["follows"] == first.rpartition("/")[2]
        stack.break_clusters({})
        answers = [web.get(where + "/result", Prefer="wait=20") for where in (first, second)]
        assert [value(answer) for answer in answers] == [EVERYTHING] * 2
        assert [answer.json["queryId"] for answer in answers] == [where.rpartition("/")[2] for where in (first, second)]
        assert [state(web, where) for where in (first, second)] == ["complete"] * 2

    @pytest.mark.parametrize("who", [0, 1], ids=["the first", "the second"])
    def test_one_cancels_and_the_other_still_gets_his_answer(self, stack: Stack, web: WebServer, who: int) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        both = [submitted(web, question(stack, 3 + who)) for _ in range(2)]
        assert web.send("DELETE", both[who]).status_code == 202
        assert [state(web, where) for where in both][who] == "cancelled"
        stack.break_clusters({})
        assert value(web.get(both[1 - who] + "/result", Prefer="wait=20")) == EVERYTHING
        assert web.get(both[who] + "/result").status_code == 499
        assert [state(web, where) for where in both][who] == "cancelled"

    def test_who_cancels_while_he_waits_is_told_so_and_not_the_others_answer(
        self, stack: Stack, web: WebServer
    ) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        first, second = (submitted(web, question(stack, 30)) for _ in range(2))
        with ThreadPoolExecutor() as pool:
            waiters = [pool.submit(web.get, where + "/result", Prefer="wait=25") for where in (first, second)]
            assert web.send("DELETE", first).status_code == 202
            stack.break_clusters({})
            assert [waiter.result().status_code for waiter in waiters] == [499, 200]

    def test_when_all_have_cancelled_the_execution_ends(self, stack: Stack, web: WebServer) -> None:
        stack.break_clusters({"dev": {"drip_s": 0.02}})
        both = [submitted(web, question(stack, 5)) for _ in range(2)]
        stack.until(lambda: any(row["state"] == "running" for row in web.get(both[0]).json["progress"]))
        assert [web.send("DELETE", where).status_code for where in both] == [202, 202]
        stack.until(lambda: '"message": "a shard was stopped' in stack.log())
        assert [web.get(where + "/result").status_code for where in both] == [499, 499]

    def test_another_tenant_does_not_join(self, stack: Stack) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        client = create_app(replace(stack.settings, auth=Auth(enabled=True, key=KEY))).test_client()
        jobs = [
            client.post("/api/v1/queries", json=question(stack, 6), headers=bearer(*who)).json
            for who in (("a", "*"), ("b", "*"), ("a", "narrow"), ("a", "*"))
        ]
        assert [job["follows"] for job in jobs] == [None, None, None, jobs[0]["queryId"]]


class TestCancelling:
    """`DELETE …`."""

    def test_a_waiter_wakes_and_the_result_says_that_it_was_cancelled(self, stack: Stack, web: WebServer) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        where = submitted(web, question(stack, 7))
        with ThreadPoolExecutor() as pool:
            waiter = pool.submit(web.get, where + "/result", Prefer="wait=25")
            with EventStream(web.url + where + "/events") as stream:
                events = iter(stream)
                next(events)
                assert web.send("DELETE", where).status_code == 202
                assert [event.data["state"] for event in events][-1] == "cancelled"
            answer = waiter.result()
        assert (answer.status_code, answer.json["type"]) == (499, "/api/problems/query-canceled")
        assert web.send("DELETE", where).status_code == 200

    def test_what_has_ended_stays_as_it_is(self, stack: Stack, web: WebServer) -> None:
        where = submitted(web, question(stack, 8))
        assert value(web.get(where + "/result", Prefer="wait=20")) == EVERYTHING
        cancelled = web.send("DELETE", where)
        assert (cancelled.status_code, cancelled.json["state"]) == (200, "complete")


class TestEvents:
    """`GET …/events`."""

    def test_progress_of_every_cluster_and_the_end_come_as_they_happen(self, stack: Stack, web: WebServer) -> None:
        stack.break_clusters({"dev": {"hold": True}, "test": {"hold": True}})
        where = submitted(web, question(stack, 9))
        percents = []
        with EventStream(web.url + where + "/events") as stream:
            for event in stream:
                percents.append(event.data["percent"])
                if percents[-1] == 66:
                    stack.break_clusters({"test": {"hold": True}})
                elif percents[-1] == 83:
                    stack.break_clusters({})
        assert percents == sorted(percents)
        assert {66, 83, 100} <= set(percents)
        assert event.name == "end"
        assert {row["state"] for row in event.data["progress"]} == {"ok"}

    def test_who_has_seen_the_end_is_told_not_to_come_back(self, stack: Stack, web: WebServer) -> None:
        where = submitted(web, question(stack, 10))
        with EventStream(web.url + where + "/events") as stream:
            (*_, last) = stream
        with EventStream(web.url + where + "/events", last.id) as again:
            assert again.status == 204

    def test_a_listener_ends_at_the_deadline_of_a_cluster_that_hangs(self, stack: Stack, web: WebServer) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        with EventStream(web.url + submitted(web, question(stack, 11, timeout="1s")) + "/events") as stream:
            (*_, last) = stream
        assert (last.name, last.data["state"]) == ("end", "partial")


class TestIdempotency:
    """`Idempotency-Key`."""

    def test_twenty_at_once_under_one_key_are_one_job(self, stack: Stack, web: WebServer) -> None:
        body, name = {**SUM, "start": "-5m"}, '"twenty"'
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: web.post("/api/v1/queries", body, Idempotency_Key=name), range(20)))
        accepted = {answer.json["queryId"] for answer in answers if answer.status_code == 202}
        assert {answer.status_code for answer in answers} <= {202, 409}
        assert all(answer.headers["Retry-After"] for answer in answers)
        assert len(accepted) == 1
        again = web.post("/api/v1/queries", body, Idempotency_Key="twenty")
        assert accepted == {again.json["queryId"]}

    def test_a_key_of_a_job_that_has_ended_says_that_its_answer_is_there(self, web: WebServer) -> None:
        path = submitted(web, SUM, Idempotency_Key='"ended"')
        assert web.get(f"{path}/result", Prefer="wait=20").status_code == 200
        again = web.post("/api/v1/queries", SUM, Idempotency_Key='"ended"')
        assert (again.status_code, again.headers["Retry-After"]) == (202, "0")

    def test_the_same_key_with_another_body_is_422(self, stack: Stack, web: WebServer) -> None:
        submitted(web, SUM, Idempotency_Key='"one"')
        other = web.post("/api/v1/queries", {**SUM, "timeout": "9s"}, Idempotency_Key='"one"')
        assert (other.status_code, other.json["type"]) == (422, "/api/problems/idempotency-conflict")

    def test_a_refused_request_leaves_its_key_free(self, web: WebServer) -> None:
        wrong = web.post("/api/v1/queries", {**SUM, "query": "sum("}, Idempotency_Key='"two"')
        assert wrong.status_code == 400
        submitted(web, SUM, Idempotency_Key='"two"')

    @pytest.mark.parametrize("name", ['""', "", " ", "a b", '"a', "é", "k" * 256, 'a"b', '"\\a"'])
    def test_what_is_no_key_is_400(self, web: WebServer, name: str) -> None:
        answer = web.post("/api/v1/queries", SUM, Idempotency_Key=name)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "Idempotency-Key")

    def test_a_key_is_one_tenants_and_one_scopes(self, stack: Stack) -> None:
        client = create_app(replace(stack.settings, auth=Auth(enabled=True, key=KEY))).test_client()
        statuses, ids = [], set()
        for who in (("a", "*"), ("b", "*"), ("a", "narrow")):
            answer = client.post("/api/v1/queries", json=SUM, headers={**bearer(*who), "Idempotency-Key": "k"})
            statuses.append(answer.status_code)
            ids.add(answer.json.get("queryId"))
        assert statuses == [202, 202, 422]
        assert len(ids) == 3


class TestPages:
    """`?limit=` and `?cursor=`."""

    @pytest.mark.parametrize(
        ("rows", "body"),
        [
            ("result", {"signal": "metrics", "query": METRIC}),
            ("result", {"signal": "metrics", "query": METRIC, "start": "-5m", "step": "1m"}),
        ],
        ids=["instant", "range"],
    )
    def test_pages_put_together_are_the_whole(self, web: WebServer, rows: str, body: dict[str, Any]) -> None:
        where = submitted(web, body)
        whole = web.get(where + "/result", Prefer="wait=20")
        assert (len(whole.json[rows]), whole.json["cursor"]) == (6, None)
        found, path = [], where + "/result?limit=4"
        while path:
            page = web.get(path)
            assert page.headers["X-Federation-Coverage"] == "6/6"
            found.append(page.json[rows])
            link = page.headers.get("Link")
            path = link.partition(">")[0].removeprefix("<") if link else ""
            assert bool(link) is (page.json["cursor"] is not None)
        assert [len(page) for page in found] == [4, 2]
        assert found[0] + found[1] == whole.json[rows]

    def test_a_cursor_of_another_query_or_altered_is_400(self, web: WebServer) -> None:
        first, second = (submitted(web, {"signal": "metrics", "query": METRIC}) for _ in range(2))
        cursor = web.get(first + "/result?limit=1", Prefer="wait=20").json["cursor"]
        assert web.get(second + "/result", Prefer="wait=20").status_code == 200
        for where, text in ((second, cursor), (first, cursor[:-1] + ("A" if cursor[-1] != "A" else "B")), (first, "x")):
            answer = web.get(f"{where}/result?cursor={text}")
            assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "cursor")

    @pytest.mark.parametrize("query", ["limit=0", "limit=5001", "limit=x", "cursor=", "limit=1&limit=2", "page=2"])
    def test_wrong_parameters_are_named(self, web: WebServer, query: str) -> None:
        where = submitted(web, SUM)
        assert web.get(f"{where}/result?{query}").status_code == 400


class TestKeeping:
    """`POST …/extend`, and what comes after."""

    def test_a_result_is_kept_for_as_long_as_asked(self, stack: Stack, web: WebServer) -> None:
        where = submitted(web, question(stack, 12))
        web.get(where + "/result", Prefer="wait=20")
        before = web.get(where).json["expiresMs"]
        extended = web.post(where + "/extend", {"keep": "5h"})
        assert extended.json["expiresMs"] - before > 3 * 3_600_000
        name = where.rpartition("/")[2]
        assert connect(stack.url).pttl(f"result:local:{name}") > 4 * 3_600_000

    def test_after_that_it_is_gone_for_its_owner_and_unknown_to_others(self, stack: Stack, web: WebServer) -> None:
        where = submitted(web, question(stack, 13))
        web.get(where + "/result", Prefer="wait=20")
        name = where.rpartition("/")[2]
        for kind in ("job", "result", "wake"):
            connect(stack.url).pexpire(f"{kind}:local:{name}", 1)
        stack.until(lambda: web.get(where).status_code == 410)
        assert {web.get(where + rest).status_code for rest in ("/result", "/events", "/explain")} == {410}
        assert web.post(where + "/extend", {"keep": "1h"}).status_code == 410
        assert web.send("DELETE", where).status_code == 410


class TestCommandLine:
    """`appsentry jobs` and a waiting `appsentry query`, as processes of their own."""

    def test_following_survives_a_web_process_that_is_killed_and_started_again(
        self, stack: Stack, command: Start
    ) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        with WebServer(stack) as first:
            where = submitted(first, question(stack, 20))
            following = command("jobs", where.rpartition("/")[2], "--follow", "--json", "--server", first.url)
            assert following.stdout is not None
            seen = json.loads(following.stdout.readline())
            first.process.kill()
            first.process.wait(10)
            with WebServer(stack, port=int(first.url.rpartition(":")[2])):
                stack.break_clusters({})
                rest, said = following.communicate(timeout=40)
        assert seen["state"] in ("queued", "running")
        assert [json.loads(line)["state"] for line in rest.splitlines()][-1] == "complete", said
        assert following.returncode == 0

    def test_ctrl_c_of_a_waiting_query_ends_it_on_the_server(
        self, stack: Stack, web: WebServer, command: Start
    ) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        at = str(stack.now_ms // 1000 - 21)
        asking = command("query", f"sum({METRIC})", "--at", at, "--server", web.url)
        stack.until(lambda: any(job["startTime"][:19] == utc(int(at)) for job in listed(web)))
        asking.send_signal(signal.SIGINT)
        _, said = asking.communicate(timeout=30)
        assert asking.returncode == 130, said
        assert next(job["state"] for job in listed(web) if job["startTime"][:19] == utc(int(at))) == "cancelled"

    def test_a_query_is_cancelled_by_its_id(self, stack: Stack, web: WebServer, command: Start) -> None:
        stack.break_clusters({"dev": {"hold": True}})
        where = submitted(web, question(stack, 22))
        cancelling = command("jobs", where.rpartition("/")[2], "--cancel", "--server", web.url)
        out, said = cancelling.communicate(timeout=30)
        assert (cancelling.returncode, "cancelled" in out) == (0, True), said
        assert state(web, where) == "cancelled"


def test_a_web_role_with_listeners_ends_when_it_is_told_to(stack: Stack) -> None:
    stack.break_clusters({"dev": {"hold": True}})
    with WebServer(stack) as web:
        where = submitted(web, question(stack, 23))
        with EventStream(web.url + where + "/events") as stream:
            next(iter(stream))
            web.process.terminate()
            assert web.process.wait(10) == 0


def test_another_tenants_job_is_404_whatever_is_tried(stack: Stack) -> None:
    client = create_app(replace(stack.settings, auth=Auth(enabled=True, key=KEY))).test_client()
    where = client.post("/api/v1/queries", json=SUM, headers=bearer("a", "*")).headers["Location"]
    for method, rest in (("DELETE", ""), ("GET", "/events"), ("POST", "/extend"), ("GET", "/result?limit=1")):
        body = {"keep": "1h"} if method == "POST" else None
        assert client.open(where + rest, method=method, json=body, headers=bearer("b", "*")).status_code == 404
    assert client.get(where + "/result", headers={**bearer("a", "*"), "Prefer": "wait=20"}).status_code == 200


def listed(web: WebServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = web.get("/api/v1/queries").json["queries"]
    return found


def utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def bearer(tenant: str, width: str) -> dict[str, str]:
    clusters = dict.fromkeys(CLUSTERS, "*") if width == "*" else {"prod": "*"}
    claims = {"tenant": tenant, "clusters": clusters, "exp": int(time.time()) + 60}
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY, 'HS256')}"}
