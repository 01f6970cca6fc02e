"""What the answers of each signal look like, for the OpenAPI document.

Rule: as in `schemas.documents`; a contract test holds every real answer against these.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from webapp.schemas.documents import CoverageDocument, Int, List, Nested, Str, described, nullable


class Answer(Schema):
    """What every answer has beside its payload."""

    queryId = Str(required=True)
    signal = Str(required=True)
    query = Str(required=True, metadata=described("the text that was run, structured forms written out"))
    status = Str(required=True, metadata={"enum": ["complete", "partial"]})
    coverage = Nested(CoverageDocument, required=True)
    warnings = List(Str(), required=True)
    elapsedMs = Int(required=True)
    cursor = nullable("string", "opens the next page of a result that is read in pages; null on the last and without")


class MetricsAnswer(Answer):
    """Values at one instant or over a range; numbers are texts, as Prometheus writes them."""

    resultType = Str(required=True, metadata={"enum": ["vector", "matrix", "scalar", "string"]})
    result = fields.Raw(
        required=True,
        metadata=described(
            "vector: {metric, value: [seconds, text]}; matrix: {metric, values: […]}; "
            "scalar and string: [seconds, text]",
            type="array",
        ),
    )


class TraceSummary(Schema):
    """A trace that was found."""

    traceId = Str(required=True)
    rootService = nullable("string", "null where the root lies in a cluster that did not answer, or nowhere")
    rootOperation = nullable("string", "as rootService")
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
    skewNano = Str(required=True, metadata=described("what was added to the cluster's clock"))
    status = Str(required=True)
    attributes = fields.Dict(required=True)
    events = List(fields.Dict(), required=True)
    links = List(fields.Dict(), required=True)


class TraceAnswer(Answer):
    """One trace put together from all clusters."""

    traceId = Str(required=True)
    rootService = nullable("string", "null where the root is not there")
    rootOperation = nullable("string", "as rootService")
    startTimeUnixNano = nullable("string", "null where no span is there")
    durationNano = nullable("string", "as startTimeUnixNano")
    clusters = List(Str(), required=True)
    spans = List(Nested(SpanDocument), required=True)
    orphans = List(Str(), required=True, metadata=described("spans whose parent is not there"))


class EntryDocument(Schema):
    """One log line."""

    timeUnixNano = Str(required=True)
    cluster = Str(required=True)
    labels = fields.Dict(keys=Str(), values=Str(), required=True)
    line = Str(required=True)


class LogsAnswer(Answer):
    """Log lines of all clusters in one order."""

    entries = List(Nested(EntryDocument), required=True)
