"""Fixtures that start a real redis-server for the tests of what talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core.connectors.stores.redis import EmbeddedRedis, connect


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one server for the whole run."""
    server = EmbeddedRedis(Path(tmp_path_factory.mktemp("redis")), append_only=False)
    yield server.start()
    server.stop()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty server."""
    client = connect(redis_server)
    client.flushall()
    client.close()
    return redis_server
