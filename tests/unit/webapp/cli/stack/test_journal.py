"""The log of all roles: JSON lines, bounded, errors told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webapp.cli.stack.journal import Journal


def write(
    path: Path, *chunks: bytes, max_bytes: int = 10**6
) -> tuple[list[dict[str, Any]], list[tuple[str, str]], Journal]:
    """Send chunks through a role's pipe; return the lines of the file, what was told, and the journal."""
    told: list[tuple[str, str]] = []
    journal = Journal(path, lambda role, text: told.append((role, text)), max_bytes)
    reading, writing = os.pipe()
    journal.follow("web", reading)
    for chunk in chunks:
        os.write(writing, chunk)
    os.close(writing)
    journal.close()
    return [json.loads(line) for line in path.read_text().splitlines()], told, journal


def test_a_line_of_json_is_kept_and_says_its_role(tmp_path: Path) -> None:
    lines, _, _ = write(tmp_path / "log", b'{"level": "INFO", "message": "up", "query_id": "q-1", "role": "worker"}\n')
    assert lines == [{"role": "worker", "level": "INFO", "message": "up", "query_id": "q-1"}]


def test_a_line_that_is_not_json_becomes_some(tmp_path: Path) -> None:
    lines, _, _ = write(tmp_path / "log", b"Traceback\n", b'{"cut": \n', b"\xff\xfe\n")
    assert [line["message"] for line in lines] == ["Traceback", '{"cut":', "��"]
    assert {line["role"] for line in lines} == {"web"}


def test_a_line_is_put_together_from_its_chunks_and_the_last_needs_no_newline(tmp_path: Path) -> None:
    lines, _, _ = write(tmp_path / "log", b"one", b" line\nlast")
    assert [line["message"] for line in lines] == ["one line", "last"]


def test_errors_are_told_once_and_not_in_a_flood(tmp_path: Path) -> None:
    error = b'{"level": "ERROR", "message": "down"}\n'
    _, told, _ = write(tmp_path / "log", error * 5, b'{"level": "WARNING", "message": "hm"}\n')
    assert told == [("web", "down")]


def test_an_error_is_told_with_its_cluster_and_why_once_for_each(tmp_path: Path) -> None:
    line = b'{"level": "ERROR", "message": "a backend cannot be used", "cluster": "%s", "why": "c.yaml:7: no CA"}\n'
    _, told, _ = write(tmp_path / "log", line % b"prod", line % b"prod", line % b"dev")
    words = "a backend cannot be used: c.yaml:7: no CA"
    assert told == [("web", f"cluster prod: {words}"), ("web", f"cluster dev: {words}")]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, *[b"x" * 90 + b"\n" for _ in range(100)], max_bytes=2000)
    assert path.stat().st_size <= 2200
    assert path.with_name("log.1").stat().st_size <= 2200
    assert len(list(tmp_path.iterdir())) == 2


def test_last_words_are_the_last_lines(tmp_path: Path) -> None:
    _, _, journal = write(tmp_path / "log", *[b"%d\n" % number for number in range(40)])
    assert journal.last_words("web")[-2:] == ["38", "39"]
    assert len(journal.last_words("web")) < 20
    assert journal.last_words("nobody") == []


def test_a_role_that_writes_on_is_read_while_the_stack_runs(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", lambda role, text: None)
    reading, writing = os.pipe()
    journal.follow("web", reading)
    os.write(writing, b"hello\n")
    wait_for(lambda: journal.last_words("web") == ["hello"])
    os.close(writing)
    journal.close()


def wait_for(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < until_s, "did not happen within 5 s"
        time.sleep(0.01)


def test_a_note_of_the_stack_is_a_line_and_is_not_told_again(tmp_path: Path) -> None:
    told: list[str] = []
    journal = Journal(tmp_path / "log", lambda role, text: told.append(text))
    journal.note("web ended\n    its last words")
    journal.close()
    [line] = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert (line["role"], line["level"], line["message"]) == ("stack", "WARNING", "web ended\n    its last words")
    assert told == []


def test_a_full_disk_costs_lines_and_no_role_waits_for_them(tmp_path: Path) -> None:
    full = tmp_path / "log"
    full.symlink_to("/dev/full")
    told: list[str] = []
    journal = Journal(full, lambda role, text: told.append(text))
    reading, writing = os.pipe()
    journal.follow("web", reading)
    # More than a pipe holds: it can all be written only if somebody reads.
    os.write(writing, b"x" * 200_000 + b'\n{"level": "ERROR", "message": "still heard"}\n')
    os.close(writing)
    journal.close()
    assert told == ["still heard"]
