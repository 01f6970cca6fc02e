"""What is asked: a query, its time range, its deadline, and the coverage it needs.

Rule: these are values. Whoever builds one has already checked it; nothing here reads a clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from federation_core.cancellation import Cancellation
from federation_core.errors import InvalidRequest, QueryCanceled, TimedOut
from federation_core.fields import fields_of

Direction = Literal["backward", "forward"]
#: The most evaluation times of one range query. Prometheus refuses a range of more than 11,000 steps, and a range of so
#: many has one more moment than steps.
MAX_STEPS = 11_001
#: A number of clusters, without leading zeros.
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
#: A share of a whole, above 0 and at most 1; the point tells it from a number of clusters.
_SHARE = re.compile(r"0\.[0-9]{1,6}|1\.0{1,6}")
#: Weights are added in floating point: 0.1 + 0.2 is to be enough for 0.3.
_SHARE_TOLERANCE = 1e-9
#: How much earlier than the query a cluster must answer: this long, or a tenth of the time, whichever is more.
CLUSTER_MARGIN_MS = 500


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A closed interval [start_ms, end_ms]; step_ms 0 asks for one instant, `end_ms`, or has no grid (logs, traces)."""

    start_ms: int
    end_ms: int
    step_ms: int = 0

    def __post_init__(self) -> None:
        if self.end_ms < self.start_ms:
            raise InvalidRequest(
                "end is before start", field="end", got=str(self.end_ms), expected=f"at least start ({self.start_ms})"
            )
        if self.step_ms < 0:
            raise InvalidRequest(
                "step is not positive", field="step", got=str(self.step_ms), expected="a positive duration"
            )
        if self.step_ms and self.steps > MAX_STEPS:
            raise InvalidRequest(
                f"{self.steps} steps, above {MAX_STEPS}",
                field="step",
                got=f"{self.step_ms} ms",
                expected=f"at least {-(-(self.end_ms - self.start_ms) // (MAX_STEPS - 1))} ms for this range",
            )

    @property
    def steps(self) -> int:
        """Number of evaluation times: start, start + step, … up to and including end."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1 if self.step_ms else 1

    @property
    def first_ms(self) -> int:
        """The first evaluation time: `end_ms` for an instant."""
        return self.start_ms if self.step_ms else self.end_ms


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment after which an answer is worth nothing, in ms since the epoch, or earlier once nobody wants it.

    `clock` is the running side's clock, for work in steps that should stop between two of them; `cancellation` says
    that the query was cancelled.
    """

    at_ms: int
    clock: Callable[[], int] | None = field(default=None, compare=False)
    cancellation: Cancellation | None = field(default=None, compare=False)

    def remaining_s(self, now_ms: int) -> float:
        """Seconds left, never negative."""
        return max(0.0, (self.at_ms - now_ms) / 1000)

    def cancelled(self) -> bool:
        """Whether the query was cancelled."""
        return self.cancellation is not None and self.cancellation.cancelled

    def on_cancel(self, abort: Callable[[], None]) -> AbstractContextManager[None]:
        """Have `abort` called, from another thread, when the query is cancelled inside the block.

        It must be quick and safe to call twice; what it makes the aborted call raise is the connector's to translate.
        """
        return nullcontext() if self.cancellation is None else self.cancellation.aborting(abort)

    def check(self, now_ms: int, cluster: str | None = None) -> None:
        """Raise QueryCanceled once the query is cancelled, TimedOut once the moment has passed."""
        if self.cancelled():
            raise QueryCanceled("the query was cancelled")
        if now_ms >= self.at_ms:
            raise TimedOut("the cluster's deadline has passed", cluster=cluster)

    def check_clock(self, cluster: str | None = None) -> None:
        """Raise what `check` raises, by the deadline's own clock; without one, time never passes."""
        self.check(self.clock() if self.clock is not None else self.at_ms - 1, cluster)


