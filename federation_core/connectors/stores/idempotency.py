"""Idempotency keys in Redis: which job a tenant's key stands for, from before the job is written.

Rule: a key names one request of one tenant and route. It is taken together with the id that its job will have, so a
web process that dies while it accepts leaves either that job or, after `ACCEPTING_MS`, a free key.
Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.errors import IdempotencyConflict

#: How long a request may take to be accepted before its key is free again.
ACCEPTING_MS = 15_000

#: Take the key, or read who has it.
#: KEYS: key  ARGV: digest, query id, accepting_ms
#: Returns {digest, query id, "1" if the request has been accepted}; ours if the query id is ours.
_TAKE = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'query_id', ARGV[2], 'accepted', '0')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'digest', 'query_id', 'accepted')
"""

#: KEYS: key  ARGV: query id, keep_ms (0 frees the key)
_END = """
if redis.call('HGET', KEYS[1], 'query_id') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'accepted', '1')
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whose a key is: the id of the job it stands for, and whether that job's request has been accepted."""

    query_id: str
    accepted: bool


class IdempotencyKeys(RedisStore):
    """The idempotency keys of all tenants. Opens nothing until it is used; thread-safe."""

    _take = Script(_TAKE)
    _end = Script(_END)

    def take(self, tenant_id: str, route: str, key: str, body: bytes, query_id: str) -> Taken:
        """Take a key for a request whose job will be `query_id`; the caller has it if that id comes back.

        Raises IdempotencyConflict: the key was used with another body. StoreUnavailable.
        """
        digest = hashlib.sha256(body).hexdigest()
        with answering():
            found = self._take(keys=[_name(tenant_id, route, key)], args=[digest, query_id, ACCEPTING_MS])
        theirs, owner, accepted = (value.decode() for value in found)
        if theirs != digest:
            raise IdempotencyConflict("this Idempotency-Key was sent before with another body", key=key)
        return Taken(owner, accepted == "1")

    def accept(self, tenant_id: str, route: str, key: str, query_id: str, keep_ms: int) -> None:
        """Note that the request has been accepted; the key stands for its job for `keep_ms`.

        Raises StoreUnavailable.
        """
        with answering():
            self._end(keys=[_name(tenant_id, route, key)], args=[query_id, keep_ms])

    def free(self, tenant_id: str, route: str, key: str, query_id: str) -> None:
        """Give a key back: its request was refused, and may be sent again as another.

        Raises StoreUnavailable.
        """
        with answering():
            self._end(keys=[_name(tenant_id, route, key)], args=[query_id, 0])


def _name(tenant_id: str, route: str, key: str) -> str:
    # A key may be 255 bytes of anything; its digest is as good a name and always as short.
    return keys.idempotency(tenant_id, hashlib.sha256(f"{route}\n{key}".encode()).hexdigest())
