"""Numbers, selectors, matrix selectors and subqueries.

Rule: no sample and no inner evaluation time lies on the edge of a window, where 2.42 and 3 differ. Evaluation times and
`@` lie `PHASE_MS` after the full second, all durations are whole seconds, inner times of subqueries are whole seconds,
samples are neither; a subquery inside another is checked by `grids`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.facts import Facts, grids_of, require
from tests.support.random_queries.tree import ATOM, MODIFIED, SIGN, Dialect, Rule

#: What a subquery without a step takes: Prometheus' evaluation interval.
DEFAULT_STEP_S = 60


@dataclass(frozen=True)
class Number(Rule):
    """A literal in one of its spellings."""

    spelling: str
    value: float

    @property
    def binds(self) -> int:  # type: ignore[override]
        return SIGN if self.spelling[0] in "+-" else ATOM

    def facts(self, operands: Sequence[Facts]) -> Facts:
        value = self.value
        finite = math.isfinite(value)
        return Facts(
            kind="scalar",
            whole=finite and value == int(value),
            sign=1 if value >= 0 else -1 if value < 0 else 0,
            finite=finite,
            nonzero=value != 0,
            negative_zero=value == 0 and self.spelling[0] == "-",
            bound=abs(value) if finite else math.inf,
            fixed=True,
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return self.spelling

    def names(self) -> Iterator[str]:
        yield "number"
        if self.spelling.strip("+-")[:2] in ("0x", "0X"):
            yield "number in hex"
        elif not self.spelling.isdecimal():
            yield "number spelled otherwise"

    def simpler(self) -> Iterator[Rule]:
        if self.spelling not in "012":
            yield Number("2", 2.0)


@dataclass(frozen=True)
class Shift:
    """`offset` in seconds (0: none) and `@` (a number, `start()`, `end()` or nothing), in either order."""

    offset_s: int = 0
    at: str = ""
    offset_first: bool = False

    def write(self) -> str:
        """Print both modifiers."""
        offset = f" offset {duration(self.offset_s)}" if self.offset_s else ""
        at = f" @ {self.at}" if self.at else ""
        return offset + at if self.offset_first else at + offset

    def names(self) -> Iterator[str]:
        """Yield the modifiers' names."""
        if self.offset_s:
            yield "offset" if self.offset_s > 0 else "offset, negative"
        if self.at:
            yield f"@ {self.at}" if self.at.endswith("()") else "@ number"

    def simpler(self) -> Iterator[Shift]:
        """Yield the shift with a modifier less."""
        if self.offset_s:
            yield replace(self, offset_s=0)
        if self.at:
            yield replace(self, at="")


@dataclass(frozen=True)
class Selector(Rule):
    """A vector selector, or with a window a matrix selector; `known` is what the metric says of its samples."""

    name: str
    matchers: tuple[str, ...]
    known: Facts
    shift: Shift = Shift()
    window_s: int = 0

    @property
    def binds(self) -> int:  # type: ignore[override]
        return MODIFIED if self.shift != Shift() or self.window_s else ATOM

    def facts(self, operands: Sequence[Facts]) -> Facts:
        kind = "matrix" if self.window_s else "vector"
        moved = bool(self.shift.at and self.shift.offset_s)
        return replace(self.known, kind=kind, fixed=bool(self.shift.at), moved=moved)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        braces = f"{{{','.join(self.matchers)}}}" if self.matchers else ""
        window = f"[{duration(self.window_s)}]" if self.window_s else ""
        return f"{self.name}{braces}{window}{self.shift.write()}"

    def names(self) -> Iterator[str]:
        yield "matrix selector" if self.window_s else "vector selector"
        yield from self.shift.names()
        for matcher in self.matchers:
            yield f"matcher {next(op for op in ('=~', '!~', '!=', '=') if op in matcher)}"

    def simpler(self) -> Iterator[Rule]:
        for shift in self.shift.simpler():
            yield replace(self, shift=shift)
        needed = 0 if self.name else 1
        for place in range(needed, len(self.matchers)):
            yield replace(self, matchers=self.matchers[:place] + self.matchers[place + 1 :])
        for window_s in (60, 120, 300):
            if self.window_s > window_s:
                yield replace(self, window_s=window_s)


