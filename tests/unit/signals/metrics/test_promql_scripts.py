"""Prometheus' own PromQL scripts: what is in our subset gives the expected answer, the rest is refused by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from federation_core.errors import FederationError, QuerySyntaxError, UnsupportedQuery
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.parse import parse
from tests.support.promql_cases import Case, cases, close
from tests.support.sample_store import as_dict, evaluate_one

#: The scripts run with an experimental server option, delayed name removal, that a default server does not have:
#: there, and here, two metrics that a function makes equal are an error.
EXPERIMENTAL = {("name_label_dropping", 'sum(rate({env="1"}[10m])) by (env)')}


def outcome(case: Case) -> tuple[str, str]:
    """Return (verdict, detail): ok, wrong, or why the case is outside the subset."""
    try:
        expr = parse(case.query)
    except UnsupportedQuery as exc:
        return "refused", str(exc.construct)
    except QuerySyntaxError as exc:
        return ("ok", "") if case.fails else ("not parsed", exc.message)
    if (case.script, case.query) in EXPERIMENTAL:
        return "beyond", "delayed name removal"
    if case.beyond:
        return "beyond", case.beyond
    wanted = [node.selector for node in selectors(expr)]
    if any(selector.matches(labels) for selector in wanted for labels in case.histograms):
        return "beyond", "native histogram"
    try:
        payload = evaluate_one(case.query, case.series, case.time_range)
    except FederationError as exc:
        return ("ok", "") if case.fails else ("wrong", f"raised {exc!r}")
    if case.fails:
        return "wrong", "should have failed"
    return compare(case, payload)


def compare(case: Case, payload: object) -> tuple[str, str]:
    assert isinstance(payload, Frame)
    got = as_dict(payload)
    times = payload.grid.times_ms.tolist()
    expected = {
        labels: {times[i]: v for i, v in enumerate(values) if v is not None} for labels, values in case.expected.items()
    }
    if None in expected:
        expected = {() if labels is None else labels: row for labels, row in expected.items()}  # type: ignore[misc]
    expected = {labels: row for labels, row in expected.items() if row}
    same = got.keys() == expected.keys() and all(
        got[labels].keys() == row.keys() and all(close(got[labels][t], v) for t, v in row.items())
        for labels, row in expected.items()
    )
    return ("ok", "") if same else ("wrong", f"got {got}, expected {expected}")


def test_every_eval_of_the_subset_gives_the_expected_answer(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [(case, *outcome(case)) for case in cases(test_data / "data" / "promqltest")]
    wrong = [f"{c.script}:{c.line} {c.query}: {detail}" for c, verdict, detail in results if verdict == "wrong"]
    verdicts = Counter(verdict for _, verdict, _ in results)
    constructs = Counter(detail for _, verdict, detail in results if verdict == "refused")
    with capsys.disabled():
        print(f"\npromqltest: {dict(verdicts)}; refused: {dict(constructs.most_common(8))}, …")
    assert wrong == []
    assert verdicts["ok"] > 300
