"""The stacks of the failure tests, with 40 ms each way between every cluster worker and Redis.

The fixtures have the names they have elsewhere, so that the same claims can be put to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import redis_server, redis_url, stack
from tests.integration.failures.conftest import Federation, federation, web
from tests.support.stack import Stack
from tests.support.wide_area_stack import WideAreaStack

__all__ = [
    "federation",
    "own_stack",
    "redis_server",
    "redis_url",
    "running_stack",
    "shared",
    "stack",
    "stack_class",
    "web",
]

#: The modules whose claims are put here each time; of other modules' all are that depend on a link made in `test_links`
#: too, with less to start. APPSENTRY_WIDE_AREA=all puts everything.
ALWAYS = ("test_centre", "test_clusters", "test_cancel", "test_links", "test_wan")
#: Of these, what is claimed of every cluster in the same words is claimed of `stage`, and what fails near Redis without
#: a link having a part in it is left out.
OF_STAGE = ("test_each_clusters_worker_may_be_killed",)
NEAR_REDIS = (
    "test_a_job_that_nobody_waits_for_is_ended_by_the_next_merge_worker",
    "test_a_process_that_merges_may_be_killed_alone",
    "test_a_settler_that_dies_with_its_claim",
    "test_another_tenant_cannot_cancel_it",
    "test_cancelling_an_ended_query_changes_nothing",
    "test_of_a_cancel_and_a_settling_at_once",
    "test_while_redis_stands_still_a_job_is_late_by_no_more_than_that[10]",
    "test_without_a_merge_worker",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of this folder what is not put each time, unless everything is asked for."""
    if os.environ.get("APPSENTRY_WIDE_AREA") == "all":
        return
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    left_out = {item for item in ours if isinstance(item, pytest.Function) and not _always(item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _always(item: pytest.Function) -> bool:
    if item.function.__module__.rpartition(".")[2] not in ALWAYS or item.name.startswith(NEAR_REDIS):
        return False
    return "stage" in item.name or not item.name.startswith(OF_STAGE)


@pytest.fixture
def stack_class() -> type[Stack]:
    """What kind of stack a test starts that starts it itself."""
    return WideAreaStack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[WideAreaStack]:
    """A stack of the test's own, with nothing started but Redis and the links."""
    with WideAreaStack(tmp_path) as stack:
        yield stack


@pytest.fixture(scope="module")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WideAreaStack]:
    """A stack with one worker for all clusters, behind one link."""
    with WideAreaStack(Path(tmp_path_factory.mktemp("stack"))) as stack:
        stack.start_merge()
        stack.start_worker()
        assert stack.ask(timeout_ms=30_000).status == "complete"
        yield stack


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A stack with a worker per cluster, each behind its own link."""
    with WideAreaStack(Path(tmp_path_factory.mktemp("wide-area"))) as stack:
        yield Federation(stack)
