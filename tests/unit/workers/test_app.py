import os
import subprocess
import sys

import pytest

from federation_core.config import Backend, Cluster, Settings
from federation_core.errors import InvalidConfig
from tests.support.stack import PROJECT
from workers.app import REAP, REAP_QUEUE, make_celery

SETTINGS = Settings(
    clusters=tuple(Cluster(name, "e", (Backend("metrics", "embedded", path="p"),)) for name in ("dev", "prod")),
    redis_url="redis://127.0.0.1:1/0",
)


def test_every_queue_has_an_exchange_and_a_routing_key_of_its_own() -> None:
    queues = make_celery(SETTINGS).conf.task_queues
    assert {(q.name, q.exchange.name, q.routing_key) for q in queues} == {
        (name, name, name) for name in ("cluster.dev", "cluster.prod", "merge", "discovery", "reap")
    }


def test_messages_are_json_and_answers_do_not_travel_in_them() -> None:
    conf = make_celery(SETTINGS).conf
    assert (conf.task_serializer, conf.result_serializer, conf.accept_content) == ("json", "json", ["json"])
    assert conf.task_ignore_result
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost


def test_a_queue_that_nobody_sends_to_ends_by_itself_after_the_longest_query() -> None:
    settings = make_celery(SETTINGS)
    assert all(queue.expires * 1000 > SETTINGS.max_timeout_ms for queue in settings.conf.task_queues)


def test_a_message_is_not_redelivered_while_any_query_may_still_run() -> None:
    timeout_s = make_celery(SETTINGS).conf.broker_transport_options["visibility_timeout"]
    clocks_apart_s = 300
    assert (timeout_s - clocks_apart_s) * 1000 > SETTINGS.max_timeout_ms


def test_the_schedule_sends_the_reaper_to_the_merge_workers() -> None:
    entry = make_celery(SETTINGS, "beat").conf.beat_schedule["reap"]
    assert (entry["task"], entry["options"]["queue"]) == (REAP, REAP_QUEUE)


def test_the_web_tier_knows_no_task_and_a_worker_knows_its_own() -> None:
    ours = {"appsentry.query_cluster", "appsentry.aggregate", "appsentry.reap"}
    assert not ours & set(make_celery(SETTINGS).tasks)
    assert ours <= set(make_celery(SETTINGS, "cluster", clusters=("prod",)).tasks)


def test_a_broker_is_required() -> None:
    with pytest.raises(InvalidConfig, match="REDIS_URL"):
        make_celery(Settings(SETTINGS.clusters))


def test_a_worker_may_only_serve_configured_clusters() -> None:
    with pytest.raises(InvalidConfig, match="'stage' is not configured"):
        make_celery(SETTINGS, "cluster", clusters=("stage",))


@pytest.mark.parametrize("module", ["workers.app", "workers.dispatch", "workers.__main__", "workers.query_tasks"])
def test_importing_opens_nothing_and_needs_no_configuration(module: str) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environ, check=True)


def test_a_worker_imports_no_web_framework_and_a_merge_worker_no_database() -> None:
    code = (
        "import sys, workers.__main__, workers.query_tasks; from federation_core.signals import kinds; kinds();"
        "print(sorted({'flask', 'webapp', 'marshmallow', 'duckdb', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_celerys_own_command_finds_the_application(tmp_path: object) -> None:
    with open(f"{tmp_path}/clusters.yaml", "w") as file:
        file.write(
            "clusters:\n  - name: prod\n    environment: prod\n"
            "    backends:\n      metrics: {kind: embedded, path: data}\n"
        )
    environ = {
        **os.environ,
        "APPSENTRY_CONFIG": str(tmp_path),
        "APPSENTRY_CLUSTERS": "prod",
        "REDIS_URL": SETTINGS.redis_url,
        "AUTH_ENABLED": "false",
    }
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "report"],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cluster.prod" in done.stdout


def test_a_broker_that_was_away_is_looked_for_again_soon() -> None:
    waits: list[float] = []

    def on_error(_: Exception, interval_s: float) -> None:
        waits.append(interval_s)
        if len(waits) == 2:
            raise KeyboardInterrupt

    connection = make_celery(SETTINGS).connection_for_read()
    with pytest.raises(KeyboardInterrupt):
        connection.ensure_connection(on_error)
    assert max(waits) <= 0.5
