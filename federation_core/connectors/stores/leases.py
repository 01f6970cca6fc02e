"""What workers have taken from the clusters' queues and not dealt with: a list in Redis for each queue and owner.

Rule: a message is in its queue or in exactly one owner's lease until it is dealt with, and each step between is one
command of Redis. An owner holds its leases by saying so every second. When one has been silent for a while, by Redis'
clock and with somebody listening all that time, `LostLeases` puts its messages back: a Redis that was away has heard
nobody, and that is nobody's silence.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import cached_property
from threading import Lock
from typing import Any

import redis

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.moves import LATE_S, MOVE_WAIT_S, Moves, open_moves
from federation_core.connectors.stores.redis import WORKER_ANSWER_TIMEOUT_S, answering, connect
from federation_core.connectors.stores.redis_store import RedisStore, Script

#: How long an owner may be silent before its leases are taken from it; it speaks every second.
LOST_AFTER_MS = 5_000
#: How long nobody may listen before what was heard is too old to tell who is silent.
_GAP_MS = 3_000
_log = logging.getLogger(__name__)

#: Note that an owner is there, by Redis' clock, and keep its leases.
#: KEYS: for each queue its owners and the lease  ARGV: owner, ttl_ms
_HOLD = """
local time = redis.call('TIME')
local now = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
for k = 1, #KEYS, 2 do
  redis.call('ZADD', KEYS[k], now, ARGV[1])
  redis.call('PEXPIRE', KEYS[k], ARGV[2])
  redis.call('PEXPIRE', KEYS[k + 1], ARGV[2])
end
return 1
"""

#: Note that somebody listens; return since when, without a gap, and the time, both in ms by Redis' clock.
#: KEYS: listening  ARGV: gap_ms, ttl_ms
_LISTEN = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local since, last = unpack(redis.call('HMGET', KEYS[1], 'since', 'last'))
if not last or now - tonumber(last) > tonumber(ARGV[1]) then since = string.format('%d', now) end
redis.call('HSET', KEYS[1], 'since', since, 'last', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {tonumber(since), now}
"""

#: Put a message back into its queue, unless it is no longer leased.
#: KEYS: lease, queue  ARGV: the message as leased, the message as put back, ttl_ms
#: Returns 1 it was put back, 0 there was nothing to put back.
_PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""

#: Forget a silent owner that has no lease.
#: KEYS: owners, lease  ARGV: owner, the latest score of a silent one
_FORGET = """
local heard = redis.call('ZSCORE', KEYS[1], ARGV[1])
if heard and tonumber(heard) <= tonumber(ARGV[2]) and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
"""


class Leases(RedisStore):
    """The leases of one owner, in all queues it reads. Opens nothing until it is used; thread-safe."""

    _hold = Script(_HOLD)
    _put_back = Script(_PUT_BACK)

    def __init__(self, url: str, owner: str) -> None:
        super().__init__(url, answer_s=WORKER_ANSWER_TIMEOUT_S)
        self.owner = owner

    def queue(self, cluster: str) -> LeasedQueue:
        """Return a cluster's queue as this owner reads it."""
        return LeasedQueue(self._url, cluster, self)

    def hold(self, clusters: Iterable[str]) -> None:
        """Say that the owner is there and holds what it has taken from the queues of some clusters.

        Raises StoreUnavailable.
        """
        names = []
        for queue in map(keys.cluster_queue, clusters):
            names += [keys.lease_owners(queue), keys.lease(queue, self.owner)]
        if names:
            with answering():
                self._hold(keys=names, args=[self.owner, keys.QUEUE_TTL_MS])


