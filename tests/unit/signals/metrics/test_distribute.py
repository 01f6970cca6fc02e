"""The written specification of push-down: before and after, in tests/fixtures/distribute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federation_core.errors import InvalidRequest, QueryTooLarge
from federation_core.query import TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.distribute import RULES
from federation_core.signals.metrics.localise import localise, texts_by_cluster
from federation_core.signals.metrics.parse import parse, parse_root
from federation_core.signals.metrics.printer import to_text
from tests.support.sample_store import query_of

FOLDER = Path(__file__).parents[3] / "fixtures" / "distribute"
CLUSTERS = ("dev", "prod")
RANGE, INSTANT = TimeRange(0, 600_000, 60_000), TimeRange(0, 0)


@dataclass
class Fixture:
    claim: str
    query: str = ""
    root: str = ""
    time_range: TimeRange = RANGE
    leaves: dict[str, dict[str, str]] = field(default_factory=lambda: {cluster: {} for cluster in CLUSTERS})
    pruned: dict[str, str] = field(default_factory=dict)


def fixtures() -> Iterator[Fixture]:
    for path in sorted(FOLDER.glob("*.promql")):
        for block in path.read_text().strip().split("\n\n"):
            lines = block.splitlines()
            fixture = Fixture(f"{path.stem}: {' '.join(line[2:] for line in lines if line.startswith('#'))}")
            for line in lines:
                if not line.startswith("#"):
                    read(fixture, *line.split(": ", 1))
            yield fixture


def read(fixture: Fixture, key: str, value: str) -> None:
    leaf, _, only = key.partition("@")
    match key.split():
        case ["query"]:
            fixture.query = value
        case ["root"]:
            fixture.root = value
        case ["instant"]:
            fixture.time_range = INSTANT
        case ["pruned", cluster]:
            fixture.pruned[cluster] = value
        case [_]:
            for cluster in [only] if only else CLUSTERS:
                fixture.leaves[cluster][leaf] = value


FIXTURES = list(fixtures())


@pytest.mark.parametrize("fixture", FIXTURES, ids=[fixture.claim for fixture in FIXTURES])
def test_query_is_split_as_specified(fixture: Fixture) -> None:
    split = KIND.split(parse(fixture.query), query_of(fixture.query, fixture.time_range), CLUSTERS)
    assert split.root == fixture.root
    asked = {cluster: {leaf.id: leaf.text for leaf in leaves} for cluster, leaves in split.leaves.items()}
    assert asked == {cluster: leaves for cluster, leaves in fixture.leaves.items() if leaves}
    assert split.pruned == fixture.pruned


@pytest.mark.parametrize("fixture", FIXTURES, ids=[fixture.claim for fixture in FIXTURES])
def test_leaves_and_roots_read_back_to_what_was_printed(fixture: Fixture) -> None:
    split = KIND.split(parse(fixture.query), query_of(fixture.query, fixture.time_range), CLUSTERS)
    for leaves in split.leaves.values():
        assert [to_text(parse(leaf.text)) for leaf in leaves] == [leaf.text for leaf in leaves]
    assert to_text(parse_root(split.root)) == split.root


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) > 35


def test_a_leaf_has_the_grid_of_the_query() -> None:
    split = KIND.split(parse("sum(x)"), query_of("sum(x)", RANGE), CLUSTERS)
    assert {leaf.time_range for leaves in split.leaves.values() for leaf in leaves} == {RANGE}


def test_notes_say_for_each_node_where_it_runs_and_why() -> None:
    text = 'avg(x) / on (pod) y{cluster="dev"}'
    notes = KIND.split(parse(text), query_of(text, RANGE), CLUSTERS).notes
    assert notes == (
        'root: avg(x) / on (pod) y{cluster="dev"} (its matching spans clusters)',
        "leaf a, in each cluster: sum(x) (part of avg(x))",
        "leaf b, in each cluster: count(x) (part of avg(x))",
        'leaf c, in each cluster: y{cluster="dev"} (local: every series depends on one cluster alone)',
        "prod is not asked for leaf c: its selectors reject this cluster",
    )


def test_every_node_of_a_chain_at_the_root_is_noted_as_it_is_written() -> None:
    text = "a0 - (sum(a1) * (a2 + sum(a3))) ^ -max(a4) > bool sum(a5) + scalar(a6) or max_over_time((-sum(a7))[5m:1m])"
    notes = KIND.split(parse(text), query_of(text, RANGE), CLUSTERS).notes
    noted = [note.removeprefix("root: ").rpartition(" (")[0] for note in notes if note.startswith("root: ")]
    assert noted[0] == to_text(parse(text))
    assert all(to_text(parse(node)) == node for node in noted)
    assert "a0 - (sum(a1) * (a2 + sum(a3))) ^ (-max(a4))" in noted
    assert "(sum(a1) * (a2 + sum(a3))) ^ (-max(a4))" in noted
    assert "sum(a5) + scalar(a6)" in noted
    assert len(noted) == len(set(noted)) == 12


@pytest.mark.parametrize("text", ['x{cluster=~"p.*"} or y{cluster!="prod"}', 'x{cluster="dev"} + y{cluster!="prod"}'])
def test_a_leaf_has_for_each_cluster_the_text_that_is_made_for_it_alone(text: str) -> None:
    leaf, clusters = parse(text), ("dev", "prod", "prod-eu", "test")
    alone = {cluster: localise(leaf, cluster) for cluster in clusters}
    assert texts_by_cluster(leaf, clusters) == {
        cluster: None if here is None else to_text(here) for cluster, here in alone.items()
    }
    assert len(set(texts_by_cluster(leaf, clusters).values())) > 1


def test_a_range_query_of_a_range_vector_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(InvalidRequest) as caught:
        KIND.split(parse("x[5m]"), query_of("x[5m]", RANGE), CLUSTERS)
    assert caught.value.field == "query"
    assert "rate" in caught.value.expected


def test_more_than_twenty_six_leaves_have_distinct_names() -> None:
    text = " + ".join(f"sum(x{i})" for i in range(60))
    split = KIND.split(parse(text), query_of(text, RANGE), CLUSTERS)
    ids = [leaf.id for leaf in split.leaves["dev"]]
    assert len(set(ids)) == 60
    assert ids[:2] + ids[25:29] == ["a", "b", "z", "aa", "ab", "ac"]


def test_every_rule_is_named_and_explained() -> None:
    assert all(rule.__doc__ for rule in RULES)


@pytest.mark.parametrize(
    "text", ["a" + " ^ -a" * 40, 'x{a="' + "\x01" * 10_000 + '"}', 'avg by ("' + "\x01" * 10_000 + '") (x)']
)
def test_a_query_that_grows_too_large_in_print_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(QueryTooLarge):
        KIND.split(parse(text), query_of(text, RANGE), CLUSTERS)


def test_the_root_of_as_many_averages_as_a_query_may_have_can_be_read() -> None:
    terms = [f"avg(x{i})" for i in range(201)]
    while len(terms) > 1:
        terms = [f"({' + '.join(terms[i : i + 2])})" for i in range(0, len(terms), 2)]
    assert parse_root(KIND.split(parse(terms[0]), query_of(terms[0], RANGE), CLUSTERS).root)
