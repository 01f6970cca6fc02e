"""When something goes wrong in the simulated shop: an hourly timetable, the same for everybody.

Every clock hour (UTC) has one incident of each kind, so any two hours of history hold at least one whole
incident, and a reader of docs/demo.md knows what to look for and when. Only production's clusters and dev
are hit; stage and test stay healthy, for comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_NS_PER_MS: Final = 1_000_000


class Kind(StrEnum):
    """The four kinds of incident."""

    SLOW_SERVICE = "slow_service"
    ERROR_BURST = "error_burst"
    SKEWED_CLOCK = "skewed_clock"
    SILENT_CLUSTER = "silent_cluster"


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident in [start_ms, end_ms).

    `size` is the factor on a slow service's own time, the share of failing calls, or a clock's lead in ms;
    it says nothing for a silent cluster. `service` is empty when the whole cluster is hit.
    """

    kind: Kind
    cluster: str
    service: str
    start_ms: int
    end_ms: int
    size: float
    summary: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the timetable: the minutes of every hour in which an incident runs."""

    kind: Kind
    cluster: str
    service: str
    first_minute: int
    minutes: int
    size: float
    summary: str

    def within(self, hour_start_ms: int) -> Incident:
        """Return the incident of the hour that starts at `hour_start_ms`."""
        start_ms = hour_start_ms + self.first_minute * _MINUTE_MS
        end_ms = start_ms + self.minutes * _MINUTE_MS
        return Incident(self.kind, self.cluster, self.service, start_ms, end_ms, self.size, self.summary)

    def runs_at(self, at_ms: int) -> bool:
        """Say whether the incident runs at `at_ms` (Unix time)."""
        return 0 <= at_ms % HOUR_MS - self.first_minute * _MINUTE_MS < self.minutes * _MINUTE_MS


TIMETABLE: Final = (
    Entry(Kind.SLOW_SERVICE, "shared-services", "stock", 5, 5, 8.0,
          "stock takes eight times as long: everything that asks the catalog waits"),
    Entry(Kind.ERROR_BURST, "app-prod", "payments", 20, 6, 0.7,
          "seven of ten payments fail: its card acquirer answers nothing"),
    Entry(Kind.SKEWED_CLOCK, "app-prod", "", 30, 15, 40.0,
          "the clock of app-prod runs 40 ms ahead: calls seem to start before their callers"),
    Entry(Kind.SILENT_CLUSTER, "dev", "", 50, 4, 0.0,
          "dev sends nothing at all: no spans, no logs, no samples"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the running incidents do at one moment, in the form the simulation asks for it."""

    slowdowns: dict[tuple[str, str], float]
    failing: dict[tuple[str, str], float]
    clock_lead_ns: dict[str, int]
    silent: frozenset[str]


def conditions(at_ms: int) -> Conditions:
    """Return what goes wrong at `at_ms`; services are named by (cluster, service)."""
    running = [entry for entry in TIMETABLE if entry.runs_at(at_ms)]

    def sizes(kind: Kind) -> dict[tuple[str, str], float]:
        return {(entry.cluster, entry.service): entry.size for entry in running if entry.kind is kind}

    return Conditions(
        slowdowns=sizes(Kind.SLOW_SERVICE),
        failing=sizes(Kind.ERROR_BURST),
        clock_lead_ns={
            cluster: round(lead_ms * _NS_PER_MS) for (cluster, _), lead_ms in sizes(Kind.SKEWED_CLOCK).items()
        },
        silent=frozenset(cluster for cluster, _ in sizes(Kind.SILENT_CLUSTER)),
    )


def incidents(from_ms: int, to_ms: int) -> list[Incident]:
    """Return every incident that runs at some moment of [from_ms, to_ms), by start."""
    found = [
        incident
        for hour_start_ms in _hours(from_ms, to_ms)
        for incident in (entry.within(hour_start_ms) for entry in TIMETABLE)
        if incident.start_ms < to_ms and incident.end_ms > from_ms
    ]
    return sorted(found, key=lambda incident: incident.start_ms)


def _hours(from_ms: int, to_ms: int) -> Iterator[int]:
    yield from range(from_ms - from_ms % HOUR_MS, to_ms, HOUR_MS)
