"""Random joins: whole frames at once give what matching sample by sample, step after step, gives.

The plain form below is the definition of vector matching in the documentation of Prometheus, written as the loops that
the engine must not have. Every run draws a new seed and names it.
"""

from __future__ import annotations

import operator
import os
import random
from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError
from federation_core.labels import NAME, Labels
from federation_core.signals.metrics.binary import apply_binary
from federation_core.signals.metrics.expr import Binary, Cardinality, Matching, NumberLiteral
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.series import NAME_LABELS
from federation_core.signals.metrics.session import Session
from tests.support.sample_store import as_dict

SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
JOINS, STEPS = 1500, 4
GRID = Grid(0, 1000, STEPS)
OPERATORS: dict[str, Callable[[float, float], float]] = {
    "-": operator.sub,
    ">": operator.gt,
    "==": operator.eq,
    ">=": operator.ge,
}
Vector = dict[Labels, float]


def join_step(node: Binary, left: Vector, right: Vector) -> Vector:
    """Return the join of two vectors at one step."""
    matching = node.matching
    swapped = matching.card == "one-to-many"
    fills = (matching.fill_left, matching.fill_right)
    if not (left and right) and fills == (None, None):
        return {}
    many, one = (right, left) if swapped else (left, right)
    for_many, for_one = fills[::-1] if swapped else fills
    partner: dict[Labels, tuple[Labels, float]] = {}
    for labels, value in one.items():
        if partner.setdefault(key_of(labels, matching), (labels, value)) != (labels, value):
            fail("many-to-many")
    pairs = []
    for labels, value in many.items():
        key = key_of(labels, matching)
        if key in partner:
            pairs.append((key, labels, value, *partner[key]))
        elif for_one is not None:
            pairs.append((key, labels, value, key, for_one))
    matched = {key for key, *_ in pairs}
    if for_many is not None:
        pairs += [(key, key, for_many, *found) for key, found in partner.items() if key not in matched]
    seen: set[tuple[Labels, Labels | None]] = set()
    result: Vector = {}
    for key, mine, my_value, its, its_value in pairs:
        labels = result_labels(node, mine, its)
        told_apart_by = (key, None if matching.card == "one-to-one" else labels)
        if told_apart_by in seen:
            fail("many matches")
        seen.add(told_apart_by)
        first, second = (its_value, my_value) if swapped else (my_value, its_value)
        answer = OPERATORS[node.operator](first, second)
        if node.operator != "-" and not node.returns_bool:
            if not answer:
                continue
            answer = first
        if labels in result:
            fail("same labelset")
        result[labels] = float(answer)
    return result


def key_of(labels: Labels, matching: Matching) -> Labels:
    return labels.only(matching.labels) if matching.on else labels.without((*matching.labels, NAME))


def result_labels(node: Binary, mine: Labels, its: Labels) -> Labels:
    matching = node.matching
    labels = mine.without(NAME_LABELS) if node.operator == "-" or node.returns_bool else mine
    if matching.card == "one-to-one":
        labels = labels.only(matching.labels) if matching.on else labels.without(matching.labels)
    for name in matching.include:
        labels = labels.with_label(name, its.get(name))
    return labels


def fail(why: str) -> NoReturn:
    raise QueryExecutionError(why)


def draw_frame(rng: random.Random) -> Frame:
    """Draw up to six series over four label names, each there at some steps."""
    rows = set()
    for _ in range(rng.randrange(1, 7)):
        drawn = {name: rng.choice(("", "1", "2")) for name in "abc"} | {"__type__": rng.choice(("", "", "gauge"))}
        rows.add(Labels.of({NAME: rng.choice("xxy"), **drawn}))
    labels = tuple(sorted(rows))
    shape = (len(labels), STEPS)
    numbers = np.random.default_rng(rng.randrange(2**32))
    density = rng.choice((0.3, 0.6, 1.0))
    return Frame(labels, GRID, numbers.integers(0, 4, shape).astype(float), numbers.random(shape) < density).pruned()


def draw_join(rng: random.Random) -> Binary:
    on = rng.random() < 0.5
    labels = tuple(rng.sample(("a", "b", "c", "__type__", *((NAME,) if on else ())), rng.randrange(4)))
    card: Cardinality = rng.choice(("one-to-one", "many-to-one", "one-to-many"))
    free = [name for name in ("a", "b", "c", NAME, "__type__") if not (on and name in labels)]
    include = () if card == "one-to-one" else tuple(rng.sample(free, rng.randrange(min(2, len(free)) + 1)))
    fill_left, fill_right = (rng.choice((None, None, 2.0)) for _ in range(2))
    matching = Matching(labels, on, card, include, fill_left, fill_right)
    sign = rng.choice(list(OPERATORS))
    return Binary(sign, NumberLiteral(0), NumberLiteral(0), matching, sign != "-" and rng.random() < 0.3)


def at_step(frame: Frame, step: int) -> Vector:
    rows = zip(frame.labels, frame.values[:, step].tolist(), frame.present[:, step].tolist(), strict=True)
    return {labels: value for labels, value, there in rows if there}


def step_by_step(node: Binary, left: Frame, right: Frame) -> dict[Labels, dict[int, float]] | str:
    rows: dict[Labels, dict[int, float]] = {}
    try:
        for step in range(STEPS):
            for labels, value in join_step(node, at_step(left, step), at_step(right, step)).items():
                rows.setdefault(labels, {})[step * 1000] = value
    except QueryExecutionError:
        return "error"
    return rows


def at_once(node: Binary, left: Frame, right: Frame) -> dict[Labels, dict[int, float]] | str:
    session = Session(NoSource(), 10**6, lambda: None, False)  # type: ignore[arg-type]
    try:
        return as_dict(apply_binary(node, left, right, session))
    except QueryExecutionError:
        return "error"


class NoSource:
    """Nothing is selected here."""


@pytest.mark.parametrize("cells", [8, 1 << 20])
def test_frames_join_as_samples_do(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # However many rows × steps are worked on at once.
    monkeypatch.setattr("federation_core.signals.metrics.matching._CELLS", cells)
    rng = random.Random(SEED)
    kinds: Sequence[str] = [check_one(rng) for _ in range(JOINS)]
    # The net is worth nothing unless answers, empty ones and errors are all there.
    assert min(kinds.count(kind) for kind in ("rows", "nothing", "error")) > JOINS / 20, f"APPSENTRY_SEED={SEED}"


def check_one(rng: random.Random) -> str:
    node, left, right = draw_join(rng), draw_frame(rng), draw_frame(rng)
    wanted = step_by_step(node, left, right)
    got = at_once(node, left, right)
    if got != wanted:
        pytest.fail(f"APPSENTRY_SEED={SEED}: {node}\n{as_dict(left)}\n{as_dict(right)}\ngot {got}\nwanted {wanted}")
    return "error" if wanted == "error" else "rows" if wanted else "nothing"
