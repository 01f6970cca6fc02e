"""`/api/v1/queries`: submit a query as a job, list jobs, look at one, listen to it, collect, keep and cancel it.

Rule: a job belongs to its tenant. Another tenant's id answers exactly as one that never was.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request

from federation_core import federate
from federation_core.errors import QueryCanceled, QueryNotFound
from federation_core.outcome import Result
from federation_core.query import Query
from webapp import cursors, idempotency
from webapp.answers import event_answer, job_answer, json_answer, paged_answer, result_answer, with_ledger
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.prefer import read_preference
from webapp.schemas.answers import job_json, progress_coverage
from webapp.schemas.documents import JobDocument, JobsDocument, PlanDocument
from webapp.schemas.queries import keep_ms, query_from
from webapp.schemas.requests import Keeping, Listing, Paging, Submission
from webapp.schemas.signal_documents import Answer

blueprint = Operations("queries", __name__, url_prefix="/api/v1", description="Queries as jobs")
_PREFER = {"Prefer": "wait=N holds for the answer up to N seconds; respond-async answers at once (RFC 7240)"}
_ONCE = {
    "Idempotency-Key": 'the same key and body again is the same job: "8e03978e", at most 255 characters'
    " (draft-ietf-httpapi-idempotency-key-header-07)"
}
_NOT_RUN = {422: "the query is not supported, or asks for too much"}
_OUTCOMES = {**_NOT_RUN, 410: "the result is no longer kept", 404: "no such query, or another tenant's"}


@blueprint.operation(
    "POST",
    "/queries",
    body=Submission,
    answers={202: ("the job", JobDocument), 200: ("the answer, if it came within the wait", Answer)},
    faults={
        409: "the first request with this Idempotency-Key is still being accepted",
        422: f"{_NOT_RUN[422]}; or the Idempotency-Key came before with another body",
        429: "the tenant runs too many queries; `Retry-After` says when to try again",
    },
    headers=_PREFER | _ONCE,
    ledger=True,
)
def submit(body: dict[str, Any]) -> Response:
    """Submit a query

    Answers 202 with the job's address, or 200 with the answer if `Prefer: wait=N` is given and it comes in time. The
    same question of the same scope that is in flight is joined: the job is its own, the execution is shared.
    """
    asking, preference = pipeline(), _preference()
    query, key = _query(body), idempotency.read_key(request.headers.get(idempotency.HEADER))
    accepted = idempotency.submit_once(asking, query, scope(), key, body) if key else asking.submit(query, scope())
    result = asking.wait(accepted, preference.wait_ms) if preference.wait_ms else None
    if result is not None:
        response = result_answer(result, accepted.plan, asking.clock() - accepted.created_ms)
    else:
        response = job_answer(asking.job(scope(), accepted.query_id), 202)
    if preference.applied:
        response.headers["Preference-Applied"] = preference.applied
    return response


@blueprint.operation(
    "POST", "/queries:explain", body=Submission, answers={200: ("the plan", PlanDocument)}, faults=_NOT_RUN
)
def explain_unsent(body: dict[str, Any]) -> Response:
    """Plan a query and run nothing

    Shows what each cluster would be asked, what is left to do at the centre, and why a cluster is left out.
    """
    return json_answer(federate.explain(pipeline().plan(_query(body), scope())))


@blueprint.operation("GET", "/queries", parameters=Listing, answers={200: ("jobs, newest first", JobsDocument)})
def list_queries(parameters: dict[str, Any]) -> Response:
    """List the tenant's queries"""
    jobs = pipeline().dispatch.jobs.recent(scope().tenant_id, parameters["limit"])
    return json_answer({"queries": [job_json(job) for job in jobs]})


@blueprint.operation(
    "GET",
    "/queries/<query_id>",
    answers={200: ("the job", JobDocument), 304: ("it is as the ETag says", None)},
    faults=_OUTCOMES,
    headers={"If-None-Match": "the ETag of an earlier answer"},
    ledger=True,
)
def read_job(query_id: str) -> Response:
    """Read a query's state and how far each cluster is"""
    return job_answer(pipeline().job(scope(), query_id))


@blueprint.operation(
    "DELETE",
    "/queries/<query_id>",
    answers={202: ("the job, which is cancelled", JobDocument), 200: ("the job, which had ended before", JobDocument)},
    faults=_OUTCOMES,
    ledger=True,
)
def cancel(query_id: str) -> Response:
    """Cancel a query

    Its clusters stop working on it within a second, unless another query has joined it. Cancelling again does no harm.
    """
    asking = pipeline()
    cancelled = asking.dispatch.withdraw(scope().tenant_id, asking.job(scope(), query_id).query_id)
    return job_answer(asking.job(scope(), query_id), 202 if cancelled else 200)


