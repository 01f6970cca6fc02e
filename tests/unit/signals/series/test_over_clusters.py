"""What clusters have, united: as one Prometheus would list it that held every series with its label `cluster`."""

from __future__ import annotations

from itertools import permutations

import pytest

from federation_core.errors import Malformed, UnsupportedQuery, WireVersionMismatch
from federation_core.labels import Labels, Matcher, MatchOp
from federation_core.plan import Shard
from federation_core.query import Deadline
from federation_core.signals.series import KIND, TRUNCATED
from federation_core.signals.series.payload import Fact, Found, Question
from federation_core.tenancy import Scope
from tests.support.sample_store import FAR_DEADLINE, scope_of
from tests.support.series_store import SeriesStore
from tests.unit.signals.series.conftest import answered, query_of, rows_of, told

SHOP = {
    "dev": rows_of('up{job="api"}', 'up{job="web"}', 'http_total{job="web",code="500"}'),
    "prod": rows_of('up{job="api"}', 'up{job="db",zone="a"}'),
    "stage": rows_of(),
}


def test_series_of_all_clusters_carry_the_cluster() -> None:
    assert answered('series {__name__="up",job="api"}', SHOP).rows == tuple(
        rows_of('up{cluster="dev",job="api"}', 'up{cluster="prod",job="api"}')
    )


def test_label_names_are_a_union_with_the_cluster_in_it() -> None:
    assert answered("labels", SHOP).rows == ("__name__", "cluster", "code", "job", "zone")


def test_label_values_are_a_union() -> None:
    assert answered('values "job"', SHOP).rows == ("api", "db", "web")
    assert answered('values "job" {zone="a"} or {code="500"}', SHOP).rows == ("db", "web")


def test_the_values_of_cluster_are_the_clusters_that_have_something() -> None:
    assert answered('values "cluster"', SHOP).rows == ("dev", "prod")
    assert answered('values "cluster" {job="db"}', SHOP).rows == ("prod",)


def test_a_cluster_that_has_nothing_adds_no_label() -> None:
    assert answered("labels", {"stage": []}).rows == ()


def test_several_selectors_are_alternatives() -> None:
    found = answered('series {job="db"} or {code="500"} or {job="db",zone="a"}', SHOP)
    assert [row["cluster"] for row in map(dict, found.rows)] == ["dev", "prod"]  # type: ignore[arg-type]


def test_metadata_that_disagrees_is_all_shown() -> None:
    stores = {
        "dev": SeriesStore(rows_of("up", "x"), {"up": "gauge", "x": "counter"}),
        "prod": SeriesStore(rows_of("up"), {"up": "unknown"}),
        "stage": SeriesStore(rows_of("up"), {"up": "gauge"}),
    }
    assert answered("metadata", stores).rows == (Fact("up", "gauge"), Fact("up", "unknown"), Fact("x", "counter"))


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_a_limit_holds_for_the_union_whoever_sent_what(limit: int) -> None:
    whole = answered("series", SHOP).rows
    assert len(whole) == 5
    for order in permutations(SHOP):
        found, said = told("series", SHOP, limit=limit, order=order)
        assert found.rows == whole[:limit]
        assert (found.more, said) == ((True, (TRUNCATED,)) if limit < 5 else (False, ()))


def test_what_one_cluster_kept_back_is_said_though_the_union_has_no_more() -> None:
    found, said = told("series", {"dev": SHOP["dev"], "stage": []}, limit=2)
    assert (len(found.rows), found.more, said) == (2, True, (TRUNCATED,))


def test_the_first_series_are_those_that_come_first_with_the_cluster_in_them() -> None:
    """Without its cluster `a` alone comes before `a` with `b`; with it, after."""
    store = {"prod": rows_of('up{a="1"}', 'up{a="1",b="2"}')}
    assert answered("series", store, limit=1).rows == tuple(rows_of('up{a="1",b="2",cluster="prod"}'))


class TestConditionsOnTheCluster:
    def test_only_clusters_that_a_selector_accepts_are_asked(self) -> None:
        split = KIND.split(KIND.parse('series {cluster=~"p.*",job="api"}'), query_of(""), ["dev", "prod"])
        assert [leaf.text for leaf in split.leaves["prod"]] == ['series {job="api"}']
        assert split.pruned == {"dev": 'the selectors ask for cluster=~"p.*"'}

    def test_each_cluster_is_asked_by_the_selectors_that_accept_it(self) -> None:
        text = 'values "job" {cluster="dev",code="500"} or {cluster="prod"}'
        split = KIND.split(KIND.parse(text), query_of(""), ["dev", "prod"])
        assert split.leaves["dev"][0].text == 'values "job" {code="500"}'
        assert split.leaves["prod"][0].text == 'values "job" {__name__=~".+"}'
        assert answered(text, SHOP).rows == ("api", "db", "web")

    def test_a_rejected_selector_has_no_answer(self) -> None:
        assert answered('values "cluster" {cluster!="prod"}', SHOP).rows == ("dev",)


#: Backends with a label `cluster` of their own: the same as ours, and another one.
SAME = {"prod": rows_of('up{cluster="prod",job="api"}', 'up{job="db"}')}
OTHER = {"prod": rows_of('up{cluster="eu-1",job="api"}', 'up{cluster="prod",job="db"}', 'up{exported_cluster="x"}')}


