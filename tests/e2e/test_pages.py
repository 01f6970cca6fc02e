"""The pages as a real browser shows them, drawn by their scripts from a running server."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import require_program
from tests.support.stack import CLUSTERS, METRIC, Stack
from tests.support.web_server import WebServer

pytestmark = pytest.mark.heavy

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    require_program("chromium")
    with Stack(tmp_path_factory.mktemp("pages")) as stack:
        stack.start_worker(set(CLUSTERS) - {"stage"})
        with WebServer(stack) as web:
            yield web


def shown(url: str, profile: Path) -> str:
    """Return the text of a page after its scripts have run."""
    done = subprocess.run(
        [require_program("chromium"), *_FLAGS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", done.stdout))


def test_the_first_page_names_every_cluster_and_the_one_without_a_worker(web: WebServer, tmp_path: Path) -> None:
    text = shown(f"{web.url}/", tmp_path)
    assert [name for name in CLUSTERS if f" {name} " not in text] == []
    assert text.count(" alive ") == len(CLUSTERS) - 1
    assert text.count(" down ") == 1


def test_the_first_page_shows_the_newest_queries_and_how_they_ended(web: WebServer, tmp_path: Path) -> None:
    question = {"signal": "metrics", "query": f"count({METRIC})", "clusters": ["stage"]}
    web.post("/api/v1/queries", question, Prefer="wait=20")
    text = shown(f"{web.url}/", tmp_path)
    assert f"count({METRIC}) failed 100 %" in text


def test_the_api_page_shows_every_operation_of_the_document(web: WebServer, tmp_path: Path) -> None:
    with urlopen(f"{web.url}/api/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    text = shown(f"{web.url}/api/docs", tmp_path)
    operations = [
        f"{method.upper()} {path} {entry[method]['summary']}"
        for path, entry in paths.items()
        for method in entry.keys() & {"get", "post", "delete"}
    ]
    assert len(operations) > 10
    assert [operation for operation in operations if operation not in text] == []
