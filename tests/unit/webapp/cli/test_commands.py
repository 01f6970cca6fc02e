"""The group of commands, and the commands that ask nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from federation_core.connectors.stores.segments import SegmentStore
from webapp.cli import COMMANDS, appsentry
from webapp.cli.stack import commands

ONE_CLUSTER = (
    "clusters:\n  - name: prod\n    environment: prod\n    backends:\n      metrics: {kind: embedded, path: d}\n"
)
_LOADED = "import sys, webapp.cli; print(sorted({'rich', 'requests', 'flask', 'celery', 'redis'} & set(sys.modules)))"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the caller's settings."""
    for name in ("APPSENTRY_CONFIG", "CLUSTER_CONFIG", "REDIS_URL", "AUTH_ENABLED", "JWT_KEY", "JWT_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


def config(folder: Path, text: str = ONE_CLUSTER) -> str:
    (folder / "clusters.yaml").write_text(text)
    return str(folder)


def test_starting_the_command_line_loads_no_library_but_click() -> None:
    done = subprocess.run([*commands.python("json.tool", "--help")[:2], "-c", _LOADED], capture_output=True, text=True,
                          env=commands.environment({}), check=True)  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_version_is_said() -> None:
    result = CliRunner().invoke(appsentry, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("appsentry")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_overview_exists_and_has_help(name: str) -> None:
    result = CliRunner().invoke(appsentry, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output
    assert f"  {name} " in CliRunner().invoke(appsentry, ["--help"]).output


def test_check_lists_what_it_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(appsentry, ["check", "--config", config(tmp_path)])
    assert result.exit_code == 0
    assert "1 clusters" in result.output
    assert "prod (prod) metrics: embedded" in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONE_CLUSTER.replace("embedded", "prometeus"), "clusters.yaml:5: there is no backend kind 'prometeus'; known:"),
        (ONE_CLUSTER.replace("environment", "enviroment"), "clusters.yaml:3"),
        ("", "clusters.yaml"),
    ],
)
def test_check_says_file_and_line_and_exits_2(tmp_path: Path, text: str, says: str) -> None:
    result = CliRunner().invoke(appsentry, ["check", "--config", config(tmp_path, text)])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Usage" not in result.stderr


_NO_STORE = """clusters:
  - name: prod
    environment: prod
    backends:
      metrics: {kind: prometheus, path: d}
      logs: {kind: prometheus, url: "http://p:9090"}
      traces:
        kind: embedded
        url: https://t
"""
_CERTIFICATES = """clusters:
  - name: prod
    environment: prod
    backends:
      metrics:
        kind: prometheus
        url: URL
        access: {caFile: ca.pem}
"""


def test_check_refuses_what_a_worker_could_not_open_all_at_once(tmp_path: Path) -> None:
    result = CliRunner().invoke(appsentry, ["check", "--config", config(tmp_path, _NO_STORE)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert sorted(result.stderr.removeprefix("Error: ").splitlines()) == [
        "clusters.yaml:5: a prometheus backend needs `url`, the address before /api/v1",
        "clusters.yaml:6: a prometheus backend holds no logs",
        "clusters.yaml:8: an embedded backend needs `path`, the folder of its store",
    ]


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "spoilt"])
def test_check_reads_certificates_and_names_the_file(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    folder = config(tmp_path, _CERTIFICATES.replace("URL", "https://p:9090"))
    result = CliRunner().invoke(appsentry, ["check", "--config", folder])
    assert result.exit_code == 2
    assert f"clusters.yaml:6: the certificates of `access` cannot be used: {tmp_path / 'ca.pem'}: " in result.stderr


def test_certificates_that_would_not_be_used_are_refused(tmp_path: Path) -> None:
    folder = config(tmp_path, _CERTIFICATES.replace("URL", "http://p:9090"))
    result = CliRunner().invoke(appsentry, ["check", "--config", folder])
    assert result.exit_code == 2
    assert "clusters.yaml:6: certificates are for an https:// URL, and this is http://p:9090" in result.stderr


def test_check_reads_the_files_of_the_clusters_that_are_named_alone(tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "prod.yaml").write_text(ONE_CLUSTER)
    (tmp_path / "clusters" / "dev.yaml").write_text(ONE_CLUSTER.replace("prod", "dev").replace("embedded", "nothing"))
    checked = ["check", "--config", str(tmp_path)]
    assert CliRunner().invoke(appsentry, checked).exit_code == 2
    result = CliRunner().invoke(appsentry, [*checked, "--clusters", "prod"])
    assert (result.exit_code, "prod (prod) metrics: embedded" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["web"], {}, "REDIS_URL is not set"),
        (["worker", "--clusters", "prod"], {}, "REDIS_URL is not set"),
        (["worker", "--clusters", "stage"], {"REDIS_URL": "redis://h"}, "'stage' is not configured; configured: prod"),
        (["beat"], {}, "REDIS_URL is not set"),
        (["web"], {"REDIS_URL": "redis://h"}, "AUTH_ENABLED is true and no key is given"),
        (["serve"], {}, "AUTH_ENABLED is true and no key is given"),
        (["serve", "--host", "0.0.0.0"], {"AUTH_ENABLED": "false"}, "0.0.0.0 is not loopback"),
    ],
)
def test_a_role_that_cannot_work_exits_2_before_it_starts(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], says: str
) -> None:
    # In a process of its own, with a time limit: a role that does start would never return.
    command = commands.python("webapp.cli", *arguments, "--config", config(tmp_path))
    environ = commands.environment(os.environ, **environ)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr


