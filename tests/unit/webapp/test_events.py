"""Server-sent events: snapshots, resuming, ending, and one poller for all listeners."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from federation_core.connectors.stores.jobs import Job, JobState, Progress
from federation_core.errors import QuotaExceeded, StoreUnavailable
from tests.support.plans import NOW_MS, plan_of
from webapp import ask, events
from webapp.events import Snapshot, Watch, Watches, stream

RUNNING = Job("q1", "acme", JobState.RUNNING, plan_of(), NOW_MS, None, (Progress("prod", "running", 5),))
DONE = replace(RUNNING, state=JobState.COMPLETE, finished_ms=NOW_MS + 9, progress=(Progress("prod", "ok", 9, rows=2),))
FAR_S = 3_600.0


class Reading:
    """What the poller reads; counts how often."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs, self.reads, self.broken = jobs, 0, False

    def __call__(self, tenant_id: str, ids: tuple[str, ...]) -> tuple[Job, ...]:
        self.reads += 1
        if self.broken:
            raise StoreUnavailable("down")
        return tuple(job for job in self.jobs if job.tenant_id == tenant_id and job.query_id in ids)


def parsed(frame: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in frame.decode().strip().split("\n"))


def listened(watches: Watches, job: Job, seen_id: str = "") -> Iterator[bytes]:
    return stream(watches.listen(job), seen_id, FAR_S, lambda: None)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL_S", 0.005)


def test_a_stream_begins_with_where_the_job_is_and_ends_with_its_end() -> None:
    reading = Reading(RUNNING)
    said = listened(Watches(reading), RUNNING)
    assert next(said) == b"retry: 1000\n\n"
    first = parsed(next(said))
    assert (first["event"], json.loads(first["data"])["state"]) == ("progress", "running")
    reading.jobs = (DONE,)
    last = parsed(next(said))
    assert (last["event"], json.loads(last["data"])["progress"][0]["rows"]) == ("end", 2)
    assert list(said) == []


def test_the_event_that_was_seen_is_not_sent_again() -> None:
    reading = Reading(DONE)
    said = listened(Watches(reading), RUNNING, Snapshot.of(RUNNING).id)
    assert [parsed(frame)["event"] for frame in list(said)[1:]] == ["end"]


def test_one_who_missed_events_gets_the_newest_which_says_everything() -> None:
    said = listened(Watches(Reading(DONE)), DONE, Snapshot.of(RUNNING).id)
    assert [parsed(frame)["id"] for frame in list(said)[1:]] == [Snapshot.of(DONE).id]


def test_ids_are_the_same_in_every_process() -> None:
    assert Snapshot.of(DONE).id == Snapshot.of(replace(DONE)).id != Snapshot.of(RUNNING).id


def test_many_listeners_of_a_job_are_one_reading() -> None:
    reading = Reading(DONE)
    watches = Watches(reading)
    said = [listened(watches, RUNNING) for _ in range(50)]
    with ThreadPoolExecutor(50) as threads:
        ends = [parsed(list(frames)[-1])["event"] for frames in threads.map(list, said)]
    assert ends == ["end"] * 50
    assert reading.reads == 1


def test_nobody_listening_is_nobody_polling() -> None:
    watches = Watches(Reading(RUNNING))
    watches.listen(RUNNING)
    watches.leave(RUNNING)
    until = time.monotonic() + 5
    while watches.polling:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert watches.listeners == 0


def test_listeners_are_bounded_and_a_place_is_free_again_when_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_LISTENERS", 2)
    watches = Watches(Reading(RUNNING))
    watches.listen(RUNNING)
    watches.listen(RUNNING)
    with pytest.raises(QuotaExceeded):
        watches.listen(RUNNING)
    watches.leave(RUNNING)
    assert watches.listen(RUNNING).listeners == 2
    watches.leave(RUNNING)
    watches.leave(RUNNING)


def test_a_store_that_is_silent_for_a_while_ends_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.02)
    reading = Reading(RUNNING)
    reading.broken = True
    said = listened(Watches(reading), RUNNING)
    assert [next(said), parsed(next(said))["event"]] == [b"retry: 1000\n\n", "progress"]
    assert next(said) == b": keep-alive\n\n"
    reading.jobs, reading.broken = (DONE,), False
    assert [parsed(frame)["event"] for frame in said if not frame.startswith(b":")] == ["end"]


def test_a_job_that_is_gone_ends_its_stream() -> None:
    assert len(list(listened(Watches(Reading()), RUNNING))) == 2


def test_elapsed_time_alone_is_not_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_TICK_S", FAR_S)
    watch = Watch(Snapshot.of(RUNNING))
    watch.show(Snapshot.of(replace(RUNNING, progress=(Progress("prod", "running", 205),))))
    assert watch.snapshot == Snapshot.of(RUNNING)
    watch.show(Snapshot.of(DONE))
    assert watch.snapshot == Snapshot.of(DONE)


def test_a_job_that_nobody_ends_at_its_deadline_is_ended_by_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_OVERDUE_S", 0.0)
    reading = Reading(RUNNING)

    def end_it() -> None:
        reading.jobs = (DONE,)

    said = stream(Watches(reading).listen(RUNNING), "", 0.01, end_it)
    assert [parsed(frame)["event"] for frame in list(said)[1:]] == ["progress", "end"]


class TestRoute:
    """`GET …/events`."""

    def test_a_job_that_has_ended_is_one_event(self, client: FlaskClient) -> None:
        query_id = client.post(
            "/api/v1/queries", json={"signal": "metrics", "query": "up"}, headers={"Prefer": "wait=1"}
        ).json["queryId"]
        answer = client.get(f"/api/v1/queries/{query_id}/events")
        assert (answer.mimetype, answer.headers["Cache-Control"]) == ("text/event-stream", "no-store")
        _, frame, rest = answer.data.split(b"\n\n")
        assert (parsed(frame)["event"], rest) == ("end", b"")
        again = client.get(f"/api/v1/queries/{query_id}/events", headers={"Last-Event-ID": parsed(frame)["id"]})
        assert (again.status_code, again.data) == (204, b"")

    @pytest.mark.parametrize("seen", ["", "nonsense", "x" * 5000, "é"])
    def test_an_id_that_is_not_known_gets_everything(self, client: FlaskClient, seen: str) -> None:
        query_id = client.post(
            "/api/v1/queries", json={"signal": "metrics", "query": "up"}, headers={"Prefer": "wait=1"}
        ).json["queryId"]
        answer = client.get(f"/api/v1/queries/{query_id}/events", headers={"Last-Event-ID": seen})
        assert b"event: end" in answer.data

    def test_head_listens_to_nothing(self, app: Flask, client: FlaskClient) -> None:
        where = client.post("/api/v1/queries", json={"signal": "metrics", "query": "up"}).headers["Location"]
        assert client.head(where + "/events").status_code == 200
        with app.app_context():
            assert ask.pipeline().watches.listeners == 0
