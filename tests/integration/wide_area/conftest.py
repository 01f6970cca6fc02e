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
from tests.support.wide_area_stack import WideAreaStack

__all__ = ["federation", "own_stack", "redis_server", "redis_url", "running_stack", "shared", "stack", "web"]

#: Claims that are put to every cluster in the same words, or that no link has a part in, because what fails is near
#: Redis: left out unless APPSENTRY_WIDE_AREA=all. Of the first kind, `stage` stands for its like.
EACH_CLUSTER = ("test_each_clusters_worker_may_be_killed",)
NEAR_REDIS = (
    "test_a_process_that_merges_may_be_killed_alone",
    "test_a_settler_that_dies_with_its_claim",
    "test_beat_as_a_process_of_its_own_reaps_too",
    "test_cancelling_an_ended_query_changes_nothing",
    "test_kill_of_a_merge_worker_takes_its_children_with_it",
    "test_parts_that_kill_whoever_combines_them",
    "test_racing_settlers_agree_on_one_result",
    "test_sigterm_ends_a_role_and_its_children[beat]",
    "test_sigterm_ends_a_role_and_its_children[merge",
    "test_while_redis_stands_still_a_job_is_late_by_no_more_than_that[10]",
    "test_without_a_merge_worker",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of this folder what says nothing new on a wide area, unless everything is asked for."""
    if os.environ.get("APPSENTRY_WIDE_AREA") == "all":
        return
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    left_out = {item for item in ours if _says_nothing_new(item.name)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _says_nothing_new(name: str) -> bool:
    return name.startswith(NEAR_REDIS) or (name.startswith(EACH_CLUSTER) and "stage" not in name)


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
