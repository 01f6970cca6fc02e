"""What is undecided is found in the root, node by node; what is decided in spite of a silent cluster is left alone."""

from __future__ import annotations

import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.parse import parse_root
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.undecided import Undecided
from tests.support.sample_store import query_of

NOW = TimeRange(300_000, 300_000)
CLUSTERS = ["dev", "stage"]


def certain(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the root without what is undecided while `stage` is silent, and what is said of it."""
    split = KIND.split(KIND.parse(text), query_of(text, NOW), CLUSTERS)
    silent = {leaf.id: ("stage",) for leaf in split.leaves.get("stage", ())}
    undecided = Undecided(silent)
    root = parse_root(split.root)
    return to_text(undecided.without(root)), tuple(undecided.said)


def whole(text: str) -> str:
    """Return the root as it is while every cluster answers."""
    return to_text(parse_root(KIND.split(KIND.parse(text), query_of(text, NOW), CLUSTERS).root))


@pytest.mark.parametrize(
    "default",
    [
        'label_replace(vector(0), "cluster", "stage", "", "")',
        'label_join(vector(0), "cluster", "", "x")',
        'count_values("cluster", vector(0))',
        '0 * label_replace(vector(0), "cluster", "stage", "", "")',
    ],
)
def test_a_default_that_is_given_a_cluster_may_hide_behind_a_silent_one(default: str) -> None:
    found, said = certain(f"count by (cluster) (up) or {default}")
    assert found == "leaf:a"
    assert said == (
        "the right side of or is undecided: whether its left side has no series cannot be known without stage",
    )


@pytest.mark.parametrize(
    "text",
    [
        "up or vector(0)",
        'count by (cluster) (up) or label_replace(vector(0), "service", "none", "", "")',
        'sum(up{cluster="dev"}) or vector(0)',
        'absent(up{cluster="dev"})',
        'sum(up) unless on () up{cluster="dev"}',
        'sum(up) + fill_right (0) sum(up{cluster="dev"})',
        "sum(up) or sum(down)",
        "scalar(sum(up)) + max(up)",
        "absent(vector(1))",
    ],
)
def test_what_the_silent_cluster_cannot_change_into_something_is_decided(text: str) -> None:
    assert certain(text) == (whole(text), ())


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ('absent(up{job="a"})', "absent"),
        ("absent_over_time(sum(up)[5m:1m])", "absent_over_time"),
        ("sum(up) unless on () absent(down)", "unless"),
        ("(sum(up) or vector(0)) > 5", "the right side of or"),
        ("max_over_time((sum(up) or on () vector(0))[5m:1m])", "the right side of or"),
        ("sum(up) + fill_left (1) sum(down)", "fill_left"),
        ("sum(up) + fill_right (1) sum(down)", "fill_right"),
    ],
)
def test_a_construct_that_makes_a_sample_of_a_missing_series_is_named(text: str, construct: str) -> None:
    found, (said,) = certain(text)
    assert found != whole(text)
    assert said.startswith(f"{construct} is undecided: ")
    assert said.endswith("cannot be known without stage")


def test_both_fills_are_named_each_by_itself() -> None:
    _, said = certain("sum by (a) (up) + on (a) fill (0) sum by (a) (down)")
    assert [text.split()[0] for text in said] == ["fill_left", "fill_right"]
