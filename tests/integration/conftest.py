from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import redis_server, redis_url
from tests.support.stack import CLUSTERS, Stack

__all__ = ["own_stack", "redis_server", "redis_url", "stack"]


@pytest.fixture(scope="module")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Path(tmp_path_factory.mktemp("stack"))) as stack:
        merge = stack.start_merge()
        stack.start_worker()
        # The first query opens six stores; no test's deadline should pay for that.
        assert stack.ask(timeout_ms=30_000).status == "complete"
        assert merge.poll() is None
        yield stack


@pytest.fixture
def stack(running_stack: Stack) -> Iterator[Stack]:
    """A stack that serves all clusters, shared by the tests of a module; faults end with the test."""
    assert running_stack.dispatch.served() == frozenset(CLUSTERS)
    yield running_stack
    running_stack.break_clusters({})


@pytest.fixture
def stack_class() -> type[Stack]:
    """What kind of stack a test starts that starts it itself."""
    return Stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, with nothing started but Redis."""
    with Stack(tmp_path) as stack:
        yield stack
