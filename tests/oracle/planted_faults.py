"""Faults that an engine might have, to be planted into ours: the net must catch every one.

Rule: a fault changes one real function of the engine and leaves the rest alone. Each family, which is a module of
functions or a part of the engine, has at least one.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np

from federation_core.labels import Labels
from federation_core.signals.metrics import binary, evaluate, joins, moments, operations, windows
from federation_core.signals.metrics.functions import counters
from tests.oracle import answers
from tests.oracle.fault_changes import (
    aggregate_sample,
    ahead,
    average_of_all_rows,
    choice_of_everything,
    cut_quantile,
    ends_exchanged,
    evaluation_times,
    filtered_by_right,
    first_row,
    from_the_window,
    groups_exchanged,
    half_to_even,
    keeps_name,
    late_window,
    nan_is_largest,
    of_sample,
    or_of_all_labels,
    tight_sign,
    unaligned,
    unanchored,
    unless_is_and,
    values_with_a_point,
    without_included,
    without_lowest_bucket,
    without_moments,
    without_subquery_offset,
)
from tests.oracle.planting import Fault, change_answer, change_arguments, change_record, exchange, with_values, wrap
from tests.support.random_queries.operators import COMPARISONS

# The package has a function of this name.
run: Any = importlib.import_module("federation_core.signals.metrics.run")
ENDS = ("@ start()", "@ end()", "@ start() of a subquery", "@ end() of a subquery")

_MONTHS = change_answer("month", lambda frame, _: with_values(frame, lambda values: values - 1))
_SUNDAY = change_answer(
    "day_of_week", lambda frame, _: with_values(frame, lambda values: np.where(values == 0, 7, values))
)
_EVEN = change_answer("round", half_to_even)
_NO_LABELS = change_answer("absent", lambda frame, _: replace(frame, labels=tuple(Labels() for _ in frame.labels)))
_FACTORS = change_arguments("double_exponential_smoothing", lambda given: [given[0], given[2], given[1]])
_JOINED = change_arguments("label_join", lambda given: [given[0], given[1], "", *given[3:]])

FAULTS = (
    Fault("counters", "a reset is not added", ("rate", "increase"), wrap(counters, "_add_resets", lambda *_: None)),
    Fault("counters", "delta sees resets", ("delta",), exchange("delta", "increase")),
    Fault("counters", "irate is an average", ("irate",), exchange("irate", "rate")),
    Fault(
        "over_time", "the deviation is a sample's", ("stddev_over_time",), change_answer("stddev_over_time", of_sample)
    ),
    Fault("over_time", "NaN is the largest", ("max_over_time",), change_answer("max_over_time", nan_is_largest)),
    Fault("over_time", "the name is lost", ("last_over_time",), change_record("last_over_time", keeps_name=False)),
    Fault(
        "quantile_over_time",
        "a quantile beyond 1 is 1",
        ("quantile_over_time",),
        change_arguments("quantile_over_time", cut_quantile),
    ),
    Fault(
        "regression",
        "the prediction is the window's",
        ("predict_linear", "offset"),
        change_arguments("predict_linear", from_the_window),
    ),
    Fault("regression", "the factors are exchanged", ("double_exponential_smoothing",), _FACTORS),
    Fault("elementwise", "halves are rounded to even", ("round",), _EVEN),
    Fault("elementwise", "a bound is the other one", ("clamp_max",), exchange("clamp_max", "clamp_min")),
    Fault("dates", "months begin at 0", ("month",), _MONTHS),
    Fault("dates", "Sunday is 7", ("day_of_week",), _SUNDAY),
    Fault("conversions", "the scalar of several rows is the first", ("scalar",), change_answer("scalar", first_row)),
    Fault(
        "conversions",
        "the timestamp is the evaluation's",
        ("timestamp",),
        wrap(run, "latest_times", evaluation_times),
    ),
    Fault("absence", "the labels are lost", ("absent",), _NO_LABELS),
    Fault("sorting", "the order is the other", ("sort_desc",), exchange("sort_desc", "sort")),
    Fault(
        "relabelling",
        "the expression is not anchored",
        ("label_replace",),
        change_arguments("label_replace", unanchored),
    ),
    Fault("relabelling", "the separator is lost", ("label_join",), _JOINED),
    Fault(
        "histogram",
        "the lowest bucket is left out",
        ("histogram_quantile",),
        change_arguments("histogram_quantile", without_lowest_bucket),
    ),
    Fault("aggregate", "the deviation is a sample's", ("stddev",), wrap(evaluate, "aggregate", aggregate_sample)),
    Fault("aggregate", "absent rows are counted", ("avg",), wrap(evaluate, "aggregate", average_of_all_rows)),
    Fault("aggregate", "by is without", ("by", "without", "sum"), wrap(evaluate, "aggregate", groups_exchanged)),
    Fault("aggregate", "the choice ignores groups", ("topk",), wrap(evaluate, "aggregate", choice_of_everything)),
    Fault("aggregate", "values have a point", ("count_values",), wrap(evaluate, "aggregate", values_with_a_point)),
    Fault(
        "binary",
        "group_left loses labels",
        ("group_left with labels", "group_right with labels", "*", "+"),
        wrap(binary, "join", without_included),
    ),
    Fault("binary", "a filter keeps the right side", COMPARISONS, wrap(joins, "operate", filtered_by_right)),
    Fault(
        "binary",
        "the remainder has the divisor's sign",
        ("%", "sign -"),
        lambda mp: mp.setitem(operations._ARITHMETIC, "%", np.mod),
    ),
    Fault("binary", "bool keeps the name", ("bool", ">="), wrap(joins, "_drops_name", keeps_name)),
    Fault("binary", "or ignores on", ("or",), wrap(binary, "combine_sets", or_of_all_labels)),
    Fault("binary", "unless is and", ("unless",), wrap(binary, "combine_sets", unless_is_and)),
    Fault(
        "windows", "a window begins late", ("matrix selector", "count_over_time"), wrap(run, "windows_of", late_window)
    ),
    Fault(
        "windows",
        "the lookback is ten minutes",
        ("vector selector",),
        lambda mp: mp.setattr(windows, "LOOKBACK_MS", 600_000),
    ),
    Fault("windows", "an offset looks ahead", ("offset", "vector selector"), wrap(run, "latest", ahead)),
    Fault(
        "subqueries",
        "the steps are not aligned",
        ("subquery", "idelta", "deriv"),
        wrap(evaluate, "subquery_grid", unaligned),
    ),
    Fault(
        "subqueries",
        "the default step is 15 s",
        ("subquery", "subquery, default step", "count_over_time"),
        lambda mp: mp.setattr(moments, "DEFAULT_STEP_MS", 15_000),
    ),
    Fault(
        "subqueries",
        "the offset is overlooked",
        ("subquery", "offset of a subquery", "max_over_time"),
        wrap(answers, "resolve", without_subquery_offset),
    ),
    Fault("parse", "a sign binds tighter than a power", ("^", "sign -"), wrap(answers, "parse", tight_sign)),
    Fault("moments", "start() is end()", ENDS, wrap(answers, "resolve", ends_exchanged)),
    Fault(
        "moments",
        "@ is overlooked",
        ("@ number", "@ number of a subquery", *ENDS),
        wrap(answers, "resolve", without_moments),
    ),
)
