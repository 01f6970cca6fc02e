"""A Redis without room, 80 ms of round trip from the cluster workers; the claims are those of `test_full_redis`."""

from __future__ import annotations

import pytest

from tests.integration.test_full_redis import (
    room,
    stack,
    test_a_job_under_way_ends_when_there_is_room_and_names_who_could_not_answer,
    test_a_query_is_refused_at_once_and_the_next_one_works_when_there_is_room,
)

__all__ = [
    "room",
    "stack",
    "test_a_job_under_way_ends_when_there_is_room_and_names_who_could_not_answer",
    "test_a_query_is_refused_at_once_and_the_next_one_works_when_there_is_room",
]

pytestmark = pytest.mark.heavy
