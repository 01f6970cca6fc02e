"""Which job an idempotency key stands for, in a real Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from federation_core.connectors.stores.idempotency import ACCEPTING_MS, IdempotencyKeys, Taken
from federation_core.connectors.stores.redis import connect
from federation_core.errors import IdempotencyConflict, StoreUnavailable

WHO = ("acme", "/api/v1/queries", "k-1")


@pytest.fixture
def idempotency(redis_url: str) -> IdempotencyKeys:
    return IdempotencyKeys(redis_url)


def test_the_first_request_has_the_key_and_the_second_learns_its_job(idempotency: IdempotencyKeys) -> None:
    assert idempotency.take(*WHO, b"body", "q1") == Taken("q1", accepted=False)
    assert idempotency.take(*WHO, b"body", "q2") == Taken("q1", accepted=False)
    idempotency.accept(*WHO, "q1", keep_ms=60_000)
    assert idempotency.take(*WHO, b"body", "q3") == Taken("q1", accepted=True)


def test_another_body_under_the_same_key_is_a_conflict_that_names_the_key(idempotency: IdempotencyKeys) -> None:
    idempotency.take(*WHO, b"body", "q1")
    with pytest.raises(IdempotencyConflict) as caught:
        idempotency.take(*WHO, b"other", "q2")
    assert caught.value.key == "k-1"


@pytest.mark.parametrize("other", [("bank", WHO[1], WHO[2]), (WHO[0], "/other", WHO[2]), (WHO[0], WHO[1], "k-2")])
def test_a_key_is_its_tenants_and_its_routes(idempotency: IdempotencyKeys, other: tuple[str, str, str]) -> None:
    idempotency.take(*WHO, b"body", "q1")
    assert idempotency.take(*other, b"other", "q2").query_id == "q2"


def test_a_refused_request_frees_its_key_and_nobody_elses(idempotency: IdempotencyKeys) -> None:
    idempotency.take(*WHO, b"body", "q1")
    idempotency.free(*WHO, "q2")
    assert idempotency.take(*WHO, b"body", "q3").query_id == "q1"
    idempotency.free(*WHO, "q1")
    assert idempotency.take(*WHO, b"other", "q4").query_id == "q4"


def test_a_key_rests_for_a_moment_until_accepted_and_then_as_long_as_its_job(
    idempotency: IdempotencyKeys, redis_url: str
) -> None:
    redis = connect(redis_url)
    idempotency.take(*WHO, b"body", "q1")
    (name,) = redis.keys("idempotency:*")
    assert 0 < redis.pttl(name) <= ACCEPTING_MS
    idempotency.accept(*WHO, "q1", keep_ms=3_600_000)
    assert ACCEPTING_MS < redis.pttl(name) <= 3_600_000


def test_of_twenty_at_once_one_has_the_key(idempotency: IdempotencyKeys) -> None:
    with ThreadPoolExecutor(20) as threads:
        owners = {taken.query_id for taken in threads.map(lambda i: idempotency.take(*WHO, b"b", f"q{i}"), range(20))}
    assert len(owners) == 1


def test_a_redis_that_is_not_there_is_said() -> None:
    with pytest.raises(StoreUnavailable):
        IdempotencyKeys("redis://127.0.0.1:1/0").take(*WHO, b"b", "q1")
