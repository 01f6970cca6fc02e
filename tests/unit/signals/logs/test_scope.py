"""Two tenants in one store: no production of the grammar, and no backend, shows one the other's entries."""

from __future__ import annotations

import pytest
from hypothesis import given

from federation_core.errors import ScopeViolation
from federation_core.labels import Matcher, MatchOp
from federation_core.signals.logs import KIND
from federation_core.signals.logs.payload import Entries, Entry
from federation_core.tenancy import enforce, verify
from tests.support.federations import ask, scope_over
from tests.support.log_stores import LogStore, entry
from tests.unit.signals.logs.test_language import queries

MINE = Matcher("namespace", MatchOp.EQ, "mine")
#: Everything that could name, hide or imitate the other tenant's namespace.
ENTRIES = tuple(
    entry(t, line, ordinal, namespace=namespace, app=app, meta_namespace=claimed)
    for t, line in enumerate(("", "error in mine", "namespace=mine", 'a"}b', "\x00"))
    for namespace in ("mine", "other", "mine2", "xmine", "")
    for ordinal, (app, claimed) in enumerate((("a", ""), ("b", "mine"), ("namespace", "other")))
)
HOSTILE = (
    "{}",
    '{namespace="other"}',
    '{namespace=~".*"}',
    '{namespace!="mine"}',
    '{namespace!~"mine"}',
    '{namespace=~"mine|other"}',
    '{namespace=""}',
    '{} | namespace="mine"',
    '{} | namespace="other"',
    '{app="a"} |= "mine" | namespace=~".+"',
    '{app="}namespace=\\"other\\""}',
    '{} != "mine"',
    '{} |~ ".*"',
    '{cluster="prod", namespace="other"}',
)
CONDITIONS = (
    (MINE,),
    (Matcher("namespace", MatchOp.RE, "mine|mi.e"),),
    (Matcher("namespace", MatchOp.NE, "other"), Matcher("namespace", MatchOp.RE, "mine")),
    (MINE, Matcher("app", MatchOp.NE, "a")),
)


def foreign(entries: tuple[Entry, ...]) -> list[Entry]:
    return [e for e in entries if e.labels.get("namespace") != "mine"]


@pytest.mark.parametrize("conditions", CONDITIONS)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_query_shows_another_tenants_entry(text: str, conditions: tuple[Matcher, ...]) -> None:
    result = ask({"prod": LogStore(ENTRIES)}, "logs", text, scope=scope_over(["prod"], *conditions), limit=1000)
    assert foreign(result.payload.entries if result.payload else ()) == []


@given(queries())
def test_no_query_of_the_grammar_shows_another_tenants_entry(query: object) -> None:
    result = ask({"prod": LogStore(ENTRIES)}, "logs", KIND.print(query), scope=scope_over(["prod"], MINE), limit=1000)
    assert foreign(result.payload.entries if result.payload else ()) == []


@given(queries())
def test_enforcing_is_checked_by_the_worker_and_changes_nothing_twice(query: object) -> None:
    scope, text = scope_over(["prod"], MINE), KIND.print(query)
    enforced = enforce(KIND, text, scope, "prod")
    verify(KIND, enforced, scope, "prod")
    assert enforce(KIND, enforced, scope, "prod") == enforced
    if not KIND.parse(text).selector.carries((MINE,)):
        with pytest.raises(ScopeViolation):
            verify(KIND, text, scope, "prod")


def test_a_tenant_sees_all_of_its_own() -> None:
    result = ask({"prod": LogStore(ENTRIES)}, "logs", "{}", scope=scope_over(["prod"], MINE), limit=1000)
    assert len(result.payload.entries) == sum(e.labels.get("namespace") == "mine" for e in ENTRIES)


def test_entries_of_a_backend_that_ignores_the_conditions_are_dropped_and_counted() -> None:
    store = LogStore(ENTRIES, obedient=False)
    result = ask({"prod": store}, "logs", "{}", scope=scope_over(["prod"], MINE), limit=1000)
    hidden = len(foreign(ENTRIES))
    assert foreign(result.payload.entries) == []
    assert result.warnings == (f"cluster prod: {hidden} rows outside this token's scope are not shown",)


def test_conditions_may_differ_between_clusters() -> None:
    scope = scope_over(["prod"], MINE)
    both = type(scope)("team-a", {**scope.allowed, "stage": (Matcher("namespace", MatchOp.EQ, "other"),)})
    result = ask({"prod": LogStore(ENTRIES), "stage": LogStore(ENTRIES)}, "logs", "{}", scope=both, limit=1000)
    seen = {(e.cluster, e.labels.get("namespace")) for e in result.payload.entries}
    assert seen == {("prod", "mine"), ("stage", "other")}


def test_redacting_an_answer_without_conditions_keeps_everything() -> None:
    payload = Entries.of(ENTRIES)
    assert KIND.redact(payload, scope_over(["prod"]), "prod") == (payload, 0)