def test_a_worker_near_its_cluster_reads_no_other_clusters_file(tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "prod.yaml").write_text(ONE_CLUSTER)
    (tmp_path / "clusters" / "stage.yaml").write_text("this is: [not a configuration")
    result = CliRunner().invoke(appsentry, ["worker", "--clusters", "prod", "--config", str(tmp_path)])
    assert "REDIS_URL is not set" in result.stderr


def span_line(span_id: str) -> str:
    span = {
        "traceId": "0" * 31 + "1",
        "spanId": span_id,
        "name": "GET /",
        "kind": 2,
        "startTimeUnixNano": "1795500000000000000",
        "endTimeUnixNano": "1795500000100000000",
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})


def test_an_import_keeps_the_good_lines_and_exits_3_naming_the_bad_ones(tmp_path: Path) -> None:
    file, store = tmp_path / "spans.json", tmp_path / "store"
    file.write_text(f"{span_line('0' * 15 + '1')}\nnot json\n{span_line('0' * 15 + '2')}\n")
    result = CliRunner().invoke(appsentry, ["import", "otlp", str(file), "--store", str(store), "--cluster", "prod"])
    assert result.exit_code == 3, result.output
    assert f"{file}:2: lines: not JSON" in result.stderr
    assert result.stdout.startswith("3 lines: 2 spans")


def test_an_import_without_rejections_exits_0_and_adds_nothing_the_second_time(tmp_path: Path) -> None:
    file, store = tmp_path / "spans.json", tmp_path / "store"
    file.write_text(span_line("0" * 15 + "1") + "\n")
    first, second = (
        CliRunner().invoke(appsentry, ["import", "otlp", str(file), "--store", str(store)]) for _ in range(2)
    )
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "already in the store" in second.stderr
    assert "0 spans" in second.stdout


def test_an_import_of_a_missing_file_exits_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(appsentry, ["import", "otlp", "gone.json", "--store", str(tmp_path / "s")])
    assert result.exit_code == 2
    assert "gone.json" in result.stderr


def test_a_store_that_is_being_written_is_refused_in_words(tmp_path: Path) -> None:
    file, store = tmp_path / "spans.json", tmp_path / "store"
    file.write_text(span_line("0" * 15 + "1") + "\n")
    with SegmentStore(store, cluster="prod"):
        result = CliRunner().invoke(appsentry, ["import", "otlp", str(file), "--store", str(store)])
    assert result.exit_code == 1
    assert str(store) in result.stderr


def test_commands_run_this_interpreter_and_are_safe_from_the_callers_folder() -> None:
    for argv in (commands.web("fd://3"), commands.cluster_worker(["a", "b"]), commands.merge_worker(), commands.beat()):
        assert argv[:3] == [sys.executable, "-P", "-m"]
    assert commands.cluster_worker(["a", "b"])[-1] == "a,b"
    assert "--with-beat" in commands.merge_worker(with_beat=True)
