import pytest

from workers.__main__ import main


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


def test_a_concurrency_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["merge", "--concurrency", "-1"])
    assert caught.value.code == 2
    assert "--concurrency" in capsys.readouterr().err
