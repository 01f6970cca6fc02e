"""Functions of whole instant vectors: times, order, labels, histograms, absence.

Known differences of 2.42 from 3, kept out here:
* `timestamp(x @ t offset o)` forgets the offset: never both.
* `histogram_quantile`: 3 takes counts that differ by less than 1e-12 as equal, 2.42 does not: of rough counts only
  quantiles that hit no bucket's count.
* `absent` with one label matched twice; label names beyond the classic ones; `sort_by_label`, `info`: not in 2.42.

No difference, but refused by name in ours: `timestamp(+x)` and `absent(+x)` of a selector, whose sign the parser drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.random_queries.facts import (
    ROUGH,
    SHARP,
    Facts,
    grids_of,
    require,
    require_sharp,
)
from tests.support.random_queries.tree import Dialect, Rule

#: Quantiles that no count of a bucket equals, whatever the rounding: for counts that are rough.
ODD_QUANTILES = ("0.1371", "0.50123", "0.87317", "0.99173", "-0.5", "1.5", "NaN")


@dataclass(frozen=True)
class Timestamp(Rule):
    """`timestamp(v)`: of a selector the samples' own, of anything else the evaluation time."""

    def facts(self, operands: Sequence[Facts]) -> Facts:
        (operand,) = operands
        require(not operand.moved, "2.42 forgets the offset beside an @")
        require(not operand.signed, "refused: our parser does not see the sign")
        return Facts(
            labels=operand.labels,
            sign=1,
            nonzero=True,
            bound=3e9,
            chosen=operand.chosen,
            grids=operand.grids,
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"timestamp({operands[0]})"

    def names(self) -> Iterator[str]:
        yield "timestamp"


@dataclass(frozen=True)
class Ordered(Rule):
    """`sort` or `sort_desc`."""

    function: str

    def facts(self, operands: Sequence[Facts]) -> Facts:
        require_sharp(operands[0])
        return operands[0]

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{self.function}({operands[0]})"

    def names(self) -> Iterator[str]:
        yield self.function


@dataclass(frozen=True)
class Relabelling(Rule):
    """`label_replace` or `label_join`: `target` is written; `strings` are the arguments behind the vector, as text."""

    function: str
    target: str
    strings: tuple[str, ...]

    def facts(self, operands: Sequence[Facts]) -> Facts:
        (operand,) = operands
        require(not operand.chosen, "rows that ties decide may become equal or not")
        named = operand.named or self.target == "__name__"
        labels = operand.labels if self.target == "__name__" else operand.labels | {self.target}
        return replace(operand, labels=labels, named=named)

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"{self.function}({', '.join((*operands, *self.strings))})"

    def names(self) -> Iterator[str]:
        yield self.function
        if self.target == "__name__":
            yield f"{self.function} of the name"


@dataclass(frozen=True)
class HistogramQuantile(Rule):
    """`histogram_quantile(q, v)`; `odd` says that q hits no count exactly."""

    odd: bool

    def facts(self, operands: Sequence[Facts]) -> Facts:
        quantile, buckets = operands
        require_sharp(quantile)
        require(buckets.noise == SHARP or (self.odd and buckets.noise == ROUGH), "a last digit would choose the bucket")
        require(buckets.finite and buckets.sign > 0 and not buckets.chosen, "counts are finite and not negative")
        return Facts(
            labels=buckets.labels - {"le"},
            noise=ROUGH,
            finite=False,
            negative_zero=True,
            fixed=quantile.fixed and buckets.fixed,
            grids=grids_of(*operands),
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"histogram_quantile({', '.join(operands)})"

    def names(self) -> Iterator[str]:
        yield "histogram_quantile"


@dataclass(frozen=True)
class Absent(Rule):
    """`absent(v)`."""

    def facts(self, operands: Sequence[Facts]) -> Facts:
        require(not operands[0].signed, "refused: our parser does not see the sign")
        return Facts(
            whole=True,
            sign=1,
            nonzero=True,
            bound=1.0,
            fixed=operands[0].fixed,
            grids=operands[0].grids,
        )

    def write(self, operands: Sequence[str], dialect: Dialect) -> str:
        return f"absent({operands[0]})"

    def names(self) -> Iterator[str]:
        yield "absent"
