"""The key that signs cursors: one for all, kept while it is used."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import connect
from federation_core.connectors.stores.signing_key import KEEP_MS, SigningKey
from federation_core.errors import StoreUnavailable


def test_processes_that_start_at_once_have_one_key(redis_url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: SigningKey(redis_url).current(), range(8)))
    assert len(found) == 1
    assert len(found.pop()) == 32


def test_a_key_that_redis_has_lost_is_found_out_when_read_afresh(redis_url: str) -> None:
    ours, theirs = SigningKey(redis_url), SigningKey(redis_url)
    before = ours.current()
    connect(redis_url).delete(keys.SIGNING_KEY)
    after = theirs.current()
    assert ours.current() == before != after
    assert ours.current(afresh=True) == ours.current() == after


def test_reading_keeps_the_key_alive(redis_url: str) -> None:
    redis, key = connect(redis_url), SigningKey(redis_url)
    key.current()
    redis.pexpire(keys.SIGNING_KEY, 1_000)
    key.current(afresh=True)
    assert 1_000 < redis.pttl(keys.SIGNING_KEY) <= KEEP_MS


def test_a_redis_that_is_not_there_is_said() -> None:
    with pytest.raises(StoreUnavailable):
        SigningKey("redis://127.0.0.1:1/0").current()
