import sys

import pytest

from workers import roles
from workers.__main__ import main


def test_a_cluster_worker_is_told_its_clusters_once_and_in_order() -> None:
    assert roles.cluster_worker_argv(["prod", "dev", "prod"], 4, "conf") == [
        sys.executable,
        "-m",
        "workers",
        "cluster",
        "--clusters",
        "dev,prod",
        "--concurrency",
        "4",
        "--config",
        "conf",
    ]


def test_a_merge_worker_runs_the_schedule_only_when_told() -> None:
    assert "--with-beat" not in roles.merge_worker_argv()
    assert roles.merge_worker_argv(2, with_beat=True)[3:] == ["merge", "--concurrency", "2", "--with-beat"]


def test_beat_needs_nothing() -> None:
    assert roles.beat_argv()[3:] == ["beat"]


def test_the_environment_may_overrule_ours() -> None:
    assert roles.environment({"A": "b"}) == {"A": "b", "MALLOC_ARENA_MAX": "2"}
    assert roles.environment({"MALLOC_ARENA_MAX": "8"})["MALLOC_ARENA_MAX"] == "8"


@pytest.mark.parametrize(("clusters", "threads"), [(1, 4), (6, 24), (100, 32)])
def test_threads_grow_with_the_clusters_up_to_a_limit(clusters: int, threads: int) -> None:
    assert roles.cluster_concurrency(clusters) == threads


@pytest.mark.parametrize("role", ["cluster", "merge", "beat"])
def test_a_role_without_configuration_says_so_and_exits_2(
    role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("APPSENTRY_CONFIG", "CLUSTER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert main([role]) == 2
    assert "no configuration" in capsys.readouterr().err


def test_a_worker_for_an_unknown_cluster_says_which_there_are(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = f"{tmp_path}/clusters.yaml"
    with open(config, "w") as file:
        file.write(
            "clusters:\n  - name: prod\n    environment: prod\n"
            "    backends:\n      metrics: {kind: embedded, path: data}\n"
        )
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert main(["cluster", "--clusters", "prdo", "--config", config]) == 2
    assert "'prdo' is not configured; configured: prod" in capsys.readouterr().err
