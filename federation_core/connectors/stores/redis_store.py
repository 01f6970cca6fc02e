"""What the stores in Redis have in common: a client that is made when it is first used, and scripts that belong to it.

Rule: making a store opens nothing, so one may be made anywhere, also before a fork.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from federation_core.connectors.stores.redis import ANSWER_TIMEOUT_S, connect


class Script:
    """A script of a store, `_take = Script(TEXT)`: called with `keys`, `args` and perhaps a pipeline as `client`.

    It is registered with the store's client when it is first used.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    # redis-py types an answer as everything it could be under any protocol and decoding, hence Any.
    def __get__(self, store: Any, _: type | None = None) -> Any:
        # Found in the instance itself from now on.
        registered = store.__dict__[self._name] = store._redis.register_script(self._text)
        return registered


class RedisStore:
    """Something that rests in the Redis at `url`; a command of it may take `answer_s`. Thread-safe."""

    def __init__(self, url: str, *, answer_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = url
        self._answer_s = answer_s

    @cached_property
    def _redis(self) -> Any:
        return connect(self._url, answer_s=self._answer_s)
