"""The structured form of a metrics query."""

from __future__ import annotations

from typing import Any

import pytest

from federation_core.errors import InvalidRequest
from federation_core.labels import Matcher, MatchOp
from federation_core.signals.metrics.expr import VectorSelector
from federation_core.signals.metrics.parse import parse
from webapp.schemas.promql import promql_from


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"query": "up"}, "up"),
        ({"metric": "up"}, "up"),
        ({"metric": "up", "labels": {"a": "1", "b": "2"}}, 'up{a="1",b="2"}'),
        ({"metric": "up", "matchers": [{"label": "a", "op": "!~", "value": "x|y"}]}, 'up{a!~"x|y"}'),
        ({"metric": "up", "function": "rate"}, "rate(up[5m])"),
        ({"metric": "up", "function": "rate", "range": "90"}, "rate(up[1m30s])"),
        ({"metric": "up", "aggregation": "max"}, "max(up)"),
        (
            {"metric": "up", "function": "rate", "range": "1m", "aggregation": "sum", "groupBy": ("a", "cluster")},
            "sum by (a, cluster) (rate(up[1m]))",
        ),
        ({"metric": "http.server", "labels": {"a": "1"}}, '{__name__="http.server",a="1"}'),
    ],
)
def test_fields_are_written_as_promql(fields: dict[str, Any], text: str) -> None:
    assert promql_from(fields) == text
    parse(text)


@pytest.mark.parametrize("value", ['"} or up{a="', "\\", "\n", "`", "\x00", "é🦀", '\\" or 1'])
def test_no_value_becomes_syntax(value: str) -> None:
    expr = parse(promql_from({"metric": "up", "labels": {"a": value}}))
    assert isinstance(expr, VectorSelector)
    assert Matcher("a", MatchOp.EQ, value) in expr.selector.matchers


def test_no_metric_name_becomes_syntax() -> None:
    expr = parse(promql_from({"metric": 'up"} or vector(1) or {a="'}))
    assert isinstance(expr, VectorSelector)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "query"),
        ({"query": "up", "metric": "up"}, "metric"),
        ({"query": "up", "range": "5m"}, "range"),
        ({"labels": {"a": "1"}}, "query"),
        ({"metric": "up", "range": "5m"}, "range"),
        ({"metric": "up", "function": "rate", "range": "0"}, "range"),
        ({"metric": "up", "function": "rate", "range": "soon"}, "range"),
        ({"metric": "up", "groupBy": ("a",)}, "groupBy"),
        ({"metric": "up", "aggregation": "sum", "groupBy": ("a) (",)}, "groupBy"),
        ({"metric": "up", "labels": {'a="1",b': "2"}}, "matchers"),
        ({"metric": "up", "labels": {"__name__": "other"}}, "matchers"),
    ],
)
def test_a_form_that_makes_no_sense_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        promql_from(fields)
    assert caught.value.field == field
