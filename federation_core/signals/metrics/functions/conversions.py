"""time, vector, scalar, pi and timestamp: from scalars to vectors and back.

Rule: a vector is a scalar only at the steps where it has exactly one element; at the others that scalar is NaN. What
makes values out of nothing carries no series, and so no cluster.
Source: Prometheus documentation, "Functions".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from federation_core.labels import Labels
from federation_core.signals.metrics.frame import Floats, Frame
from federation_core.signals.metrics.functions.contract import Argument, Context, Function, frame_argument


def _seconds(context: Context) -> Floats:
    seconds: Floats = context.grid.times_ms / 1000
    return seconds


def _time(arguments: Sequence[Argument], context: Context) -> Frame:
    return Frame.scalar(context.grid, _seconds(context))


def _pi(arguments: Sequence[Argument], context: Context) -> Frame:
    return Frame.scalar(context.grid, np.pi)


def _timestamp(arguments: Sequence[Argument], context: Context) -> Frame:
    # What was computed has the evaluation time; the engine answers for a bare selector, whose samples have their own.
    frame = frame_argument(arguments[0])
    return replace(frame, values=np.broadcast_to(_seconds(context), frame.values.shape))


def _vector(arguments: Sequence[Argument], context: Context) -> Frame:
    scalar = frame_argument(arguments[0])
    return Frame((Labels(),), context.grid, scalar.values, np.ones(scalar.values.shape, dtype=np.bool_))


def _scalar(arguments: Sequence[Argument], context: Context) -> Frame:
    frame = frame_argument(arguments[0])
    if not frame.series_count:
        return Frame.scalar(context.grid, np.nan)
    steps = np.arange(frame.grid.steps)
    only = frame.values[frame.present.argmax(axis=0), steps]
    return Frame.scalar(context.grid, np.where(np.count_nonzero(frame.present, axis=0) == 1, only, np.nan))


FUNCTIONS = (
    Function("pi", _pi, per_series=False),
    Function("scalar", _scalar, per_series=False),
    Function("time", _time, per_series=False),
    Function("timestamp", _timestamp),
    Function("vector", _vector, per_series=False),
)