class LeasedQueue:
    """One cluster's queue as one owner reads it. Opens nothing until it is used; safe to use from several threads."""

    def __init__(self, url: str, cluster: str, leases: Leases) -> None:
        self.cluster = cluster
        self.name = keys.cluster_queue(cluster)
        self._leases = leases
        self._lease = keys.lease(self.name, leases.owner)
        self._url = url
        self._latest: Moves | None = None
        self._opening = Lock()

    @cached_property
    def _moving(self) -> Any:
        return connect(self._url, blocking_s=MOVE_WAIT_S, answer_s=LATE_S).connection_pool

    def open(self) -> Moves:
        """Open a connection to move messages on; an earlier one gets none any more.

        Raises StoreUnavailable.
        """
        # Before the first move: what is leased by somebody nobody has heard of would never be put back.
        self._leases.hold([self.cluster])
        with self._opening:
            self._latest = open_moves(self._moving, self.name, self._lease, self._latest)
            return self._latest

    def leased(self) -> list[bytes]:
        """Return the messages that are leased to this owner, the newest first.

        Raises StoreUnavailable.
        """
        with answering():
            found: list[bytes] = self._leases._redis.lrange(self._lease, 0, -1)
        return found

    def drop(self, messages: Iterable[bytes]) -> None:
        """End the lease of messages that have been dealt with.

        Raises StoreUnavailable.
        """
        with answering(), self._leases._redis.pipeline(transaction=False) as pipe:
            for message in messages:
                pipe.lrem(self._lease, 0, message)
            pipe.execute()

    def put_back(self, messages: Iterable[bytes], *, lost: bool = False) -> None:
        """Put leased messages back into the queue, the last of them to be read first; mark those that were `lost`.

        Raises StoreUnavailable.
        """
        with answering(), self._leases._redis.pipeline(transaction=False) as pipe:
            for message in messages:
                again = _marked(message) if lost else message
                args = [message, again, keys.QUEUE_TTL_MS]
                self._leases._put_back(keys=[self._lease, self.name], args=args, client=pipe)
            pipe.execute()


class LostLeases(RedisStore):
    """The leases of owners that are gone. Opens nothing until it is used."""

    _listen = Script(_LISTEN)
    _put_back = Script(_PUT_BACK)
    _forget = Script(_FORGET)

    def put_back(self, clusters: Iterable[str]) -> int:
        """Put back what is leased to owners that are silent; return how many messages that were.

        To be called every second: silence counts only while somebody listens. The messages are marked as delivered
        before, since their worker may have been lost by their own doing.

        Raises StoreUnavailable.
        """
        with answering():
            since_ms, now_ms = self._listen(keys=[keys.LISTENING], args=[_GAP_MS, keys.QUEUE_TTL_MS])
            silent_ms = now_ms - LOST_AFTER_MS
            if since_ms > silent_ms:
                return 0
            owners = self._silent(clusters, silent_ms)
            leased = self._all([("lrange", keys.lease(queue, owner), 0, -1) for queue, owner in owners])
            found = 0
            with self._redis.pipeline(transaction=False) as pipe:
                for (queue, owner), messages in zip(owners, leased, strict=True):
                    lease = keys.lease(queue, owner)
                    for message in messages:
                        found += 1
                        args = [message, _marked(message), keys.QUEUE_TTL_MS]
                        self._put_back(keys=[lease, queue], args=args, client=pipe)
                    self._forget(keys=[keys.lease_owners(queue), lease], args=[owner, silent_ms], client=pipe)
                pipe.execute(raise_on_error=False)
            return found

    def _silent(self, clusters: Iterable[str], silent_ms: int) -> list[tuple[str, str]]:
        """Return queue and owner of the leases whose owner was last heard of by then."""
        queues = [keys.cluster_queue(cluster) for cluster in clusters]
        found = self._all([("zrangebyscore", keys.lease_owners(queue), 0, silent_ms) for queue in queues])
        return [
            (queue, owner.decode(errors="replace")) for queue, some in zip(queues, found, strict=True) for owner in some
        ]

    def _all(self, commands: list[tuple[Any, ...]]) -> list[list[bytes]]:
        """Run commands that each name a cluster's own key; what is wrong with one of these costs the others nothing."""
        with self._redis.pipeline(transaction=False) as pipe:
            for name, *args in commands:
                getattr(pipe, name)(*args)
            answers = pipe.execute(raise_on_error=False)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, redis.RedisError):
                _log.warning("a key cannot be read", extra={"key": command[1], "error": repr(answer)[:200]})
        return [[] if isinstance(answer, redis.RedisError) else answer for answer in answers]


def _marked(message: bytes) -> bytes:
    """Mark a message as kombu marks one that is delivered again; what is no message stays as it is."""
    try:
        envelope = json.loads(message)
        envelope["headers"]["redelivered"] = True
        envelope["properties"]["delivery_info"]["redelivered"] = True
    except (ValueError, RecursionError, KeyError, TypeError):
        return message
    return json.dumps(envelope).encode()
