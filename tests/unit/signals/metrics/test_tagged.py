"""Several expressions in one request: each series comes back to the expression it is of."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.errors import Malformed
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.tagged import tag, tag_for, untag
from tests.support.sample_store import as_dict, evaluate_one, every, labels, series

RANGE = TimeRange(60_000, 180_000, 60_000)
STORE = [
    series('x{a="1"}', every(60_000, [1, 2, None, 4])),
    series('x{a="2"}', every(60_000, [5, 6, 7, 8])),
    series('y{a="1"}', every(60_000, [9, 9, 9, 9])),
]


def test_one_expression_is_sent_as_it_is() -> None:
    assert to_text(tag({"a": parse("sum(x)")}, "__part")) == "sum(x)"


@pytest.mark.parametrize(
    "texts",
    [
        ("x", "x"),
        ("x", "y", "sum(x)", "count(x)"),
        ('{__name__=~"x|y"}', "x > 100"),
        ("sum by (a) (x)", "count by (a) (y)", "x unless x"),
        # A label of the very name that parts are told apart by.
        ('label_replace(x, "__part", "$1", "a", "(.*)")', "x", 'count_values("__part_", x)'),
        ('sum by (__part) (label_replace(x, "__part", "b", "", ""))', "count by (__part) (x)"),
    ],
)
def test_every_part_comes_back_as_if_it_were_asked_alone(texts: tuple[str, ...]) -> None:
    parts = {"abcdef"[i]: parse(text) for i, text in enumerate(texts)}
    together = evaluate_one(to_text(tag(parts, tag_for(parts.values()))), STORE, RANGE)
    assert isinstance(together, Frame)
    found = untag(together, parts, tag_for(parts.values()), "prod")
    for name, text in zip(parts, texts, strict=True):
        assert as_dict(found[name]) == as_dict(evaluate_one(text, STORE, RANGE)), text


def test_a_series_of_no_part_cannot_be_read() -> None:
    frame = Frame((labels('{__part="z",a="1"}'),), Grid(0, 0, 1), np.ones((1, 1)), np.ones((1, 1), dtype=np.bool_))
    with pytest.raises(Malformed, match="no part that was asked for: \\['z'\\]"):
        untag(frame, {"a": parse("x"), "b": parse("y")}, "__part", "prod")