class TestALabelClusterOfTheBackend:
    """Its own `cluster` is ours if it says the same, and is set aside if it says something else."""

    def test_the_same_one_is_ours(self) -> None:
        assert answered("labels", SAME).rows == ("__name__", "cluster", "job")
        assert answered('values "cluster"', SAME).rows == ("prod",)
        assert answered("series", SAME).rows == tuple(
            rows_of('up{cluster="prod",job="api"}', 'up{cluster="prod",job="db"}')
        )

    def test_another_one_is_exported(self) -> None:
        assert answered("labels", OTHER).rows == ("__name__", "cluster", "exported_cluster", "job")
        assert answered('values "cluster"', OTHER).rows == ("prod",)
        assert answered('values "exported_cluster"', OTHER).rows == ("eu-1", "x")
        assert answered('series {job="api"}', OTHER).rows == tuple(
            rows_of('up{cluster="prod",exported_cluster="eu-1",job="api"}')
        )

    def test_one_that_no_series_had_before_is_listed(self) -> None:
        store = {"prod": rows_of('up{cluster="eu-1"}')}
        assert answered("labels", store).rows == ("__name__", "cluster", "exported_cluster")
        assert answered('values "cluster"', store).rows == ("prod",)

    def test_conditions_on_the_exported_one_hold(self) -> None:
        assert answered('values "job" {exported_cluster="eu-1"}', OTHER).rows == ("api",)
        assert answered('series {exported_cluster="",job!=""}', OTHER).rows == tuple(
            rows_of('up{cluster="prod",job="db"}')
        )
        with pytest.raises(UnsupportedQuery, match="exported_cluster"):
            answered('metadata {exported_cluster="eu-1"}', OTHER)

    def test_where_there_is_no_other_the_series_are_not_fetched(self) -> None:
        store = SeriesStore(rows_of('up{job="api"}'))
        answered('values "job"', {"prod": store})
        assert [leaf.text.partition(" {")[0] for leaf in store.asked] == ['values "cluster"', 'values "job"']


class TestTrust:
    def test_series_outside_the_scope_are_dropped_and_counted(self) -> None:
        scope = Scope("t", {"prod": (Matcher("namespace", MatchOp.EQ, "shop"),)})
        found = Found(Question.SERIES, tuple(rows_of('up{namespace="shop"}', 'up{namespace="bank"}', "up")))
        kept, hidden = KIND.redact(found, scope, "prod")
        assert (kept.rows, hidden) == (tuple(rows_of('up{namespace="shop"}')), 2)

    def test_a_part_says_nothing_of_another_cluster(self) -> None:
        forged = {"found": Found(Question.VALUES, ("prod", "stage"))}
        assert KIND.merge('values "cluster"', query_of(""), {"dev": forged}, {})[0].rows == ("dev",)
        forged = {"found": Found(Question.SERIES, tuple(rows_of('up{cluster="prod"}')))}
        assert KIND.merge("series", query_of(""), {"dev": forged}, {})[0].rows == tuple(rows_of('up{cluster="dev"}'))

    @pytest.mark.parametrize("payload", [Found(Question.LABELS, ("a",)), "text", None])
    def test_a_part_that_answers_another_question_is_its_clusters_fault(self, payload: object) -> None:
        with pytest.raises(Malformed) as caught:
            KIND.merge("series", query_of(""), {"dev": {"found": payload}}, {})
        assert caught.value.cluster == "dev"

    def test_a_connector_that_answers_something_else_is_malformed(self) -> None:
        class Wrong(SeriesStore):
            def fetch(self, leaf, scope, deadline):  # type: ignore[no-untyped-def]
                answer = super().fetch(leaf, scope, deadline)
                return type(answer)(Found(answer.payload.question, (Labels(),)))

        split = KIND.split(KIND.parse("labels"), query_of(""), ["dev"])
        shard = Shard("q", "dev", "series", split.leaves["dev"], scope_of(["dev"]), FAR_DEADLINE.at_ms)
        with pytest.raises(Malformed, match="no list of values"):
            KIND.run(Wrong(()), shard, Deadline(10**15))


@pytest.mark.parametrize(
    "found",
    [
        Found(Question.SERIES, tuple(rows_of("a", 'b{c="d",e="b"}')), more=True),
        Found(Question.LABELS, ("a", "b")),
        Found(Question.VALUES, ("ü", "")),
        Found(Question.METADATA, (Fact("a", "counter", "Help.", "seconds"),)),
        Found(Question.SERIES),
    ],
)
def test_every_answer_survives_the_wire(found: Found) -> None:
    back = KIND.decode(KIND.encode(found))
    assert back == found
    assert [type(row) for row in back.rows] == [type(row) for row in found.rows]


@pytest.mark.parametrize("data", [b"", b"\x81", b"\xc0", b"\x81\xa4kind\xa7found/0"])
def test_bytes_of_another_release_are_refused(data: bytes) -> None:
    with pytest.raises(WireVersionMismatch):
        KIND.decode(data)


def test_the_native_answer_names_what_it_lists() -> None:
    found = Found(Question.METADATA, (Fact("a", "counter"),))
    assert KIND.to_json(found, query_of("")) == {
        "resultType": "metadata",
        "result": [{"metric": "a", "type": "counter", "help": "", "unit": ""}],
    }
    assert KIND.to_json(Found(Question.SERIES, tuple(rows_of("a"))), query_of(""))["result"] == [{"__name__": "a"}]
    assert [KIND.size(Found(Question.SERIES, tuple(rows_of("a")))), KIND.size(found)] == [(1, 1), (0, 1)]
