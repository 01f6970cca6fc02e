"""time, vector, scalar, pi and timestamp: from scalars to vectors and back."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
