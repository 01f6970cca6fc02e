"""What an import did: counts of what was kept, and each rejection with its line and reason.

Rule: nothing is dropped without being counted here. Rejections are listed up to a cap and counted beyond it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MAX_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Rejection:
    """One bad line or record. `line` counts from 1; None for a request that came from no file."""

    line: int | None
    signal: str
    reason: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file and self.line else f"line {self.line}: " if self.line else ""
        return f"{where}{self.signal}: {self.reason}"


@dataclass(slots=True)
class ImportReport:
    """Running totals. `bytes` are read from disk (compressed as they lie there); `duplicates` are spans sent twice."""

    bytes: int = 0
    total_bytes: int = 0
    lines: int = 0
    spans: int = 0
    logs: int = 0
    samples: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    #: Rejected records by signal: lines, spans, logs, metrics.
    rejected_by_signal: Counter[str] = field(default_factory=Counter)
    #: Files that this store already holds, and were therefore not read again.
    already_imported: list[str] = field(default_factory=list)
    file: str = ""

    def reject(self, line: int | None, signal: str, reason: str, count: int = 1) -> None:
        """Count `count` bad records of one line and list the reason once."""
        self.rejected += count
        self.rejected_by_signal[signal] += count
        if len(self.rejections) < MAX_LISTED:
            self.rejections.append(Rejection(line, signal, reason, self.file))
