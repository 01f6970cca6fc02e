"""Two tenants in one store: no query, no id and no backend shows one the other's spans."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from federation_core.errors import ScopeViolation, TraceNotFound
from federation_core.labels import Matcher, MatchOp
from federation_core.outcome import Result
from federation_core.query import Query, TimeRange
from federation_core.signals.traces import KIND
from federation_core.signals.traces.expr import Expr, SpanSearch
from federation_core.signals.traces.payload import Summaries, Trace
from federation_core.tenancy import enforce, verify
from tests.support.federations import ask, scope_over
from tests.support.spans import SpanStore, span
from tests.unit.signals.traces.test_language import exprs

MINE = Matcher("namespace", MatchOp.EQ, "mine")
BOTH, FOREIGN, OWN = "a" * 32, "b" * 32, "c" * 32


def _spans() -> tuple[object, ...]:
    """A trace of both tenants, one of the other's alone, one of mine alone; the other's texts say `secret`."""
    secret = {"service": "secret", "operation": "secret", "attributes": {"namespace": "mine", "x": "secret", "n": 5}}
    mine = {"service": "web", "namespace": "mine", "attributes": {"x": "y", "n": 5}}
    return (
        span(1, 0, 0, 100, trace_id=BOTH, namespace="other", resource={"team": "other"}, status="error", **secret),
        span(2, 1, 10, 90, trace_id=BOTH, resource={"team": "mine"}, **mine),
        span(3, 2, 20, 80, trace_id=BOTH, namespace="", resource={"namespace": "mine"}, **secret),
        span(1, 0, 0, 100, trace_id=FOREIGN, namespace="other", status_message="secret", **secret),
        span(1, 0, 0, 100, trace_id=OWN, resource={"team": "mine"}, **mine),
    )


SPANS = _spans()
STORE = SpanStore(SPANS)  # type: ignore[arg-type]
HOSTILE = (
    "{}",
    '{ namespace = "other" }',
    '{ namespace =~ ".*" }',
    '{ namespace != "mine" }',
    '{ namespace !~ "mine" }',
    '{ .namespace = "mine" }',
    '{ span.namespace = "mine" }',
    '{ resource.k8s.namespace.name = "other" }',
    '{ service = "secret" }',
    '{ span.x = "secret" && duration > 0ns }',
    "{ status = error }",
    "{ .n = 5 && kind = server }",
    '{ cluster = "prod" && service =~ "sec.*" }',
    '{ name = "} namespace" }',
    BOTH,
    FOREIGN,
    OWN,
)
CONDITIONS = (
    (MINE,),
    (Matcher("namespace", MatchOp.RE, "mine|mi.e"),),
    (Matcher("namespace", MatchOp.NE, "other"),),
    (MINE, Matcher("service", MatchOp.NE, "secret")),
    (Matcher("team", MatchOp.EQ, "mine"),),
)


def shown(result: Result) -> str:
    if result.payload is None:
        return ""
    return json.dumps(KIND.to_json(result.payload, Query("traces", "", TimeRange(0, 1), "t")))


@pytest.mark.parametrize("conditions", CONDITIONS)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_query_shows_another_tenants_span(text: str, conditions: tuple[Matcher, ...]) -> None:
    result = ask({"prod": STORE}, "traces", text, scope=scope_over(["prod"], *conditions), limit=100)
    assert "secret" not in shown(result)
    if isinstance(result.payload, Summaries):
        assert FOREIGN not in [summary.trace_id for summary in result.payload.traces]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_backend_that_ignores_the_conditions_shows_no_more(text: str) -> None:
    store = SpanStore(STORE.spans, obedient=False)
    result = ask({"prod": store}, "traces", text, scope=scope_over(["prod"], MINE), limit=100)
    assert "secret" not in shown(result)


@given(exprs())
def test_no_query_of_the_grammar_shows_another_tenants_span(expr: Expr) -> None:
    result = ask({"prod": STORE}, "traces", KIND.print(expr), scope=scope_over(["prod"], MINE), limit=100)
    assert "secret" not in shown(result)


@given(exprs())
def test_enforcing_is_checked_by_the_worker_and_changes_nothing_twice(expr: Expr) -> None:
    scope, text = scope_over(["prod"], MINE), KIND.print(expr)
    enforced = enforce(KIND, text, scope, "prod")
    verify(KIND, enforced, scope, "prod")
    assert enforce(KIND, enforced, scope, "prod") == enforced
    if isinstance(expr, SpanSearch) and not expr.selector.carries((MINE,)):
        with pytest.raises(ScopeViolation):
            verify(KIND, text, scope, "prod")


@pytest.mark.parametrize("label", ["namespace", "team", "k8s.team", "a b", "span.x", "service"])
def test_a_condition_on_any_label_survives_printing(label: str) -> None:
    scope = scope_over(["prod"], Matcher(label, MatchOp.EQ, 'a"b'))
    verify(KIND, enforce(KIND, "{ duration > 1s }", scope, "prod"), scope, "prod")


@pytest.mark.parametrize("label", ["duration", "status", "kind"])
def test_a_condition_that_cannot_be_expressed_shows_nothing(label: str) -> None:
    scope = scope_over(["prod"], Matcher(label, MatchOp.EQ, "x"))
    for text in ("{}", BOTH):
        assert "web" not in shown(ask({"prod": STORE}, "traces", text, scope=scope))


def test_hidden_spans_of_a_trace_are_counted_and_its_own_are_shown() -> None:
    result = ask({"prod": STORE}, "traces", BOTH, scope=scope_over(["prod"], MINE))
    assert isinstance(result.payload, Trace)
    assert [s.service for s in result.payload.spans] == ["web"]
    assert result.warnings == ("cluster prod: 2 rows outside this token's scope are not shown",)


def test_a_trace_of_which_nothing_is_visible_is_not_found() -> None:
    result = ask({"prod": STORE}, "traces", FOREIGN, scope=scope_over(["prod"], MINE))
    assert isinstance(result.error, TraceNotFound)


def test_a_trace_of_which_nothing_is_visible_is_like_one_that_is_nowhere_also_while_a_cluster_is_silent() -> None:
    scope = scope_over(["prod", "stage"], MINE)
    stores = {"prod": STORE, "stage": STORE}
    hidden, nowhere = (ask(stores, "traces", text, scope=scope, silent=["stage"]) for text in (FOREIGN, "d" * 32))
    assert hidden.warnings == tuple(warning.replace("d" * 32, FOREIGN) for warning in nowhere.warnings)


def test_a_search_that_finds_nothing_counts_nothing_hidden() -> None:
    store = SpanStore(STORE.spans, obedient=False)
    assert ask({"prod": store}, "traces", "{ status = error }", scope=scope_over(["prod"], MINE)).warnings == ()


def test_a_summary_tells_of_visible_spans_only() -> None:
    result = ask({"prod": STORE}, "traces", "{}", scope=scope_over(["prod"], MINE))
    assert isinstance(result.payload, Summaries)
    of_both = next(summary for summary in result.payload.traces if summary.trace_id == BOTH)
    assert (of_both.services, of_both.root, of_both.errors, len(of_both.spans)) == (("web",), None, (), 1)
    assert result.warnings == ("cluster prod: 2 spans outside this token's scope are not counted",)
