"""Server-sent events of jobs: one poller per process, whole snapshots, any number of listeners per job.

Rule: an event is everything there is to say about a job at one moment, so whoever misses one has lost nothing once he
has the next. Its id is a digest of what it says: whoever comes back with the id of the newest event waits for the next
one, on whichever web process he lands.
Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Any

from federation_core.errors import FederationError, QuotaExceeded
from webapp import MAX_LISTENERS
from webapp.schemas.answers import job_json

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import Job

#: How often the watched jobs are read, all of them at once.
POLL_S = 0.2
#: A job whose clusters' states do not change says how long they have been at it this often.
_TICK_S = 1.0
#: A silent connection is cut by what lies between; a comment this often keeps it.
KEEP_ALIVE_S = 10.0
_RETRY_MS = 1_000
#: How long after the deadline a listener ends a job that nobody else has ended.
_OVERDUE_S = 0.75

_log = logging.getLogger(__name__)
Read = Callable[[str, Sequence[str]], "Sequence[Job]"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One event: its id, its bytes on the wire, and whether it is the last."""

    id: str
    frame: bytes
    final: bool
    #: What must differ for the event to be worth sending at once.
    shape: Any

    @classmethod
    def of(cls, job: Job) -> Snapshot:
        """Return what there is to say about a job."""
        data = json.dumps(job_json(job), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(data.encode()).hexdigest()[:16]
        event = "end" if job.state.final else "progress"
        frame = f"id: {digest}\nevent: {event}\ndata: {data}\n\n".encode()
        shape = (job.state, [(row.state, row.rows, row.bytes) for row in job.progress])
        return cls(digest, frame, job.state.final, shape)


@dataclass
class Watch:
    """One job that somebody listens to."""

    snapshot: Snapshot
    listeners: int = 0
    gone: bool = False
    _changed: Condition = field(default_factory=Condition)
    _shown_s: float = field(default_factory=time.monotonic)

    def show(self, snapshot: Snapshot) -> None:
        """Make a snapshot the newest event, if it says something new or the last one is a while ago."""
        now_s = time.monotonic()
        if snapshot.shape == self.snapshot.shape and now_s - self._shown_s < _TICK_S:
            return
        with self._changed:
            self.snapshot, self._shown_s = snapshot, now_s
            self._changed.notify_all()

    def end(self) -> None:
        """Say that there is no such job any longer."""
        with self._changed:
            self.gone = True
            self._changed.notify_all()

    def newer(self, seen_id: str, timeout_s: float) -> Snapshot | None:
        """Wait for an event other than the one seen; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.gone or self.snapshot.id != seen_id, timeout_s)
            return self.snapshot if self.snapshot.id != seen_id else None


class Watches:
    """The watched jobs of one process. A thread polls while somebody listens, and only then."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._watches: dict[tuple[str, str], Watch] = {}
        self._polling = False
        self._lock = Lock()

    @property
    def polling(self) -> bool:
        """Whether the thread runs."""
        return self._polling

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return sum(watch.listeners for watch in self._watches.values())

    def listen(self, job: Job) -> Watch:
        """Begin to listen to a job; `leave` ends it.

        Raises QuotaExceeded: too many listen to this process already.
        """
        with self._lock:
            if self.listeners >= MAX_LISTENERS:
                raise QuotaExceeded(f"{MAX_LISTENERS} listeners are the most a web process serves", retry_after_s=5)
            watch = self._watches.setdefault((job.tenant_id, job.query_id), Watch(Snapshot.of(job)))
            watch.listeners += 1
            if not self._polling:
                self._polling = True
                Thread(target=self._poll, name="events", daemon=True).start()
        return watch

    def leave(self, job: Job) -> None:
        """End one listening to a job."""
        key = (job.tenant_id, job.query_id)
        with self._lock:
            watch = self._watches[key]
            watch.listeners -= 1
            if watch.listeners == 0:
                del self._watches[key]

    def _poll(self) -> None:
        while True:
            with self._lock:
                watched = {k: w for k, w in self._watches.items() if not (w.snapshot.final or w.gone)}
                if not self._watches:
                    self._polling = False
                    return
            for tenant_id in {tenant_id for tenant_id, _ in watched}:
                try:
                    self._look(tenant_id, {q: w for (t, q), w in watched.items() if t == tenant_id})
                except FederationError:
                    # The listeners' connections outlast a restart of Redis; until then they hear comments.
                    pass
                except Exception:
                    _log.exception("watched jobs could not be read")
            time.sleep(POLL_S)

    def _look(self, tenant_id: str, watched: dict[str, Watch]) -> None:
        found = {job.query_id: job for job in self._read(tenant_id, tuple(watched))}
        for query_id, watch in watched.items():
            if query_id in found:
                watch.show(Snapshot.of(found[query_id]))
            else:
                watch.end()


def stream(watch: Watch, seen_id: str, overdue_in_s: float, end_it: Callable[[], Any]) -> Iterator[bytes]:
    """Yield a job's events from the one after `seen_id` to its last, with comments in between.

    `end_it` is called when the job is still open `overdue_in_s` from now, as by anyone who looks after its deadline.
    """
    yield f"retry: {_RETRY_MS}\n\n".encode()
    overdue_s, ended = time.monotonic() + overdue_in_s + _OVERDUE_S, False
    while True:
        left_s = KEEP_ALIVE_S if ended else max(0.0, overdue_s - time.monotonic())
        snapshot = watch.newer(seen_id, min(KEEP_ALIVE_S, left_s))
        if snapshot is not None:
            yield snapshot.frame
            seen_id = snapshot.id
            if snapshot.final:
                return
        elif watch.gone:
            return
        elif not ended and time.monotonic() >= overdue_s:
            ended = True
            try:
                end_it()
            except FederationError as exc:
                _log.warning("an overdue query could not be settled", extra={"why": exc.message})
        else:
            yield b": keep-alive\n\n"
