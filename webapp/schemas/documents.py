"""What answers look like, for the OpenAPI document; the answers themselves are built in `schemas.answers`.

Rule: a contract test holds every real answer against these, so that the document cannot drift.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

Str, Int, Bool, List, Nested = fields.String, fields.Integer, fields.Boolean, fields.List, fields.Nested


def _described(words: str, **shape: Any) -> dict[str, Any]:
    return {"description": words, **shape}


def _nullable(kind: str, words: str) -> fields.Raw:
    return fields.Raw(required=True, metadata=_described(words, type=[kind, "null"]))


class FieldError(Schema):
    """One field that is wrong."""

    field = Str(required=True)
    detail = Str(required=True)
    got = Str()
    expected = Str()
    line = Int(metadata=_described("of a syntax error in the query, counted from 1"))
    column = Int()


class LedgerRow(Schema):
    """What one cluster contributed."""

    cluster = Str(required=True)
    verdict = Str(
        required=True,
        metadata=_described(
            "what it did",
            enum=[
                "ok",
                "partial",
                "timed_out",
                "failed",
                "throttled",
                "breaker_open",
                "no_worker",
                "denied",
                "pruned",
                "cached",
            ],
        ),
    )
    reason = Str(required=True)
    elapsedMs = _nullable("integer", "time in the cluster's worker")
    series = Int(required=True)
    rows = Int(required=True)
    bytes = Int(required=True)
    watermarkMs = _nullable("integer", "the newest data its store held")
    error = fields.Raw(
        required=True,
        metadata=_described(
            "what went wrong",
            type=["object", "null"],
            properties={"class": {"type": "string"}, "detail": {"type": "string"}},
        ),
    )


class CoverageDocument(Schema):
    """What an answer rests on: one row for every cluster of the tenant."""

    asked = List(Str(), required=True)
    answered = List(Str(), required=True, metadata=_described("those that answered in full"))
    complete = Bool(required=True, metadata=_described("every cluster asked answered in full"))
    clusters = List(Nested(LedgerRow), required=True)


class Problem(Schema):
    """An error, as RFC 9457 has it."""

    type = Str(required=True, metadata=_described("where this kind of problem is explained"))
    title = Str(required=True)
    status = Int(required=True)
    detail = Str(required=True)
    instance = Str(required=True, metadata=_described("the path that was asked"))
    trace_id = Str(required=True, metadata=_described("of the request: the caller's traceparent, or ours"))
    errors = List(Nested(FieldError))
    clusters = List(Str(), metadata=_described("the clusters it is about"))
    limit = Str(metadata=_described("the limit that was passed, with asked and allowed"))
    queryId = Str()
    errorId = Str(metadata=_described("of a bug: the log has it under this id"))
    coverage = Nested(CoverageDocument)


class Answer(Schema):
    """What every answer has beside its payload."""

    queryId = Str(required=True)
    signal = Str(required=True)
    query = Str(required=True, metadata=_described("the text that was run, structured forms written out"))
    status = Str(required=True, metadata={"enum": ["complete", "partial"]})
    coverage = Nested(CoverageDocument, required=True)
    warnings = List(Str(), required=True)
    elapsedMs = Int(required=True)


class MetricsAnswer(Answer):
    """Values at one instant or over a range; numbers are texts, as Prometheus writes them."""

    resultType = Str(required=True, metadata={"enum": ["vector", "matrix", "scalar"]})
    result = fields.Raw(
        required=True,
        metadata=_described(
            "vector: {metric, value: [seconds, text]}; matrix: {metric, values: […]}; scalar: [seconds, text]",
            type="array",
        ),
    )


class TraceSummary(Schema):
    """A trace that was found."""

    traceId = Str(required=True)
    rootService = _nullable("string", "null where the root lies in a cluster that did not answer, or nowhere")
    rootOperation = _nullable("string", "as rootService")
    startTimeUnixNano = Str(required=True)
    durationNano = Str(required=True)
    spanCount = Int(required=True)
    clusters = List(Str(), required=True)
    services = List(Str(), required=True)


class TracesAnswer(Answer):
    """Traces that were found, newest first."""

    traces = List(Nested(TraceSummary), required=True)


class SpanDocument(Schema):
    """One span; nanoseconds are texts, because they do not fit a JavaScript number."""

    spanId = Str(required=True)
    parentSpanId = Str(required=True)
    cluster = Str(required=True)
    namespace = Str(required=True)
    service = Str(required=True)
    pod = Str(required=True)
    operation = Str(required=True)
    kind = Str(required=True)
    startTimeUnixNano = Str(required=True)
    durationNano = Str(required=True)
    skewNano = Str(required=True, metadata=_described("what was added to the cluster's clock"))
    status = Str(required=True)
    attributes = fields.Dict(required=True)
    events = List(fields.Dict(), required=True)
    links = List(fields.Dict(), required=True)


class TraceAnswer(Answer):
    """One trace put together from all clusters."""

    traceId = Str(required=True)
    rootService = _nullable("string", "null where the root is not there")
    rootOperation = _nullable("string", "as rootService")
    startTimeUnixNano = _nullable("string", "null where no span is there")
    durationNano = _nullable("string", "as startTimeUnixNano")
    clusters = List(Str(), required=True)
    spans = List(Nested(SpanDocument), required=True)
    orphans = List(Str(), required=True, metadata=_described("spans whose parent is not there"))


class EntryDocument(Schema):
    """One log line."""

    timeUnixNano = Str(required=True)
    cluster = Str(required=True)
    labels = fields.Dict(keys=Str(), values=Str(), required=True)
    line = Str(required=True)


class LogsAnswer(Answer):
    """Log lines of all clusters in one order."""

    entries = List(Nested(EntryDocument), required=True)
    cursor = _nullable("string", "where the next page begins")


class ProgressRow(Schema):
    """How far one cluster is."""

    cluster = Str(required=True)
    state = Str(required=True, metadata=_described("queued, running, or the verdict it ended with"))
    elapsedMs = _nullable("integer", "so far, or in the end")
    series = Int(required=True)
    rows = Int(required=True)
    bytes = Int(required=True)
    reason = Str(required=True)


class Links(Schema):
    """Where the rest of a job is."""

    self = Str(required=True)
    result = Str(required=True)
    explain = Str(required=True)


class JobDocument(Schema):
    """A query on its way, or ended."""

    queryId = Str(required=True)
    signal = Str(required=True)
    query = Str(required=True)
    state = Str(
        required=True,
        metadata={
            "enum": ["queued", "running", "merging", "complete", "partial", "failed", "cancelled", "expired"],
        },
    )
    require = Str(required=True)
    startTime = Str(required=True)
    endTime = Str(required=True)
    stepMs = Int(required=True)
    createdMs = Int(required=True)
    deadlineMs = Int(required=True)
    finishedMs = _nullable("integer", "when it ended")
    percent = Int(required=True, metadata=_described("of the clusters asked; 100 once there is a result"))
    progress = List(Nested(ProgressRow), required=True)
    links = Nested(Links, required=True)


class JobsDocument(Schema):
    """The tenant's queries, newest first."""

    queries = List(Nested(JobDocument), required=True)


