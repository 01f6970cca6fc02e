"""The result backend of chords: what it refuses, and the versions its names were read in."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import celery
import kombu
import pytest
import redis
from celery import chord, group

from tests.unit.workers.test_outbox import app, callback, task
from workers.app import MERGE_QUEUE
from workers.backend import CHECKED_ON, RELIED_ON, ChordBackend
from workers.outbox import OutboxCelery

__all__ = ["app"]
NAMES = [(where, name) for where, names in RELIED_ON.items() for name in names]


@pytest.mark.parametrize("package", [celery, kombu, redis], ids=lambda package: package.__name__)
def test_the_names_relied_on_were_read_in_the_installed_version(package: Any) -> None:
    name, read_in, rely = package.__name__, CHECKED_ON[package.__name__], []
    for where, names in RELIED_ON.items():
        rely += [f"{where}: {relied} {what}" for relied, what in names.items() if relied.startswith(name)]
    assert package.__version__ == read_in, (
        f"{name} {package.__version__} is installed; what follows was read in {read_in} and is not documented. "
        "Read it again, run tests/integration, then change workers/backend.CHECKED_ON:\n" + "\n".join(rely)
    )


@pytest.mark.parametrize(("where", "name"), NAMES, ids=[f"{where}-{name}" for where, name in NAMES])
def test_a_name_relied_on_is_there(where: str, name: str) -> None:
    module, _, path = name.partition(":")
    found = import_module(module)
    for step in path.split("."):
        found = getattr(found, step)


def test_a_chord_outside_an_outbox_is_refused(app: OutboxCelery) -> None:
    with pytest.raises(RuntimeError, match=r"inside `app\.outbox\(\)`"):
        chord(group([task(app)], app=app), app=app)(callback(app))


def test_a_callback_that_wants_results_is_refused(app: OutboxCelery) -> None:
    with app.outbox(), pytest.raises(NotImplementedError, match="immutable"):
        chord(group([task(app)], app=app), app=app)(callback(app, immutable=False))


def test_a_callback_of_several_tasks_is_refused(app: OutboxCelery) -> None:
    several = group([callback(app), callback(app)], app=app)
    with app.outbox(), pytest.raises(NotImplementedError, match="one task"):
        chord(group([task(app)], app=app), app=app)(several)


def test_a_second_chord_in_one_outbox_is_refused(app: OutboxCelery) -> None:
    with app.outbox():
        chord(group([task(app)], app=app), app=app)(callback(app))
        with pytest.raises(NotImplementedError, match="one chord"):
            chord(group([task(app)], app=app), app=app)(callback(app))


def test_a_header_task_that_returns_sends_nothing(app: OutboxCelery, redis_url: str) -> None:
    request = SimpleNamespace(id="part:prod:acme:q1", group="g", chord=callback(app), ignore_result=True)
    with app.outbox() as outbox:
        app.backend.mark_as_done(request.id, "prod", request=request, store_result=False)
        app.backend.mark_as_failure(request.id, ValueError(), request=request, store_result=False, call_errbacks=False)
    assert outbox.messages == []


def test_it_is_what_the_application_uses_and_holds_nothing(app: OutboxCelery) -> None:
    assert isinstance(app.backend, ChordBackend)
    app.backend.store_result("t", "an answer", "SUCCESS")
    result = app.AsyncResult("t")
    assert (result.state, result.result) == ("PENDING", None)


def test_a_chord_takes_no_more_tasks(app: OutboxCelery) -> None:
    with pytest.raises(NotImplementedError):
        app.backend.add_to_chord("g", app.AsyncResult(MERGE_QUEUE))
