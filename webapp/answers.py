"""Answers as HTTP responses: body, coverage, timings, caching.

Rule: whatever belongs to a query says in a header what it rests on, so that a client that never reads the body
still sees a gap.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Response, request

from federation_core.outcome import Coverage, Result
from federation_core.plan import Plan
from webapp import cursors
from webapp.errors import problem
from webapp.events import Snapshot, Watches, stream
from webapp.schemas.answers import coverage_json, job_json, progress_coverage, result_json

if TYPE_CHECKING:
    from federation_core.connectors.stores.jobs import Job

#: How soon a client should look again at a job that runs.
POLL_AFTER_S = 1


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """Return a body as JSON. A float that JSON cannot write is a bug and raises ValueError."""
    text = json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    response = Response(text, status=status, mimetype="application/json")
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization"
    return response


def result_answer(result: Result, plan: Plan, elapsed_ms: int) -> Response:
    """Return a result, or the problem of a failed one; both with the ledger."""
    if result.error is not None:
        members: dict[str, Any] = {"queryId": result.query_id, "coverage": coverage_json(result.coverage)}
        if not {"cluster", "clusters"} & result.error.details.keys():
            members["clusters"] = [row.cluster for row in result.coverage.missing]
        response = problem(result.error, **members)
    else:
        response = json_answer(result_json(result, plan, elapsed_ms))
    return with_ledger(response, result.query_id, result.coverage)


def job_answer(job: Job, status: int = 200) -> Response:
    """Return a job's state; 202 tells where it is and when to look again, 200 can be revalidated."""
    response = json_answer(job_json(job), status)
    if status == 202:
        response.headers["Location"] = f"/api/v1/queries/{job.query_id}"
    if status == 202 or not job.state.final:
        # A job may have ended while it was being accepted: its answer can be collected at once.
        response.headers["Retry-After"] = "0" if job.state.final else str(POLL_AFTER_S)
    if status == 200:
        response.add_etag()
        response.make_conditional(request.environ)
    return with_ledger(response, job.query_id, progress_coverage(job.progress))


def paged_answer(result: Result, plan: Plan, elapsed_ms: int, page: cursors.Page, key: cursors.Key) -> Response:
    """Return one page of a result that did not fail, with the way to the next."""
    body = result_json(result, plan, elapsed_ms)
    following = cursors.cut(body, page)
    if following is not None:
        body["cursor"] = cursors.write_cursor(following, plan.query.tenant_id, result.query_id, key)
    response = json_answer(body)
    if following is not None:
        target = f"/api/v1/queries/{result.query_id}/result?cursor={body['cursor']}"
        response.headers["Link"] = f'<{target}>; rel="next"'
    return with_ledger(response, result.query_id, result.coverage)


def event_answer(
    watches: Watches, job: Job, seen_id: str, *, overdue_in_s: float, end_it: Callable[[], Any]
) -> Response:
    """Return a job's events after the one that was seen; 204 where that was the last, which stops an EventSource.

    Raises QuotaExceeded: this process has as many listeners as it serves.
    """
    now = Snapshot.of(job)
    if now.final and now.id == seen_id:
        return Response(status=204)
    response = Response(mimetype="text/event-stream")
    # A HEAD request gets these headers and no stream: nobody would ever end its listening.
    if request.method == "GET":
        watch = watches.listen(job)
        response.response = stream(watch, seen_id, overdue_in_s, end_it)
        response.call_on_close(lambda: watches.leave(job))
    response.headers["Cache-Control"] = "no-store"
    # A proxy that collects an answer before it passes it on would show every event at the end.
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["X-Query-Id"] = job.query_id
    return response


def with_ledger(response: Response, query_id: str, coverage: Coverage) -> Response:
    """Add the headers that say which query an answer belongs to and what it rests on."""
    response.headers["X-Federation-Coverage"] = coverage.header()
    response.headers["X-Query-Id"] = query_id
    timings = [f"cl-{row.cluster};dur={row.elapsed_ms}" for row in coverage.clusters if row.elapsed_ms is not None]
    if timings:
        response.headers["Server-Timing"] = ", ".join(timings)
    return response