class PlanDocument(Schema):
    """How a query is answered: what each cluster is asked, what is left to do, who is left out and why."""

    queryId = Str(required=True)
    signal = Str(required=True)
    query = Str(required=True)
    fingerprint = Str(required=True)
    root = Str(required=True)
    notes = List(Str(), required=True)
    shards = List(fields.Dict(), required=True)
    leftOut = List(fields.Dict(), required=True)
    require = Str(required=True)
    timeoutMs = Int(required=True)


class WorkerDocument(Schema):
    """The worker that serves a cluster's queue."""

    alive = Bool(required=True)
    lastSeenMs = _nullable("integer", "its last sign of life")
    clockSkewMs = _nullable("integer", "how far its clock is ahead of ours")


class ClusterDocument(Schema):
    """One member of the federation."""

    name = Str(required=True)
    environment = Str(required=True)
    region = Str(required=True)
    weight = fields.Float(required=True)
    retentionMs = Int(required=True)
    backends = fields.Dict(keys=Str(), values=Str(), required=True, metadata=_described("signal → kind"))
    worker = Nested(WorkerDocument, required=True)


class ClustersDocument(Schema):
    """The members that the token opens."""

    clusters = List(Nested(ClusterDocument), required=True)


class HealthDocument(Schema):
    """Whether this process answers, and how it authenticates."""

    status = Str(required=True)
    version = Str(required=True)
    auth = Str(required=True, metadata=_described("`token`, or `open on loopback`"))


class ReadyDocument(Schema):
    """Whether queries can be taken."""

    status = Str(required=True)
    clusters = Int(required=True, metadata=_described("how many are configured"))
    served = Int(required=True, metadata=_described("how many have a living worker"))
