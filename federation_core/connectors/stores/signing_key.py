"""The key that signs page cursors: random, in Redis, the same for every web process.

Rule: it lives where the results live. Whoever can read the one can read the other, and a Redis that loses the key has
lost the results that a cursor could point into.
"""

from __future__ import annotations

import secrets
import time
from threading import Lock

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import answering
from federation_core.connectors.stores.redis_store import RedisStore, Script

#: How long the key rests unused before Redis drops it: longer than any result is kept.
KEEP_MS = 7 * 86_400_000
#: How long a process believes what it has read; reading it again also keeps it alive.
_BELIEVED_S = 600.0

#: KEYS: key  ARGV: a new key, keep_ms
_READ = """
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1])
"""


class SigningKey(RedisStore):
    """The one key of all web processes. Opens nothing until it is used; thread-safe."""

    _read = Script(_READ)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._known = b""
        self._read_s = 0.0
        self._lock = Lock()

    def current(self, *, afresh: bool = False) -> bytes:
        """Return the key; `afresh` asks Redis, for a cursor that the key we know does not open.

        Raises StoreUnavailable.
        """
        with self._lock:
            if afresh or not self._known or time.monotonic() - self._read_s > _BELIEVED_S:
                with answering():
                    self._known = self._read(keys=[keys.SIGNING_KEY], args=[secrets.token_bytes(32), KEEP_MS])
                self._read_s = time.monotonic()
            return self._known