@dataclass(frozen=True)
class Subquery(Rule):
    """A subquery; `step_s` 0 leaves the step out. Operand: a vector."""

    window_s: int
    step_s: int
    shift: Shift = Shift()
    binds = MODIFIED

    def wants(self, place: int) -> int:
        return ATOM

    def facts(self, operands: Sequence[Facts]) -> Facts:
        (operand,) = operands
        step_s = self.step_s or DEFAULT_STEP_S
        for shift_s, inner_s in operand.grids:
            require(shift_s % math.gcd(step_s, inner_s) != 0, "an inner time lies on the inner window's left edge")
        require(not operand.chosen, "rows that ties decide do not make series")
        grids = frozenset() if self.shift.at else frozenset({(self.window_s + self.shift.offset_s, step_s)})
        return replace(operand, kind="matrix", fixed=bool(self.shift.at), grids=grids)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        step = duration(self.step_s) if self.step_s else ""
        return f"{operands[0]}[{duration(self.window_s)}:{step}]{self.shift.write()}"

    def names(self) -> Iterator[str]:
        yield "subquery"
        if not self.step_s:
            yield "subquery, default step"
        yield from (f"{name} of a subquery" for name in self.shift.names())

    def simpler(self) -> Iterator[Rule]:
        for shift in self.shift.simpler():
            yield replace(self, shift=shift)
        if not self.step_s:
            yield replace(self, step_s=DEFAULT_STEP_S)
        if self.window_s > 4 * (self.step_s or DEFAULT_STEP_S):
            yield replace(self, window_s=2 * (self.step_s or DEFAULT_STEP_S) + self.window_s % 60)


@dataclass(frozen=True)
class Constant(Rule):
    """`time()`, `pi()`, and the date functions without argument (which are vectors)."""

    function: str

    def facts(self, operands: Sequence[Facts]) -> Facts:
        if self.function == "time":
            return Facts(kind="scalar", sign=1, nonzero=True, bound=3e9)
        if self.function == "pi":
            return Facts(kind="scalar", sign=1, nonzero=True, bound=4.0, fixed=True)
        return Facts(whole=True, sign=1, bound=3000.0)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{self.function}()"

    def names(self) -> Iterator[str]:
        yield self.function if self.function in ("time", "pi") else f"{self.function}, no argument"


@dataclass(frozen=True)
class Vector(Rule):
    """`vector(s)`."""

    def facts(self, operands: Sequence[Facts]) -> Facts:
        return replace(operands[0], kind="vector")

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"vector({operands[0]})"

    def names(self) -> Iterator[str]:
        yield "vector"


@dataclass(frozen=True)
class Scalar(Rule):
    """`scalar(v)`: NaN unless there is exactly one row."""

    def facts(self, operands: Sequence[Facts]) -> Facts:
        (operand,) = operands
        require(not operand.chosen, "which row is left may depend on ties")
        return Facts(
            kind="scalar",
            whole=False,
            noise=operand.noise,
            sign=operand.sign,
            finite=False,
            negative_zero=operand.negative_zero,
            bound=operand.bound,
            fixed=operand.fixed,
            grids=grids_of(operand),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"scalar({operands[0]})"

    def names(self) -> Iterator[str]:
        yield "scalar"


def duration(seconds: int) -> str:
    """Print a duration in one of several ways; which one depends on the number alone."""
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    if rest % 3600 == 0:
        return f"{sign}{rest // 3600}h"
    if rest > 3600:
        return f"{sign}{rest // 3600}h{duration(rest % 3600)}"
    if rest % 60 == 0:
        return f"{sign}{rest // 60}m"
    if rest % 7 == 0:
        return f"{sign}{rest}000ms"
    return f"{sign}{rest // 60}m{rest % 60}s" if rest > 60 else f"{sign}{rest}s"
