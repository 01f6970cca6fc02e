"""deriv, predict_linear and double_exponential_smoothing: lines fitted to the samples of each window."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
