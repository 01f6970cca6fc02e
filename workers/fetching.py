"""How a cluster worker gets its tasks: a thread per cluster's queue that always has moves asked for in advance.

Rule: a worker has no more messages than it has threads for, so one that is busy takes nothing from another; and
fetching rests on nothing of Celery's connection. A message that was taken stays this process's until it is dealt with,
also while Redis is away: `done` is remembered, and what the leases in Redis say otherwise is put right by `look`.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import closing
from threading import Condition, Thread
from typing import Any

from federation_core.connectors.stores.leases import LeasedQueue
from federation_core.connectors.stores.moves import Moves
from federation_core.errors import StoreUnavailable

#: How long until a lost connection is opened again.
_AGAIN_S = 0.5
#: How many messages that are dealt with are remembered; far more than can come again before a look.
_REMEMBER = 10_000
_log = logging.getLogger(__name__)

Message = dict[str, Any]


class Fetcher:
    """The messages of one queue in this process; safe to use from several threads.

    `room` is how many may be here at once. A message that cannot be parsed is thrown away with a line in the log.
    """

    def __init__(self, leased: LeasedQueue, room: int) -> None:
        self._leased = leased
        self._room = room
        self._arrived: deque[tuple[str, Message]] = deque()
        #: Tag → the message as it is leased, of those that have been taken and are not dealt with.
        self._held: dict[str, bytes] = {}
        #: Tag → how often a connection had been lost by then, of those that are dealt with.
        self._done: OrderedDict[str, int] = OrderedDict()
        self._losses = 0
        #: Leased to us at the last look and not here: on its way, or lost with a connection.
        self._missing: set[str] = set()
        self._moves: Moves | None = None
        self._server = ""
        #: Counts the starts and stops: a thread of an earlier one ends as soon as it looks up.
        self._generation = 0
        self._running = False
        self._on_arrival: Callable[[], None] = _nothing
        self._changed = Condition()

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self._leased.name

    @property
    def cluster(self) -> str:
        """The cluster whose queue it is."""
        return self._leased.cluster

    @property
    def fetching(self) -> bool:
        """Whether messages are being fetched now."""
        return self._moves is not None

    def start(self, on_arrival: Callable[[], None]) -> None:
        """Begin to fetch; `on_arrival` is called by the fetching thread whenever there is something to `take`."""
        self.stop()
        with self._changed:
            self._on_arrival = on_arrival
            self._running = True
            generation = self._generation
        Thread(target=self._fetch, args=(generation,), name=f"fetching {self.queue}", daemon=True).start()

    def stop(self) -> None:
        """End fetching. What has been taken is still ours to deal with; what has not been is fetched again later."""
        with self._changed:
            self._generation += 1
            self._running = False
            self._on_arrival = _nothing
            self._wake()
            self._lose()
            for tag, _ in self._arrived:
                self._held.pop(tag, None)
            self._arrived.clear()
            self._changed.notify_all()

    def take(self) -> Message | None:
        """Return a message that has arrived, or None."""
        with self._changed:
            return self._arrived.popleft()[1] if self._arrived else None

    def holds(self, tag: str) -> bool:
        """Tell whether a message is here and not dealt with."""
        return tag in self._held

    def done(self, tag: str) -> None:
        """Note that a message is dealt with; Redis hears of it with the part, or at the next look."""
        with self._changed:
            if self._held.pop(tag, None) is None:
                return
            self._remember(tag)
            # The next message wakes the thread too, and while half of the room is asked for there is no hurry.
            if self._moves is not None and self._moves.asked <= (self._room - 1) // 2:
                self._wake()

    def put_back(self, tag: str) -> None:
        """Give a message back to the queue, as one that was delivered before.

        Raises StoreUnavailable.
        """
        with self._changed:
            # It may be here again before the call returns; if the call fails it comes again with a look.
            message = self._held.pop(tag, None)
            self._wake()
        if message is not None:
            self._leased.put_back([message], lost=True)

    def look(self) -> None:
        """Compare the leases in Redis with what is here: end what is dealt with, take what never arrived.

        Raises StoreUnavailable.
        """
        found = self._leased.leased()
        dealt_with: list[bytes] = []
        with self._changed:
            missing = set()
            for message in reversed(found):
                tag = tag_of(_parsed(message))
                if tag is None or tag in self._done:
                    dealt_with.append(message)
                elif tag not in self._held:
                    missing.add(tag)
                    if tag in self._missing and self._running:
                        self._arrive(message)
            self._missing = missing
        if dealt_with:
            self._leased.drop(dealt_with)

    def give_back(self) -> None:
        """Put everything that is not dealt with back into the queue, unmarked, for a process that ends in order.

        Raises StoreUnavailable.
        """
        self.stop()
        self.look()
        self._leased.put_back(self._leased.leased())

    def _fetch(self, generation: int) -> None:
        said = ""
        while generation == self._generation:
            try:
                with closing(self._leased.open()) as moves:
                    self._begin(generation, moves)
                    said = ""
                    while generation == self._generation:
                        if (missing := self._room - len(self._held) - moves.asked) > 0:
                            moves.ask(missing)
                        if moves.wait():
                            self._receive(generation, moves.next())
            except StoreUnavailable as exc:
                if generation == self._generation and said != exc.message:
                    said = exc.message
                    _log.warning("no task can be fetched", extra={"queue": self.queue, "why": said})
            except Exception:
                _log.exception("no task can be fetched")
            with self._changed:
                if generation == self._generation:
                    self._lose()
                self._changed.wait_for(lambda: generation != self._generation, _AGAIN_S)

    def _begin(self, generation: int, moves: Moves) -> None:
        # What an earlier connection was given and we have not heard of is leased to us, and comes by no other way.
        found = self._leased.leased()
        with self._changed:
            if generation != self._generation:
                return
            if moves.server != self._server:
                # A server that was started again may have forgotten the parts of what was done before it ended.
                self._server = moves.server
                for tag in [tag for tag, losses in self._done.items() if losses < self._losses]:
                    del self._done[tag]
            self._moves = moves
            for message in reversed(found):
                self._arrive(message)

    def _receive(self, generation: int, message: bytes | None) -> None:
        with self._changed:
            # A message for a generation that is over stays leased, and comes with the next one.
            if message is not None and generation == self._generation:
                self._arrive(message)

    def _lose(self) -> None:
        if self._moves is not None:
            self._moves = None
            self._losses += 1

    def _wake(self) -> None:
        if self._moves is not None:
            self._moves.wake()

    def _arrive(self, message: bytes) -> None:
        envelope = _parsed(message)
        tag = tag_of(envelope)
        if envelope is None or tag is None:
            # The next look ends its lease.
            _log.error("a message that cannot be parsed was thrown away", extra={"queue": self.queue})
        elif tag not in self._held and tag not in self._done and self._running:
            self._held[tag] = message
            self._arrived.append((tag, envelope))
            self._on_arrival()

    def _remember(self, tag: str) -> None:
        self._done[tag] = self._losses
        while len(self._done) > _REMEMBER:
            self._done.popitem(last=False)


def tag_of(envelope: Message | None) -> str | None:
    """Return the delivery tag that kombu gave a message, or None where there is none."""
    try:
        tag = envelope["properties"]["delivery_tag"] if envelope is not None else None
    except (KeyError, TypeError):
        return None
    return tag if isinstance(tag, str) and tag else None


def _parsed(message: bytes) -> Message | None:
    try:
        envelope = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return envelope if isinstance(envelope, dict) else None


def _nothing() -> None:
    """Nobody is to be told."""
