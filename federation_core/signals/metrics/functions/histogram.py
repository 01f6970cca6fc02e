"""The histogram_* functions, over classic histograms.

Rule: the answer is Prometheus' for every layout of buckets. Within a bucket values are taken to lie evenly; the lowest
one begins at 0 if its bound is above. Without a bucket at +Inf or without observations there is neither quantile nor
fraction: NaN. histogram_avg, _count, _sum, _stddev and _stdvar read native histograms only, which there are none of
here; of floats they are empty.
Source: Prometheus documentation, "Functions / histogram_quantile, histogram_fraction"; behaviour of Prometheus 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from federation_core.errors import QueryExecutionError
from federation_core.signals.metrics.frame import Floats, Frame
from federation_core.signals.metrics.functions.buckets import BucketSeries, Histograms
from federation_core.signals.metrics.functions.contract import (
    Argument,
    Context,
    Function,
    frame_argument,
    string_argument,
)
from federation_core.signals.metrics.functions.monotonicity import Repairs, rising
from federation_core.signals.metrics.quantile import warn_about_quantile
from federation_core.signals.metrics.spelling import shortest


def _histogram_quantile(arguments: Sequence[Argument], context: Context) -> Frame:
    wanted, frame = frame_argument(arguments[0]).values[0], frame_argument(arguments[1])
    (result,) = _quantiles(frame, [wanted], context)
    return result


def _histogram_quantiles(arguments: Sequence[Argument], context: Context) -> Frame:
    frame, label = frame_argument(arguments[0]), string_argument(arguments[1])
    if not label:
        raise QueryExecutionError("invalid label name in histogram_quantiles(): ")
    wanted = [frame_argument(argument).values[0] for argument in arguments[2:]]
    labelled: list[Frame] = []
    for quantiles, result in zip(wanted, _quantiles(frame, wanted, context), strict=True):
        # An argument that changes from step to step makes series of each of its values; NaN is one of them.
        distinct = np.unique(quantiles)
        context.require_room(len(distinct) * result.values.size + sum(part.values.size for part in labelled))
        for value in distinct.tolist():
            at = (quantiles == value) | (np.isnan(quantiles) & np.isnan(value))
            labels = tuple(group.with_label(label, label_value(value)) for group in result.labels)
            labelled.append(replace(result, labels=labels, present=result.present & at).pruned())
    return Frame(
        tuple(labels for part in labelled for labels in part.labels),
        context.grid,
        np.concatenate([part.values for part in labelled]),
        np.concatenate([part.present for part in labelled]),
    )


def _quantiles(frame: Frame, wanted: Sequence[Floats], context: Context) -> list[Frame]:
    """Return one result for each of the wanted quantiles, which have a value per step."""
    for quantiles in wanted:
        warn_about_quantile(quantiles, context.warn)
    series = BucketSeries.of(frame, context)
    context.require_room(len(wanted) * len(series.groups) * frame.grid.steps)
    results = [series.unanswered() for _ in wanted]
    repairs = Repairs.of(series.groups, named=frame.unnamed is not None)
    for histograms in series.histograms(context):
        counts, falls = rising(histograms, context)
        for quantiles, result in zip(wanted, results, strict=True):
            asked = quantiles[histograms.step]
            inside = (asked >= 0) & (asked <= 1)
            repairs.note(histograms, falls, inside & histograms.complete)
            answers = np.where(inside, _interpolated(histograms, counts, asked), np.nan)
            histograms.answer(result, np.where(asked < 0, -np.inf, np.where(asked > 1, np.inf, answers)))
    repairs.tell(context)
    return results


def _interpolated(histograms: Histograms, counts: Floats, quantiles: Floats) -> Floats:
    """Return one quantile of each of H histograms, out of counts that rise."""
    first, last = histograms.first, histograms.last
    observations = counts[last]
    rank = quantiles * observations
    reached = histograms.reaching(counts, rank, last)
    start, under = histograms.below(counts, reached)
    end = histograms.bounds[reached]
    value = start + (end - start) * ((rank - under) / (counts[reached] - under))
    # Nothing is known of where values lie in a bucket that is open to a side: its bound is the answer.
    value = np.where((reached == first) & (end <= 0), end, value)
    value = np.where(reached == last, histograms.bounds[np.maximum(last - 1, first)], value)
    return np.where(histograms.complete & (histograms.used > 1) & (observations != 0), value, np.nan)


def _histogram_fraction(arguments: Sequence[Argument], context: Context) -> Frame:
    lower, upper, frame = map(frame_argument, arguments)
    series = BucketSeries.of(frame, context)
    result = series.unanswered()
    for histograms in series.histograms(context):
        low, high = lower.values[0][histograms.step], upper.values[0][histograms.step]
        observations = histograms.counts[histograms.last]
        fraction = (_rank(histograms, high) - _rank(histograms, low)) / observations
        fraction = np.where(low >= high, 0.0, fraction)
        known = histograms.complete & (observations != 0) & ~np.isnan(low) & ~np.isnan(high)
        histograms.answer(result, np.where(known, fraction, np.nan))
    return result


def _rank(histograms: Histograms, values: Floats) -> Floats:
    """Return how many observations of each of H complete histograms lie below a value."""
    last, counts = histograms.last, histograms.counts
    inside = histograms.reaching(histograms.bounds, values, last, beyond=True)
    start, under = histograms.below(counts, inside)
    # The lowest bucket has no width if its bound is not above 0: all that it holds lies below what lies in it.
    start = np.where((inside == histograms.first) & (histograms.bounds[inside] <= 0), -np.inf, start)
    end, count = histograms.bounds[inside], counts[inside]
    between = np.where(np.isneginf(start), count, under + (count - under) * (values - start) / (end - start))
    rank = np.where(start >= values, under, between)
    rank = np.where(np.isinf(values), np.where(values > 0, counts[last], 0.0), rank)
    # A bucket may hold more than the one at +Inf, as counts are not made to rise here.
    return np.where(rank > counts[last], counts[last], rank)


def label_value(quantile: float) -> str:
    """Spell a quantile as the value of a label: with a point or an exponent, as OpenMetrics has it.

    >>> label_value(1.0), label_value(0.25), label_value(1e6), label_value(float("nan"))
    ('1.0', '0.25', '1e+06', 'NaN')
    """
    text = shortest(quantile + 0.0)
    return text if set(text) & set(".eNI") else f"{text}.0"


def _of_native(arguments: Sequence[Argument], context: Context) -> Frame:
    return Frame.empty(context.grid)


FUNCTIONS = (
    Function("histogram_quantile", _histogram_quantile),
    Function("histogram_quantiles", _histogram_quantiles),
    Function("histogram_fraction", _histogram_fraction),
    *(Function(f"histogram_{part}", _of_native) for part in ("avg", "count", "stddev", "stdvar", "sum")),
)
