"""Parts of a date in UTC, of times in seconds."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
