"""sort, sort_desc, sort_by_label, sort_by_label_desc: the order of an instant answer."""

from __future__ import annotations

from federation_core.signals.metrics.functions.contract import Function

FUNCTIONS: tuple[Function, ...] = ()
