"""The syntax tree that `/api/v1/parse_query` shows: nothing of a query is missing in it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from flask.testing import FlaskClient

from federation_core.labels import quote
from federation_core.signals.metrics.functions import FUNCTIONS as EVALUATED
from federation_core.signals.metrics.moments import ASKED
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.times import format_duration
from tests.support.random_promql import Queries
from webapp.facades.prometheus_tree import FUNCTIONS, tree_json

API = "/prometheus/api/v1"
WRITTEN = [
    "1", "-1", "--1", "-1 ^ 2", "(-1) ^ 2", "2 ^ 3 ^ 4", "(2 ^ 3) ^ 4", "1 - (2 - 3)", "(1 + 2) * 3", "Inf - -Inf",
    "NaN", "1e300 * 1e-7", "0.1", "'a\\nb'", "x", '{__name__="x",a="b"}', '{a="b",__name__="x"}', '{"odd name"}',
    'x{a!="",b=~"c|d"}',
    "x offset 5m", "x offset -5m", "x @ 5.125", "x @ start()", "x[5m] @ end() offset 1m", "-x", "-(x + 1)", "-(-x)",
    "sum by () (x)", "sum without () (x)", "sum without (a) (x)", "topk by (a) (3, x)", 'count_values("v", x)',
    "quantile(scalar(y), x)", "x[1h:1m]", "(x + y)[1h:]", "(x offset 1m)[1h:1m] offset 1d",
    "max_over_time(sum(x)[1h:1m])",
    "x == bool 1", "x == bool on (a, b) y", "x * ignoring (a) group_left (b) y", "x / on () group_right () y",
    "x and on () y",
    "x unless y or z", "x + fill (0) y", "x + fill_left (-1) fill_right (NaN) y", "1 > bool 2", "x > 1", "time() - x",
    'label_replace(x, "a", "$1", "b", "(.*)")', "pi() * round(x, 5)", "day_of_week()", "x atan2 y",
]  # fmt: skip


def text_of(node: dict[str, Any]) -> str:
    """Write a tree as a query, as whoever draws it does: nothing but what is in the tree, parentheses included."""
    match node["type"]:
        case "numberLiteral":
            return str(node["val"])
        case "stringLiteral":
            return quote(node["val"])
        case "parenExpr":
            return f"({text_of(node['expr'])})"
        case "unaryExpr":
            return node["op"] + text_of(node["expr"])
        case "vectorSelector":
            return _selector(node) + _when(node)
        case "matrixSelector":
            return f"{_selector(node)}[{format_duration(node['range'])}]{_when(node)}"
        case "subquery":
            step = format_duration(node["step"]) if node["step"] else ""
            return f"{text_of(node['expr'])}[{format_duration(node['range'])}:{step}]{_when(node)}"
        case "call":
            return f"{node['func']['name']}({', '.join(map(text_of, node['args']))})"
        case "aggregation":
            inside = [text_of(part) for part in (node["param"], node["expr"]) if part]
            grouping = f" {'without' if node['without'] else 'by'} ({', '.join(node['grouping'])}) "
            return f"{node['op']}{grouping}({', '.join(inside)})"
        case "binaryExpr":
            words = (node["op"], *(["bool"] if node["bool"] else []), *_matching(node["matching"]))
            return " ".join((text_of(node["lhs"]), *words, text_of(node["rhs"])))
    raise AssertionError(node["type"])


def _selector(node: dict[str, Any]) -> str:
    listed = node["matchers"]
    # The name before the braces is listed after what is inside.
    inside = [*listed[-1:], *listed[:-1]] if node["name"] else listed
    return "{" + ",".join(f"{quote(m['name'])}{m['type']}{quote(m['value'])}" for m in inside) + "}"


def _when(node: dict[str, Any]) -> str:
    at = f" @ {node['startOrEnd']}()" if node["startOrEnd"] else ""
    at = f" @ {node['timestamp'] / 1000:.3f}" if node["timestamp"] is not None else at
    return at + (f" offset {format_duration(node['offset'])}" if node["offset"] else "")


def _matching(matching: dict[str, Any] | None) -> Iterator[str]:
    if matching is None:
        return
    grouped = matching["card"] in ("many-to-one", "one-to-many")
    if matching["on"] or matching["labels"] or grouped:
        yield f"{'on' if matching['on'] else 'ignoring'} ({', '.join(matching['labels'])})"
    if grouped:
        side = "group_left" if matching["card"] == "many-to-one" else "group_right"
        yield f"{side} ({', '.join(matching['include'])})"
    for side, value in matching["fillValues"].items():
        if value is not None:
            yield f"fill_{'left' if side == 'lhs' else 'right'} ({value})"


@pytest.mark.parametrize("query", WRITTEN)
def test_what_is_drawn_reads_as_what_was_asked(query: str) -> None:
    expr = parse(query)
    drawn = json.loads(json.dumps(tree_json(expr), allow_nan=False))
    assert to_text(parse(text_of(drawn))) == to_text(expr), text_of(drawn)


def test_that_holds_for_what_nobody_thought_of() -> None:
    drawing = Queries(random.Random(6))
    for _ in range(500):
        expr = parse(drawing.query(4))
        assert to_text(parse(text_of(tree_json(expr)))) == to_text(expr)


def test_functions_are_described_as_the_parser_knows_them() -> None:
    example = {"vector": "x", "matrix": "x[5m]", "scalar": "1", "string": '"a"'}
    assert FUNCTIONS.keys() == EVALUATED.keys() | ASKED.keys()
    for name, told in FUNCTIONS.items():
        known = promql_parser.parse(f"{name}({', '.join(example[kind] for kind in told['argTypes'])})").func
        types = [str(kind).rpartition(".")[2].lower() for kind in known.arg_types]
        assert (told["argTypes"], told["variadic"]) == (types, known.variadic), name
        assert told["returnType"] == str(known.return_type).rpartition(".")[2].lower(), name


def test_it_has_prometheus_shape(client: FlaskClient) -> None:
    fields = {"query": 'sum by (a) (rate(x{b="c"}[5m] offset 1m)) / on (a) group_left () (y)'}
    for answer in (
        client.post(f"{API}/parse_query", data=fields),
        client.get(f"{API}/parse_query", query_string=fields),
    ):
        assert answer.json == {
            "status": "success",
            "data": {
                "type": "binaryExpr",
                "op": "/",
                "bool": False,
                "lhs": {
                    "type": "aggregation",
                    "op": "sum",
                    "param": None,
                    "grouping": ["a"],
                    "without": False,
                    "expr": {
                        "type": "call",
                        "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
                        "args": [
                            {
                                "type": "matrixSelector",
                                "name": "x",
                                "range": 300_000,
                                "offset": 60_000,
                                "matchers": [
                                    {"name": "b", "type": "=", "value": "c"},
                                    {"name": "__name__", "type": "=", "value": "x"},
                                ],
                                "timestamp": None,
                                "startOrEnd": None,
                            }
                        ],
                    },
                },
                "rhs": {
                    "type": "vectorSelector",
                    "name": "y",
                    "offset": 0,
                    "matchers": [{"name": "__name__", "type": "=", "value": "y"}],
                    "timestamp": None,
                    "startOrEnd": None,
                },
                "matching": {
                    "card": "many-to-one",
                    "labels": ["a"],
                    "on": True,
                    "include": [],
                    "fillValues": {"lhs": None, "rhs": None},
                },
            },
        }


@pytest.mark.parametrize(("query", "card"), [("x and y", "many-to-many"), ("x + y", "one-to-one"), ("x + 1", None)])
def test_only_vectors_are_matched(query: str, card: str | None) -> None:
    matching = tree_json(parse(query))["matching"]
    assert (matching and matching["card"]) == card