@blueprint.operation(
    "GET",
    "/queries/<query_id>/events",
    answers={204: ("the event seen was the last", None)},
    streams="server-sent events: `progress` while it runs, `end` as the last; the data of each is the job",
    faults={**_OUTCOMES, 429: "this web process has as many listeners as it serves"},
    headers={"Last-Event-ID": "the id of the newest event that was seen; the stream goes on after it"},
)
def listen(query_id: str) -> Response:
    """Listen to a query

    Every event is the whole state of the job, so nothing is lost with a connection. The stream ends with the job.
    """
    asking = pipeline()
    job = asking.job(scope(), query_id)
    return event_answer(
        asking.watches,
        job,
        request.headers.get("Last-Event-ID", ""),
        overdue_in_s=max(0, job.plan.deadline_ms - asking.clock()) / 1000,
        end_it=lambda: asking.wait(job, 0),
    )


@blueprint.operation(
    "POST",
    "/queries/<query_id>/extend",
    body=Keeping,
    answers={200: ("the job, with `expiresMs`", JobDocument)},
    faults=_OUTCOMES,
    ledger=True,
)
def extend(body: dict[str, Any], query_id: str) -> Response:
    """Keep a query's result for longer

    From now on, or from its end if it still runs; never shorter than before.
    """
    asking = pipeline()
    job = asking.job(scope(), query_id)
    longest_from_ms = asking.clock() if job.state.final else job.plan.deadline_ms
    wanted_ms = keep_ms(body["keep"], job.created_ms, longest_from_ms)
    if not asking.dispatch.jobs.keep(scope().tenant_id, query_id, job.plan.query_id, wanted_ms):
        raise QueryNotFound("there is no such query", query_id=query_id)
    return job_answer(asking.job(scope(), query_id))


@blueprint.operation(
    "GET",
    "/queries/<query_id>/result",
    parameters=Paging,
    answers={200: ("the answer, or a page of it", Answer), 202: ("the job, which still runs", JobDocument)},
    faults={**_OUTCOMES, 499: "the query was cancelled"},
    headers=_PREFER,
    ledger=True,
)
def read_result(parameters: dict[str, Any], query_id: str) -> Response:
    """Collect a query's answer

    Answers 202 with the job while it runs; `Prefer: wait=N` holds for it. A failed query answers with its problem. With
    `limit` the rows come in pages, each with the `cursor` of the next, also as `Link: rel="next"`.
    """
    asking, preference = pipeline(), _preference()
    job = asking.job(scope(), query_id)
    page = _page(parameters, query_id)
    result = None if job.withdrawn else asking.wait(job, preference.wait_ms)
    if preference.wait_ms:
        # Its owner may have cancelled it meanwhile, while others who share the execution went on waiting.
        job = asking.job(scope(), query_id)
    if job.withdrawn:
        error = QueryCanceled("the query was cancelled", query_id=query_id)
        result = Result(query_id, "failed", progress_coverage(job.progress), error=error)
    if result is None:
        response = job_answer(asking.job(scope(), query_id), 202)
    else:
        elapsed_ms = (job.finished_ms or asking.clock()) - job.created_ms
        if page is None or result.error is not None:
            response = result_answer(result, job.plan, elapsed_ms)
        else:
            response = paged_answer(result, job.plan, elapsed_ms, page, asking.signing_key.current)
    if preference.applied:
        response.headers["Preference-Applied"] = preference.applied
    return response


@blueprint.operation(
    "GET", "/queries/<query_id>/explain", answers={200: ("the plan", PlanDocument)}, faults=_OUTCOMES, ledger=True
)
def explain_sent(query_id: str) -> Response:
    """Read the plan of a query that was submitted"""
    job = pipeline().job(scope(), query_id)
    plan = {**federate.explain(job.plan), "queryId": query_id}
    return with_ledger(json_answer(plan), query_id, progress_coverage(job.progress))


def _page(parameters: dict[str, Any], query_id: str) -> cursors.Page | None:
    """Return the page that is asked for; None for everything at once. A limit beside a cursor changes the size."""
    size: int | None = parameters.get("limit")
    if "cursor" not in parameters:
        return cursors.Page(0, size) if size else None
    page = cursors.read_cursor(parameters["cursor"], scope().tenant_id, query_id, pipeline().signing_key.current)
    return cursors.Page(page.first, size or page.size)


def _query(body: dict[str, Any]) -> Query:
    asking = pipeline()
    return query_from(body, body["signal"], body["query"], scope(), asking.settings, asking.clock())


def _preference() -> Any:
    return read_preference(request.headers.get("Prefer", ""), pipeline().settings.max_timeout_ms)
