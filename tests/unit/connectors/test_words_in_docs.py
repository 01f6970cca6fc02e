"""What an operator reads when a backend cannot be used is explained in docs/operations.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors import connect
from federation_core.errors import ClusterError
from federation_core.query import Deadline
from tests.support.every_backend import all_questions
from tests.support.prometheus_replies import Reply, answering, hang
from tests.support.prometheus_server import _free_port
from webapp.schemas.health import _NOT_PROBED

NOW_MS = 1_795_496_400_000
DEADLINE = Deadline(NOW_MS + 1_000, lambda: NOW_MS)
PAGE = Reply(b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"})
REPLIES = {
    "wrong password": Reply(b"Unauthorized\n", 401),
    "no right": Reply(b"no", 403),
    "wrong path": Reply(b"404 page not found\n", 404),
    "login page": PAGE,
    "redirect": Reply(b"", 302, {"Location": "/login"}),
    "ill": Reply(b"oh", 503),
    "too many": Reply(b"too many requests", 429),
    "mtls": Reply(b"<html>400 No required SSL certificate was sent</html>", 400),
    "plain to TLS": Reply(b"Client sent an HTTP request to an HTTPS server.\n", 400),
}
#: Every kind that has a URL, with one of its signals.
SIGNALS = dict(reversed(all_questions()))


def explained() -> Iterator[re.Pattern[str]]:
    """Yield the words of the table's first column, where … stands for any."""
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    section = text.partition("## What is wrong with a cluster?")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        for words in re.findall(r"`([^`]+)`", row):
            yield re.compile(re.escape(words).replace("…", ".*"))


EXPLAINED = tuple(explained())


def is_explained(words: str) -> bool:
    return any(pattern.fullmatch(words) for pattern in EXPLAINED)


def words_of(kind: str, url: str, access: Access | None = None) -> str:
    """Probe a backend that cannot be used; return what its cluster's health would say."""
    backend = Backend(SIGNALS[kind], kind, url=url, origin="clusters.yaml:1", access=access or Access())
    with pytest.raises(ClusterError) as caught:
        connect(Cluster("prod", "e", (backend,)), backend).ping(DEADLINE)
    return caught.value.message


def test_the_table_is_there() -> None:
    assert len(EXPLAINED) > 20
    assert not is_explained("something else")
    assert is_explained(_NOT_PROBED)


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("fault", REPLIES)
def test_what_a_backend_answers_that_cannot_be_used_is_explained(kind: str, fault: str) -> None:
    with answering(lambda request: REPLIES[fault]) as server:
        words = words_of(kind, server.url)
    assert is_explained(words), words


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_backend_that_is_not_there_is_explained(kind: str) -> None:
    words = words_of(kind, f"http://127.0.0.1:{_free_port()}")
    assert is_explained(words), words


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_name_that_is_nobodys_is_explained(kind: str) -> None:
    words = words_of(kind, "http://nobody.invalid:9090")
    assert is_explained(words) or "cannot be looked up now" in words, words


def test_a_backend_that_hangs_is_explained() -> None:
    deadline = Deadline(NOW_MS + 100, lambda: NOW_MS)
    with answering(lambda request: Reply(act=hang)) as server:
        backend = Backend("metrics", "prometheus", url=server.url, origin="clusters.yaml:1")
        with pytest.raises(ClusterError) as caught:
            connect(Cluster("prod", "e", (backend,)), backend).ping(deadline)
    assert is_explained(caught.value.message), caught.value.message


def test_a_secret_that_is_not_there_is_explained(tmp_path: Path) -> None:
    access = Access(username="u", password_file=str(tmp_path / "none"))
    words = words_of("prometheus", f"http://127.0.0.1:{_free_port()}", access)
    assert is_explained(words), words
    assert str(tmp_path) not in words
