"""The backends of a worker, probed beside the queries: whether they answer, what they are, what evaluates in them.

Rule: nobody waits for a probe, and no probe for another: each runs on a thread of its own that ends with it, so that a
backend that hangs costs its own row alone. One standing thread says when: every 10 s, soon after something went wrong,
and where the breaker is open only when this worker is told to. The connectors are those that queries use. What people
have to look for on this worker's machine is told in its log: a backend that fails from here, a wrong configuration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic

from federation_core.config import SERVED_BY, Backend, Settings
from federation_core.connectors import Connector
from federation_core.connectors.pace import at_once
from federation_core.connectors.stores.breakers import FAILURES
from federation_core.errors import FederationError, InvalidConfig, Rejected, TimedOut
from federation_core.health import About, BackendHealth
from federation_core.query import Deadline
from federation_core.signals import kinds
from workers.connections import Connections

#: How long after the start the first probe is: opening connectors takes a processor that serving a queue needs first.
FIRST_PROBE_S = 1.0
#: How far apart the first probes of the backends are, and with them all later ones.
_APART_S = 0.05
PROBE_EVERY_S = 10.0
#: After a probe that has failed, until the breaker is open; after queries have met something wrong.
PROBE_AGAIN_S, PROBE_SOON_S = 1.0, 1.0
#: So often in a row; where it is still not open then, others of the cluster are well.
PROBE_AGAIN_TIMES = 10
#: How often a backend is asked what it is.
ABOUT_EVERY_S = 60.0
#: How long a backend may take to answer, and how much later a probe that has not ended is taken for a failed one.
_ANSWER_MS, _LATE_S = 2_000, 1.0
#: A thread that waits for no certain moment looks again after this time.
_LOOK_EVERY_S = 5.0
_LATE = "the backend gave no answer in time"
_CONFIGURATION = "the configuration of its worker is wrong; the worker's log has more"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Target:
    """One backend, and when it is probed. Times on the monotonic clock; `given_up_s` is None while no probe runs."""

    cluster: str
    backend: Backend
    due_s: float = 0.0
    begun_s: float = float("-inf")
    given_up_s: float | None = None
    #: How many probes in a row have failed.
    failed: int = 0
    about: About = field(default_factory=About)
    about_due_s: float = float("-inf")
    #: What is wrong in a way that is for the log, said once.
    said: str = ""


class Prober:
    """Probes the backends of some clusters between `start` and `stop`, and knows what evaluates in them."""

    def __init__(
        self, settings: Settings, clusters: tuple[str, ...], connections: Connections, clock: Callable[[], int]
    ) -> None:
        self._targets = [_Target(name, backend) for name in clusters for backend in settings.cluster(name).backends]
        self._connections = connections
        self._standing = connections.standing
        self._clock = clock
        self._engines: dict[str, str] = {}
        self._stopping = Event()
        self._entries: dict[str, frozenset[str]] = {
            name: frozenset(target.backend.signal for target in self._targets if target.cluster == name)
            for name in clusters
        }
        self._running = False

    def engines(self) -> Mapping[str, str]:
        """Return cluster → what evaluates there, in a word; without those of which it is not known yet."""
        return self._engines

    def able(self) -> Mapping[str, frozenset[str]]:
        """Return cluster → the entries of the backends that it can be told to probe."""
        return self._entries if self._running else {}

    def start(self) -> None:
        """Begin to probe, unless it was stopped before."""
        if not self._stopping.is_set():
            self._running = True
            Thread(target=self._run, name="prober", daemon=True).start()

    def stop(self) -> None:
        """Probe no more."""
        self._running = False
        self._stopping.set()
        self._standing.awakened.set()

    def _run(self) -> None:
        self._stopping.wait(FIRST_PROBE_S)
        begun_s = monotonic()
        for place, target in enumerate(self._targets):
            target.due_s = begun_s + place * _APART_S
        while not self._stopping.is_set():
            self._standing.awakened.clear()
            try:
                wait_s = self._look(monotonic())
            except Exception:
                _log.exception("the backends could not be probed")
                wait_s = PROBE_EVERY_S
            self._standing.awakened.wait(wait_s)

    def _look(self, now_s: float) -> float:
        """Begin the probes that are due; return how long nothing else is, unless somebody wants it sooner."""
        told, suspects = self._standing.wanted()
        next_s = now_s + _LOOK_EVERY_S
        for target in self._targets:
            key = (target.cluster, target.backend.signal)
            if target.given_up_s is not None:
                if target.given_up_s <= now_s:
                    target.given_up_s = now_s + _ANSWER_MS / 1000
                    self._tell(target, error=_LATE)
                    self._note_failed(target, _LATE)
                next_s = min(next_s, target.given_up_s)
                continue
            if key in told:
                due_s = now_s
            elif self._standing.shut(*key) is not None:
                continue
            else:
                due_s = min(target.due_s, target.begun_s + PROBE_SOON_S) if key in suspects else target.due_s
            if due_s <= now_s:
                self._begin(target, now_s)
                due_s = target.given_up_s or target.due_s
            next_s = min(next_s, due_s)
        return next_s - now_s

    def _begin(self, target: _Target, now_s: float) -> None:
        target.begun_s, target.due_s = now_s, now_s + PROBE_EVERY_S
        target.given_up_s = now_s + _ANSWER_MS / 1000 + _LATE_S
        try:
            Thread(target=self._probe, args=(target,), name="probe", daemon=True).start()
        except RuntimeError as exc:
            # The machine has no thread left.
            target.given_up_s = None
            _log.warning("a backend is not probed", extra={"cluster": target.cluster, "why": str(exc)})

    def _probe(self, target: _Target) -> None:
        connector = None
        try:
            connector = self._ping(target)
        except Exception as exc:
            self._say(target, exc)
            self._tell(target, error=f"its connector fails: {type(exc).__name__}")
        # Noted now, since what follows may hang and decides nothing.
        target.given_up_s = None
        self._standing.awakened.set()
        if connector is not None and not self._stopping.is_set():
            try:
                self._ask_about(target, connector)
                self._ask_engine(target)
            except FederationError:
                # What was known last is more than nothing.
                return
            except Exception as exc:
                self._say(target, exc)

    def _ping(self, target: _Target) -> Connector | None:
        """Tell how the backend is; return its connector if it answers."""
        begun_s = monotonic()
        try:
            connector = self._connections.connector(target.cluster, target.backend.signal)
            # Not in line with the queries, all of whose turns a backend that hangs may hold.
            with at_once():
                connector.ping(self._deadline())
        except InvalidConfig as exc:
            if exc.message != target.said:
                target.said = exc.message
                _log.error("a backend cannot be used", extra={"cluster": target.cluster, "why": exc.message})
            self._tell(target, error=_CONFIGURATION)
            target.failed += 1
        except FederationError as exc:
            latency_ms = _since_ms(begun_s)
            if isinstance(exc, Rejected) and exc.retry_after_s is not None:
                # One that has more to do than it takes is there, and has answered.
                self._tell(target, up=True, error=exc.message, latency_ms=latency_ms)
                target.failed = 0
                return None
            late = isinstance(exc, TimedOut)
            # A folder may be there any moment.
            counts = late or (target.cluster, target.backend.signal) not in self._standing.beside
            error = _LATE if late else exc.message
            self._tell(target, error=error, latency_ms=latency_ms, counts=counts)
            if counts:
                self._note_failed(target, error)
        else:
            self._tell(target, latency_ms=_since_ms(begun_s))
            if target.failed >= FAILURES:
                self._log(logging.INFO, target, "a backend answers again")
            target.said, target.failed = "", 0
            return connector
        if target.failed <= PROBE_AGAIN_TIMES:
            target.due_s = min(target.due_s, monotonic() + PROBE_AGAIN_S)
        return None

    def _ask_about(self, target: _Target, connector: Connector) -> None:
        if monotonic() < target.about_due_s:
            return
        begun_s = monotonic()
        target.about_due_s = begun_s + ABOUT_EVERY_S
        target.about = connector.about(self._deadline())
        self._standing.describe(target.cluster, target.backend.signal, target.about)

    def _ask_engine(self, target: _Target) -> None:
        for kind in kinds().values():
            if SERVED_BY.get(kind.name, kind.name) == target.backend.signal:
                connector = self._connections.connector(target.cluster, kind.name)
                if word := kind.engine_of(connector, self._deadline()):
                    self._engines = {**self._engines, target.cluster: word}

    def _tell(
        self,
        target: _Target,
        *,
        error: str = "",
        up: bool | None = None,
        latency_ms: int | None = None,
        counts: bool = True,
    ) -> None:
        signal, kind, up = target.backend.signal, target.backend.kind, not error if up is None else up
        health = BackendHealth(signal, kind, up, latency_ms=latency_ms, error=error, about=target.about)
        self._standing.probed(health, target.cluster, counts=counts)

    def _say(self, target: _Target, exc: Exception) -> None:
        if repr(exc) != target.said:
            target.said = repr(exc)
            extra = {"cluster": target.cluster, "backend": target.backend.signal}
            _log.error("a backend could not be probed", exc_info=exc, extra=extra)

    def _note_failed(self, target: _Target, why: str) -> None:
        target.failed += 1
        if target.failed == FAILURES:
            self._log(logging.WARNING, target, "a backend fails again and again", why)

    def _log(self, level: int, target: _Target, said: str, why: str = "") -> None:
        _log.log(level, said, extra={"cluster": target.cluster, "backend": target.backend.signal, "why": why})

    def _deadline(self) -> Deadline:
        return Deadline(self._clock() + _ANSWER_MS, self._clock)


def _since_ms(begun_s: float) -> int:
    return int((monotonic() - begun_s) * 1000)
