"""`/api/v1/queries`: submit a query as a job, list jobs, look at one, collect its result, read its plan.

Rule: a job belongs to its tenant. Another tenant's id answers exactly as one that never was.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request
from werkzeug.exceptions import NotImplemented as NotBuilt

from federation_core.query import Query
from webapp.answers import POLL_AFTER_S, job_answer, json_answer, result_answer, with_ledger
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.prefer import read_preference
from webapp.schemas.answers import job_json, progress_coverage
from webapp.schemas.documents import JobDocument, JobsDocument, PlanDocument
from webapp.schemas.queries import query_from
from webapp.schemas.requests import Listing, Submission
from webapp.schemas.signal_documents import Answer

blueprint = Operations("queries", __name__, url_prefix="/api/v1", description="Queries as jobs")
_PREFER = {"Prefer": "wait=N holds for the answer up to N seconds; respond-async answers at once (RFC 7240)"}
_NOT_RUN = {422: "the query is not supported, or asks for too much"}
_OUTCOMES = {**_NOT_RUN, 410: "the result is no longer kept", 404: "no such query, or another tenant's"}


@blueprint.operation(
    "POST",
    "/queries",
    body=Submission,
    answers={202: ("the job", JobDocument), 200: ("the answer, if it came within the wait", Answer)},
    faults=_NOT_RUN,
    headers=_PREFER,
    ledger=True,
)
def submit(body: dict[str, Any]) -> Response:
    """Submit a query

    Answers 202 with the job's address, or 200 with the answer if `Prefer: wait=N` is given and it comes in time.
    """
    if "Idempotency-Key" in request.headers:
        # Taking the header and not keeping its promise would run a query twice for someone who relies on it.
        raise NotBuilt("Idempotency-Key is not supported yet; send the request without it")
    asking, preference = pipeline(), _preference()
    plan = asking.submit(_query(body), scope())
    result = asking.wait(plan, preference.wait_ms) if preference.wait_ms else None
    if result is not None:
        response = result_answer(result, plan, asking.clock() - plan.created_ms)
    else:
        response = job_answer(asking.job(scope(), plan.query_id), 202)
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
    return json_answer(pipeline().plan(_query(body), scope()).explain())


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
    "GET",
    "/queries/<query_id>/result",
    answers={200: ("the answer", Answer), 202: ("the job, which still runs", JobDocument)},
    faults=_OUTCOMES,
    headers=_PREFER,
    ledger=True,
)
def read_result(query_id: str) -> Response:
    """Collect a query's answer

    Answers 202 with the job while it runs; `Prefer: wait=N` holds for it. A failed query answers with its problem.
    """
    asking, preference = pipeline(), _preference()
    job = asking.job(scope(), query_id)
    result = asking.wait(job.plan, preference.wait_ms)
    if result is None:
        response = job_answer(asking.job(scope(), query_id), 202)
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    else:
        response = result_answer(result, job.plan, (job.finished_ms or asking.clock()) - job.created_ms)
    if preference.applied:
        response.headers["Preference-Applied"] = preference.applied
    return response


@blueprint.operation(
    "GET", "/queries/<query_id>/explain", answers={200: ("the plan", PlanDocument)}, faults=_OUTCOMES, ledger=True
)
def explain_sent(query_id: str) -> Response:
    """Read the plan of a query that was submitted"""
    job = pipeline().job(scope(), query_id)
    return with_ledger(json_answer(job.plan.explain()), query_id, progress_coverage(job.progress))


def _query(body: dict[str, Any]) -> Query:
    asking = pipeline()
    return query_from(body, body["signal"], body["query"], scope().tenant_id, asking.settings, asking.clock())


def _preference() -> Any:
    return read_preference(request.headers.get("Prefer", ""), pipeline().settings.max_timeout_ms)
