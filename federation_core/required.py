"""What a query needs of its clusters, and the refusal where they do not give it.

Rule: where clusters are asked and none answers there is no answer, whatever the query would put up with; of a refusal
that passes, it is said when to ask again. Where none is asked, since none keeps anything so old, the answer is empty
and says so: that is no fault which would pass.
"""

from __future__ import annotations

from federation_core.errors import BreakerOpen, CoverageTooLow, QueryTimeout, Rejected
from federation_core.outcome import Coverage, Verdict
from federation_core.plan import Plan


def require_coverage(plan: Plan, coverage: Coverage) -> None:
    """Refuse an answer that rests on less than its query needs.

    Raises QueryTimeout: nobody answered in time. CoverageTooLow: the requirement is not met; names the clusters.
    """
    query = plan.query
    has_none = {name for name, cut in plan.cuts.items() if cut.from_ms is None}
    silent = [r for r in coverage.missing if r.verdict is not Verdict.PARTIAL and r.cluster not in has_none]
    usable = coverage.asked - has_none - {row.cluster for row in silent}
    if silent and not usable:
        if all(row.verdict is Verdict.TIMED_OUT for row in silent):
            raise QueryTimeout(f"no cluster answered within {query.timeout_ms} ms")
        raise CoverageTooLow(
            "no cluster answered: " + "; ".join(coverage.warnings()),
            clusters=sorted(coverage.asked),
            requirement=str(query.requirement),
            retry_after_s=_retry_after_s(coverage),
        )
    unmet = query.requirement.unmet_by(coverage.asked, coverage.answered, plan.weights)
    if unmet:
        raise CoverageTooLow(
            f"the answer needs {query.requirement} and lacks {', '.join(unmet)}",
            clusters=list(unmet),
            requirement=str(query.requirement),
            retry_after_s=_retry_after_s(coverage),
        )


def _retry_after_s(coverage: Coverage) -> float | None:
    """When the last of the clusters that refused takes shards again, as far as they said."""
    refused = (row.error for row in coverage.missing)
    return max(
        (e.retry_after_s for e in refused if isinstance(e, Rejected | BreakerOpen) and e.retry_after_s), default=None
    )
