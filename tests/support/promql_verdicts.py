"""Compares an answer of ours with what a case of Prometheus' scripts expects, as the scripts' own runner does.

Rule: values are equal to 1e-6 of their size, presence and label sets exactly, the order where the script says so.
Annotations count where the script names some, or says that there are none; where it is silent they are not looked at.
Source: promql/promqltest of Prometheus (README.md; the runner's comparison).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from federation_core.errors import FederationError
from federation_core.signals.metrics.frame import Frame, SampleColumns, StringValue
from tests.support.promql_cases import Case, Expected
from tests.support.sample_store import as_dict

#: What an answer of ours is: a payload and its annotations (None: they are not to be looked at), or an error.
Answer = tuple[object, Sequence[str] | None] | FederationError

_PREFIXES = {"warn": "PromQL warning:", "info": "PromQL info:"}
_TOLERANCE = 1e-6


def complaint(case: Case, answer: Answer) -> str:
    """Return what is wrong with an answer; nothing if it is the expected one."""
    expected = case.expected
    if isinstance(answer, FederationError):
        return _about_error(expected, answer)
    payload, annotations = answer
    if expected.fails:
        return f"no error, but {_shown(payload)}"
    return (annotations is not None and _about_annotations(expected, annotations)) or _about_payload(expected, payload)


def _about_error(expected: Expected, error: FederationError) -> str:
    wanted = expected.said.get("fail", [])
    if wanted and all(words.matches(error.message) for words in wanted):
        return ""
    return f"{type(error).__name__}: {error.message}" + (f", wanted {wanted}" if wanted else "")


def _about_annotations(expected: Expected, annotations: Sequence[str]) -> str:
    strange = [text for text in annotations if not text.startswith(tuple(_PREFIXES.values()))]
    if strange:
        return f"annotations of no kind: {strange}"
    for kind, prefix in _PREFIXES.items():
        said = [text for text in annotations if text.startswith(prefix)]
        wanted = expected.said.get(kind, [])
        if said and f"no_{kind}" in expected.said:
            return f"unwanted: {said}"
        missing = [words for words in wanted if not any(map(words.matches, said))]
        if missing:
            return f"no {kind} of {missing} in {said}"
        unasked = [text for text in said if wanted and not any(words.matches(text) for words in wanted)]
        if unasked:
            return f"unwanted: {unasked}"
    return ""


def _about_payload(expected: Expected, payload: object) -> str:
    if _kind(payload) != expected.kind:
        return f"a {_kind(payload)}, not a {expected.kind}: {_shown(payload)}"
    if isinstance(payload, StringValue):
        return "" if payload.text == expected.text else f"{payload.text!r}, not {expected.text!r}"
    assert isinstance(payload, Frame | SampleColumns)
    got, rows = as_dict(payload), expected.rows
    same = got.keys() == rows.keys() and all(
        got[labels].keys() == row.keys() and all(close(got[labels][t], v) for t, v in row.items())
        for labels, row in rows.items()
    )
    if not same:
        return f"got {got}, wanted {rows}"
    if expected.ordered and list(got) != list(rows):
        return f"in order {list(got)}, wanted {list(rows)}"
    return ""


def _kind(payload: object) -> str:
    match payload:
        case Frame(kind=kind, grid=grid):
            # A scalar over a range is a series without labels.
            return kind if grid.is_instant else "vector"
        case SampleColumns():
            return "range vector"
        case StringValue():
            return "string"
    return type(payload).__name__


def _shown(payload: object) -> str:
    return str(as_dict(payload)) if isinstance(payload, Frame | SampleColumns) else repr(payload)


def close(left: float, right: float, tolerance: float = _TOLERANCE) -> bool:
    """Compare as the scripts' own runner does: NaN equals NaN, otherwise relative to the sizes."""
    if np.isnan(left) or np.isnan(right):
        return bool(np.isnan(left) and np.isnan(right))
    if left == right:
        return True
    if np.isinf(left) or np.isinf(right):
        return False
    return abs(left - right) < tolerance * min(abs(left) + abs(right), 1.7e308)


def table(results: Sequence[tuple[str, str]]) -> str:
    """Lay out how often each verdict was given, out of (script, verdict)."""
    counts = Counter(results)
    scripts, verdicts = sorted({script for script, _ in results}), sorted({verdict for _, verdict in results})
    rows = {script: [counts[script, verdict] for verdict in verdicts] for script in scripts}
    rows["all scripts"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [_line("", "evals", *verdicts), *(_line(name, sum(row), *row) for name, row in rows.items())]
    return "\n".join(lines)


def _line(name: str, *cells: object) -> str:
    return f"{name:20}" + "".join(f"{cell:>15}" for cell in cells)