def cluster_deadline_ms(start_ms: int, timeout_ms: int) -> int:
    """Return when a cluster must have answered so that merging still fits before the query's deadline.

    Of a short time it has half.
    """
    return start_ms + max(timeout_ms // 2, timeout_ms - max(CLUSTER_MARGIN_MS, timeout_ms // 10))


@dataclass(frozen=True, slots=True)
class Requirement:
    """The coverage a caller needs: `all`, `best_effort`, `quorum:k`, `quorum:0.8` or `critical:a,b`.

    A quorum is a number of clusters (`quorum`) or a share of the asked clusters' weight (`share`); the other is 0.
    """

    mode: Literal["all", "best_effort", "quorum", "critical"] = "best_effort"
    quorum: int = 0
    share: float = 0.0
    critical: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read the text form.

        Raises InvalidRequest: naming the forms that exist.
        """
        mode, _, rest = text.strip().partition(":")
        if mode in ("all", "best_effort") and not rest:
            return cls(mode)  # type: ignore[arg-type]
        if mode == "quorum" and _COUNT.fullmatch(rest):
            return cls("quorum", quorum=int(rest))
        if mode == "quorum" and _SHARE.fullmatch(rest) and float(rest) > 0:
            return cls("quorum", share=float(rest))
        names = tuple(name.strip() for name in rest.split(",") if name.strip())
        if mode == "critical" and names:
            return cls("critical", critical=names)
        raise InvalidRequest(
            f"require: {text!r} is not a coverage requirement",
            field="require",
            got=text,
            expected="all, best_effort, quorum:k (k clusters), quorum:0.8 (a share of the clusters' weight)"
            " or critical:a,b (cluster names)",
        )

    def unmet_by(
        self, asked: frozenset[str], answered: frozenset[str], weights: Mapping[str, float] | None = None
    ) -> tuple[str, ...]:
        """Return the clusters whose silence breaks the requirement; empty when it is met.

        `weights` are those of the clusters asked, 1 where it has none. A quorum larger than the number of clusters
        asked can not be met; of no weight at all, any share is.
        """
        silent = tuple(sorted(asked - answered))
        match self.mode:
            case "best_effort":
                return ()
            case "all":
                return silent
            case "quorum" if self.share:
                return () if self._weighs_enough(asked, answered, weights or {}) else silent
            case "quorum":
                return () if len(answered) >= self.quorum else silent or tuple(sorted(asked)) or ("(none asked)",)
            case "critical":
                return tuple(sorted(set(self.critical) - answered))

    def _weighs_enough(self, asked: frozenset[str], answered: frozenset[str], weights: Mapping[str, float]) -> bool:
        whole, there = (math.fsum(weights.get(name, 1.0) for name in names) for names in (asked, answered))
        return there >= whole * (self.share - _SHARE_TOLERANCE)

    def __str__(self) -> str:
        match self.mode:
            case "quorum" if self.share:
                # At least one digit behind the point, so that it reads back as a share.
                digits = f"{self.share:.6f}".rstrip("0")
                return f"quorum:{digits}0" if digits.endswith(".") else f"quorum:{digits}"
            case "quorum":
                return f"quorum:{self.quorum}"
            case "critical":
                return "critical:" + ",".join(self.critical)
            case mode:
                return mode


@dataclass(frozen=True, slots=True)
class Query:
    """One question about all clusters, in the language of its signal.

    `clusters` and `environments` narrow the clusters the tenant may see; empty means no narrowing. `limit` 0
    means the signal's own default.
    """

    signal: str
    text: str
    time_range: TimeRange
    tenant_id: str
    clusters: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    limit: int = 0
    direction: Direction = "backward"
    requirement: Requirement = field(default_factory=Requirement)
    timeout_ms: int = 30_000

    def to_wire(self) -> dict[str, Any]:
        """Return the query as JSON values."""
        return {**fields_of(self), "time_range": fields_of(self.time_range), "requirement": str(self.requirement)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Query:
        """Rebuild the query that `to_wire` described."""
        return cls(
            **{
                **wire,
                "time_range": TimeRange(**wire["time_range"]),
                "clusters": tuple(wire["clusters"]),
                "environments": tuple(wire["environments"]),
                "requirement": Requirement.parse(wire["requirement"]),
            }
        )
