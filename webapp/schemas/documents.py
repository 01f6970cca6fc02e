"""What answers look like, for the OpenAPI document; the answers themselves are built in `schemas.answers`.

Rule: a contract test holds every real answer against these, so that the document cannot drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from federation_core.connectors.stores.jobs_records import JobState
from federation_core.outcome import Verdict
from webapp.schemas.health import CLUSTER_STATUSES

Str, Int, Bool, List, Nested = fields.String, fields.Integer, fields.Boolean, fields.List, fields.Nested


def described(words: str, **shape: Any) -> dict[str, Any]:
    """Return the metadata of a field: its words, and what its type does not say."""
    return {"description": words, **shape}


def nullable(kind: str, words: str) -> fields.Raw:
    """Return a field that may be null, and what null means."""
    return fields.Raw(required=True, metadata=described(words, type=[kind, "null"]))


def meanings(words: Mapping[str, str]) -> str:
    """Return what each value of an enumeration means, as one text."""
    return "; ".join(f"{value}: {meaning}" for value, meaning in words.items())


class FieldError(Schema):
    """One field that is wrong."""

    field = Str(required=True)
    detail = Str(required=True)
    got = Str()
    expected = Str()
    line = Int(metadata=described("of a syntax error in the query, counted from 1"))
    column = Int()


class LedgerRow(Schema):
    """What one cluster contributed."""

    cluster = Str(required=True)
    verdict = Str(
        required=True,
        metadata=described(
            "what it did",
            enum=[verdict.value for verdict in Verdict],
        ),
    )
    reason = Str(required=True)
    elapsedMs = nullable("integer", "time in the cluster's worker")
    series = Int(required=True)
    rows = Int(required=True)
    bytes = Int(required=True)
    watermarkMs = nullable("integer", "the newest data its store held")
    error = fields.Raw(
        required=True,
        metadata=described(
            "what went wrong",
            type=["object", "null"],
            properties={"class": {"type": "string"}, "detail": {"type": "string"}},
        ),
    )


class CoverageDocument(Schema):
    """What an answer rests on: one row for every cluster of the tenant."""

    asked = List(Str(), required=True)
    answered = List(Str(), required=True, metadata=described("those that answered in full"))
    complete = Bool(required=True, metadata=described("every cluster asked answered in full"))
    clusters = List(Nested(LedgerRow), required=True)


class Problem(Schema):
    """An error, as RFC 9457 has it."""

    type = Str(required=True, metadata=described("where this kind of problem is explained"))
    title = Str(required=True)
    status = Int(required=True)
    detail = Str(required=True)
    instance = Str(required=True, metadata=described("the path that was asked"))
    trace_id = Str(required=True, metadata=described("of the request: the caller's traceparent, or ours"))
    errors = List(Nested(FieldError))
    clusters = List(Str(), metadata=described("the clusters it is about"))
    limit = Str(metadata=described("the limit that was passed, with asked and allowed"))
    queryId = Str()
    errorId = Str(metadata=described("of a bug: the log has it under this id"))
    coverage = Nested(CoverageDocument)


class ProgressRow(Schema):
    """How far one cluster is."""

    cluster = Str(required=True)
    state = Str(required=True, metadata=described("queued, running, or the verdict it ended with"))
    elapsedMs = nullable("integer", "so far, or in the end")
    series = Int(required=True)
    rows = Int(required=True)
    bytes = Int(required=True)
    reason = Str(required=True)


class Links(Schema):
    """Where the rest of a job is."""

    self = Str(required=True)
    result = Str(required=True)
    events = Str(required=True)
    explain = Str(required=True)


class JobDocument(Schema):
    """A query on its way, or ended."""

    queryId = Str(required=True)
    signal = Str(required=True)
    query = Str(required=True)
    state = Str(
        required=True,
        metadata={
            "enum": [state.value for state in JobState],
        },
    )
    require = Str(required=True)
    startTime = Str(required=True)
    endTime = Str(required=True)
    stepMs = Int(required=True)
    createdMs = Int(required=True)
    deadlineMs = Int(required=True)
    finishedMs = nullable("integer", "when it ended")
    expiresMs = nullable("integer", "until when its result is kept, once it has one")
    follows = nullable("string", "the query whose execution it shares, if another asked the same just before")
    lateParts = Int(required=True, metadata=described("parts of clusters that came after the result and are not in it"))
    percent = Int(required=True, metadata=described("of the clusters asked; 100 once there is a result"))
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
    lastSeenMs = nullable("integer", "its last sign of life")
    clockSkewMs = nullable("integer", "how far its clock is ahead of ours")
    missingSinceMs = nullable("integer", "since when no worker serves it; null while one does, and if none ever did")
    reason = Str(required=True, metadata=described("why no worker serves it; empty while one does"))


class ClusterDocument(Schema):
    """One member of the federation."""

    name = Str(required=True)
    environment = Str(required=True)
    region = Str(required=True)
    weight = fields.Float(required=True)
    retentionMs = nullable("integer", "how long back its backends have everything; null where that is not configured")
    backends = fields.Dict(keys=Str(), values=Str(), required=True, metadata=described("signal → kind"))
    worker = Nested(WorkerDocument, required=True)
    status = Str(required=True, metadata=described(meanings(CLUSTER_STATUSES), enum=list(CLUSTER_STATUSES)))
    errors = fields.Dict(
        keys=Str(),
        values=Str(),
        required=True,
        metadata=described("signal → why its backend is not well, in words; `worker` → why no worker serves it"),
    )


class ClustersDocument(Schema):
    """The members that the token opens."""

    clusters = List(Nested(ClusterDocument), required=True)


class HealthDocument(Schema):
    """Whether this process answers, and how it authenticates."""

    status = Str(required=True)
    version = Str(required=True)
    auth = Str(required=True, metadata=described("`token`, or `open on loopback`"))


class ReadyDocument(Schema):
    """Whether queries can be taken."""

    status = Str(required=True)
    clusters = Int(required=True, metadata=described("how many are configured"))
    served = Int(required=True, metadata=described("how many have a living worker"))
