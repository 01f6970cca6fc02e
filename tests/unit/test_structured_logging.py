"""Log lines are JSON objects that carry the query they belong to."""

from __future__ import annotations

import io
import json
import logging

import pytest

from federation_core.structured_logging import bound, configure


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("web", "INFO", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_carries_the_bound_facts_and_its_own(lines: io.StringIO) -> None:
    with bound(query_id="q-1"):
        logging.getLogger("appsentry").info("settled %s", "early", extra={"elapsed_ms": 7})
    logging.getLogger("appsentry").info("after")
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (first["query_id"], first["message"], first["elapsed_ms"], first["role"]) == (
        "q-1",
        "settled early",
        7,
        "web",
    )
    assert "query_id" not in second


def test_an_exception_stays_on_one_line(lines: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("appsentry").exception("failed")
    (line,) = lines.getvalue().splitlines()
    assert "two\nlines" in json.loads(line)["exception"]
