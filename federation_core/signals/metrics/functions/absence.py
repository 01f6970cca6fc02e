"""absent and absent_over_time: one series where there is none."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
