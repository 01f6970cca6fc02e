"""What each cluster is asked: the virtual label `cluster` is decided at the centre."""

from __future__ import annotations

import pytest

from federation_core.errors import UnsupportedQuery
from federation_core.plan import Leaf
from federation_core.query import Query, TimeRange
from federation_core.signals.logs import KIND

RANGE = TimeRange(1000, 2000)
CLUSTERS = ("app-prod", "prod", "stage")


def split_of(text: str, **query: object) -> tuple[dict[str, str], dict[str, str]]:
    asked = Query("logs", text, RANGE, "team-a", **query)  # type: ignore[arg-type]
    split = KIND.split(KIND.parse(text), asked, CLUSTERS)
    return {cluster: leaves[0].text for cluster, leaves in split.leaves.items()}, dict(split.pruned)


def test_every_cluster_is_asked_the_whole_query_where_it_names_none() -> None:
    asked, pruned = split_of('{app="a"} |= "x"')
    assert asked == dict.fromkeys(CLUSTERS, '{app="a"} |= "x"')
    assert pruned == {}


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('{cluster="prod", app="a"}', {"prod"}),
        ('{app="a", cluster!="prod"}', {"app-prod", "stage"}),
        ('{cluster=~".*prod", app="a"}', {"app-prod", "prod"}),
        ('{cluster!~".*prod", app="a"}', {"stage"}),
        ('{app="a"} | cluster="stage"', {"stage"}),
        ('{cluster=~".*prod", app="a"} | cluster!="prod"', {"app-prod"}),
        ('{cluster="nowhere", app="a"}', set()),
    ],
)
def test_a_cluster_is_asked_only_if_every_condition_on_it_holds(text: str, asked: set[str]) -> None:
    leaves, pruned = split_of(text)
    assert leaves == dict.fromkeys(asked, '{app="a"}')
    assert set(pruned) == set(CLUSTERS) - asked


def test_a_cluster_left_out_is_told_why() -> None:
    _, pruned = split_of('{cluster="prod"}')
    assert pruned["stage"] == 'the query asks for cluster="prod"'


def test_a_condition_on_exported_cluster_is_refused() -> None:
    for text in ('{exported_cluster="x"}', '{} | exported_cluster="x"'):
        with pytest.raises(UnsupportedQuery) as caught:
            split_of(text)
        assert caught.value.construct == "exported_cluster"


def test_a_leaf_carries_time_limit_and_direction() -> None:
    query = Query("logs", "{}", RANGE, "team-a", limit=7, direction="forward")
    leaf = KIND.split(KIND.parse("{}"), query, ("prod",)).leaves["prod"]
    assert leaf == (Leaf("entries", "{}", RANGE, 7, "forward"),)


def test_a_query_without_a_limit_asks_for_a_hundred_entries() -> None:
    split = KIND.split(KIND.parse("{}"), Query("logs", "{}", RANGE, "team-a"), ("prod",))
    assert split.leaves["prod"][0].limit == 100
