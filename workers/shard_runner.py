"""One shard on a worker: checked, run with the cluster's connector, its part written.

Rule: a worker serves its own clusters only, whatever a message says, and what goes wrong becomes the part's error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from time import monotonic

from federation_core import federate
from federation_core.cancellation import Cancellation
from federation_core.config import SERVED_BY, Settings
from federation_core.connectors.pace import share
from federation_core.connectors.stores.jobs import Jobs
from federation_core.connectors.stores.jobs_beats import Told
from federation_core.connectors.stores.sealed import seal
from federation_core.errors import (
    ClusterError,
    FederationError,
    InternalError,
    StoreUnavailable,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.outcome import ClusterVerdict, Partial, Verdict
from federation_core.plan import Shard
from federation_core.query import Deadline
from federation_core.signals import kind_named
from federation_core.structured_logging import bound
from federation_core.topology.routing import breaker_open
from federation_core.wire import encode_partial
from workers.cancelling import Cancelling
from workers.connections import Connections
from workers.deliveries import LOST_TOO_OFTEN
from workers.one_per_shard import OnePerShard
from workers.standing import NEWS_WITHIN_S
from workers.started import Started
from workers.turns import Turns

#: How long after its deadline a shard that does not end keeps its second delivery waiting.
_AFTER_DEADLINE_S = 1.0
#: How long until a part that Redis has not taken is offered again; twice as long each time, up to the second.
_PUT_AGAIN_S = 0.5
_PUT_AGAIN_AT_MOST_S = 5.0
#: A shard that begins up to this long after its deadline is still answered, with that.
_NEAR_MS = 5_000
_log = logging.getLogger(__name__)


class ShardRunner:
    """Runs shards of the clusters in `serving`; safe to use from several threads.

    `owner` names the leases in which the messages of this process rest until their parts are written; `connections`
    are the connectors it shares with others of the process.
    """

    def __init__(
        self,
        settings: Settings,
        serving: frozenset[str],
        jobs: Jobs,
        clock: Callable[[], int],
        *,
        owner: str = "",
        connections: Connections | None = None,
    ) -> None:
        #: What this process knows of cancelled queries.
        self.cancelling = Cancelling(jobs.cancelled, serving)
        self._settings = settings
        self._serving = serving
        self._jobs = jobs
        self._clock = clock
        self._owner = owner
        self._started = Started(jobs, clock)
        self._turns = Turns({name: settings.cluster(name).rate_limit.max_concurrent for name in serving})
        self._connections = connections or Connections(settings)
        self._connections.standing.listen(self._told)
        self._alone = OnePerShard()

    def run(self, text: str, *, redelivered: bool = False) -> str:
        """Run the shard in a message and write its part; return the cluster's name, or "" for no shard of ours.

        A shard that is running in this process already is waited for and not run twice. One whose `redelivered`
        message has lost its worker twice is answered with that. Never raises: an error would make Celery's chord drop
        the other clusters' answers.
        """
        try:
            shard = Shard.from_wire(json.loads(text))
        except Exception as exc:
            _log.error("a message holds no shard", extra={"error": repr(exc)})
            return ""
        with bound(query_id=shard.query_id, cluster=shard.cluster_name):
            if shard.cluster_name not in self._serving:
                # Writing a part for a cluster that is not ours would let a stray message forge its verdict.
                _log.error("a shard of a cluster that this worker does not serve was refused")
                return ""
            # A chord's callback may come when the second delivery returns, so that must not be before the first.
            longest_s = Deadline(shard.deadline_ms).remaining_s(self._clock()) + _AFTER_DEADLINE_S
            with self._alone.running((shard.scope.tenant_id, shard.query_id, shard.cluster_name), longest_s) as first:
                if first:
                    self._begin(shard, redelivered)
            return shard.cluster_name

    def _begin(self, shard: Shard, redelivered: bool) -> None:
        try:
            if redelivered and self._lost_too_often(shard):
                error = Unreachable("its worker was lost twice while answering", cluster=shard.cluster_name)
                self._run(shard, lambda _: _failed(shard, error))
            elif self._clock() < shard.deadline_ms + _NEAR_MS:
                self._run(shard, lambda cancellation: self._answer_in_turn(shard, cancellation))
            else:
                # The query has ended; a part would only rest until it expires.
                _log.info("a shard was dropped: it began long after its deadline")
        except Exception:
            _log.exception("the part could not be written")

    def _lost_too_often(self, shard: Shard) -> bool:
        try:
            begun = self._jobs.parts.begun_again(shard.scope.tenant_id, shard.query_id, shard.cluster_name)
        except StoreUnavailable:
            return False
        return begun >= LOST_TOO_OFTEN

    def _run(self, shard: Shard, answer: Callable[[Cancellation], Partial]) -> None:
        with self.cancelling.running(shard.scope.tenant_id, shard.query_id) as cancellation:
            if cancellation.cancelled:
                _log.debug("a shard of a cancelled query is dropped")
                return
            partial = answer(cancellation)
            if cancellation.cancelled or not self._write(shard, partial, cancellation):
                # The job has its result; a part would only rest until it expires.
                _log.info("a shard was stopped: its query is cancelled", extra={"elapsed_ms": partial.elapsed_ms})

    def _answer_in_turn(self, shard: Shard, cancellation: Cancellation) -> Partial:
        cluster = shard.cluster_name
        longest_s, begun_s = Deadline(shard.deadline_ms).remaining_s(self._clock()), monotonic()

        def refusal(wait_s: float = NEWS_WITHIN_S) -> FederationError | None:
            breaker = self._connections.standing.refuses(cluster, shard.signal, begun_s, min(longest_s, wait_s))
            if breaker is None:
                return None
            entry = SERVED_BY.get(shard.signal, shard.signal)
            return breaker_open(cluster, entry, breaker, self._clock()).error

        if (error := refusal()) is not None:
            return _failed(shard, error)
        # The turn is over before the part is written: it is the backend that is protected, not the way to Redis.
        with self._turns.taken(cluster, longest_s, cancellation, lambda: refusal(0) is not None) as mine:
            if (error := refusal()) is not None:
                return _failed(shard, error)
            if not mine:
                said = "as many of its shards as it may be asked at once were being answered until the deadline"
                return _failed(shard, TimedOut(said, cluster=cluster))
            with self._started.running(shard.scope.tenant_id, shard.query_id, cluster):
                return self._answer(shard, cancellation)

    def _write(self, shard: Shard, partial: Partial, cancellation: Cancellation) -> bool:
        """Write a shard's part; return False where it was cancelled before that could be done."""
        try:
            data = self._encode(shard, partial)
        except TooLarge as exc:
            said = f"its answer has {exc.asked} bytes, above {exc.allowed}"
            partial = _failed(shard, TooLarge(said, **{**exc.details, "cluster": shard.cluster_name}))
            data = self._encode(shard, partial)
        except Exception as exc:
            _log.exception("the payload could not be encoded")
            partial = _failed(shard, InternalError(f"{type(exc).__name__} while encoding"))
            data = self._encode(shard, partial)
        row = partial.verdict()
        row = replace(row, stats=replace(row.stats, bytes=len(data)))
        if not self._put(shard, data, row, cancellation):
            return False
        if isinstance(partial.error, InternalError):
            _log.error("a shard failed", exc_info=partial.error)
        # The ledger holds every row; the log needs those that somebody will ask about.
        level = logging.DEBUG if row.verdict is Verdict.OK else logging.INFO
        facts = {"verdict": row.verdict.value, "reason": row.reason, "elapsed_ms": row.elapsed_ms, "bytes": len(data)}
        _log.log(level, "shard", extra=facts)
        return True

    def _put(self, shard: Shard, data: bytes, row: ClusterVerdict, cancellation: Cancellation) -> bool:
        """Write a part, again and again while Redis does not answer and the query may still be waiting for it.

        Returns False where the query was cancelled meanwhile. Raises StoreUnavailable: it could not be written by then.
        """
        pause_s = _PUT_AGAIN_S
        while not cancellation.cancelled:
            try:
                self._jobs.parts.put(
                    shard.scope.tenant_id, shard.query_id, shard.cluster_name, data, row, owner=self._owner
                )
                return True
            except StoreUnavailable:
                # The last offer is made while there is still time for it to be taken.
                left_s = Deadline(shard.deadline_ms).remaining_s(self._clock()) - _PUT_AGAIN_S
                if left_s <= 0:
                    raise
            _pause(min(pause_s, left_s), cancellation)
            # All the parts that could not be written are offered to a Redis that comes back: not all at once.
            pause_s = min(2 * pause_s, _PUT_AGAIN_AT_MOST_S)
        return False

    def _answer(self, shard: Shard, cancellation: Cancellation) -> Partial:
        try:
            connector = self._connections.connector(shard.cluster_name, shard.signal)
        except ClusterError as exc:
            return _failed(shard, exc)
        except FederationError as exc:
            # The worker's configuration is wrong, which is this cluster's trouble and not the query's. Who asks reads
            # no more than that: the message names files of this machine.
            _log.error("a connector could not be opened: %s", exc.message, extra={"cluster": shard.cluster_name})
            said = "the configuration of its worker is wrong; the worker's log has more"
            return _failed(shard, Unreachable(said, cluster=shard.cluster_name))
        except Exception as exc:
            _log.exception("a connector could not be opened")
            return _failed(shard, Unreachable(f"its connector fails: {type(exc).__name__}", cluster=shard.cluster_name))
        partial = federate.run_shard(shard, connector, self._clock, cancellation)
        self._connections.standing.query_ended(shard.cluster_name, shard.signal, partial.error)
        return partial

    def _told(self, cluster: str, told: Told) -> None:
        """Take this process's share of a cluster's turns, and have those who wait for one look at its breakers."""
        if cluster in self._serving:
            most = self._settings.cluster(cluster).rate_limit.max_concurrent
            self._turns.resize(cluster, share(most, told.processes, told.rank))

    def _encode(self, shard: Shard, partial: Partial) -> bytes:
        return seal(encode_partial(partial, kind_named(shard.signal).encode), self._settings.max_result_bytes)


def _pause(longest_s: float, cancellation: Cancellation) -> None:
    """Wait for so long, or until the work is cancelled."""
    woken = Event()
    with cancellation.aborting(woken.set):
        # Looked at once more: an abort reaches only what is noted before it.
        if not cancellation.cancelled:
            woken.wait(longest_s)


def _failed(shard: Shard, error: FederationError) -> Partial:
    return Partial(shard.query_id, shard.cluster_name, error=error)
