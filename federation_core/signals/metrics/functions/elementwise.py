"""Functions of each value alone: rounding, bounds, exponentials, trigonometry."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
