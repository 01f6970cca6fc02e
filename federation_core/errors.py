"""The errors of the federation: one tree, every class able to cross a process boundary.

    FederationError
    ├── QuerySyntaxError      text does not parse                       (line, column)
    ├── UnsupportedQuery      parses, but is not in our subset          (construct)
    ├── QueryTooLarge         points, range, fan-out, bytes             (limit, asked, allowed)
    ├── QueryExecutionError   an engine refuses to evaluate             (cluster)
    ├── InvalidRequest        a parameter is wrong                      (field, got, expected)
    ├── InvalidConfig         a configuration file is wrong             (file, line)
    ├── Unauthenticated       no token, or a bad one
    ├── ScopeViolation        the token does not reach that far         (cluster)
    ├── QuotaExceeded         tenant over rate or concurrency           (retry_after_s)
    ├── QueryNotFound         unknown, or another tenant's id           (query_id)
    ├── TraceNotFound         every cluster answered "no"               (trace_id)
    ├── IdempotencyConflict   the same key with another body            (key)
    ├── StillAccepting        the same key, its first request under way (key)
    ├── QueryExpired          the owner's job, its result gone          (query_id)
    ├── QueryTimeout          deadline passed, nothing usable
    ├── QueryCanceled         ended by the tenant                       (query_id)
    ├── CoverageTooLow        the coverage requirement is not met       (clusters, requirement)
    ├── MergeConflict         overlapping replicas disagree             (labels)
    ├── StoreUnavailable      Redis does not answer
    ├── BrokerUnavailable     the task queue does not answer
    ├── WireVersionMismatch   two releases that do not understand each other
    ├── InternalError         a bug                                     (error_id)
    └── ClusterError          one cluster's fault; travels inside its partial (cluster)
        ├── Unreachable       no connection, or no such store
        ├── TimedOut          no answer within the cluster's deadline
        ├── Rejected          the backend refuses (credentials, rate)
        ├── Malformed         an answer that cannot be read
        ├── TooLarge          an answer above its cap
        ├── BreakerOpen       its backend fails and is not asked        (retry_after_s)
        └── Unserved          no worker takes the cluster's queue

Rule: an error carries facts in named details, never only prose; `to_wire` and `from_wire` are inverse, so the
class raised on a worker is the class met at the centre. HTTP statuses live in `webapp/errors.py` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class FederationError(Exception):
    """Root of the tree. `details` holds the facts named by `detail_names`; all of them are JSON values."""

    detail_names: ClassVar[tuple[str, ...]] = ()
    #: Whether the same request may succeed if it is sent again later.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        unknown = set(details) - set(self.detail_names)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no detail {', '.join(sorted(unknown))}")
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = {k: v for k, v in details.items() if v is not None}

    def __getattr__(self, name: str) -> Any:
        if name in type(self).detail_names:
            return self.details.get(name)
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_wire, (self.to_wire(),))

    def to_wire(self) -> dict[str, Any]:
        """Return the error as JSON values: `{"error": class, "message": text, "details": {...}}`."""
        return {"error": type(self).__name__, "message": self.message, "details": self.details}


class QuerySyntaxError(FederationError):
    detail_names = ("line", "column")


class UnsupportedQuery(FederationError):
    detail_names = ("construct",)


class QueryTooLarge(FederationError):
    detail_names = ("limit", "asked", "allowed")


class QueryExecutionError(FederationError):
    detail_names = ("cluster",)


class InvalidRequest(FederationError):
    detail_names = ("field", "got", "expected")


class InvalidConfig(FederationError):
    detail_names = ("file", "line")


class Unauthenticated(FederationError):
    pass


class ScopeViolation(FederationError):
    detail_names = ("cluster",)


class QuotaExceeded(FederationError):
    detail_names = ("retry_after_s",)
    retryable = True


class QueryNotFound(FederationError):
    detail_names = ("query_id",)


class TraceNotFound(FederationError):
    detail_names = ("trace_id",)


class IdempotencyConflict(FederationError):
    detail_names = ("key",)


class StillAccepting(FederationError):
    detail_names = ("key",)
    retryable = True


class QueryExpired(FederationError):
    detail_names = ("query_id",)


class QueryTimeout(FederationError):
    retryable = True


class QueryCanceled(FederationError):
    detail_names = ("query_id",)


class CoverageTooLow(FederationError):
    detail_names = ("clusters", "requirement", "retry_after_s")
    retryable = True


class MergeConflict(FederationError):
    detail_names = ("labels",)


class StoreUnavailable(FederationError):
    retryable = True


class BrokerUnavailable(FederationError):
    retryable = True


class WireVersionMismatch(FederationError):
    retryable = True


class InternalError(FederationError):
    detail_names = ("error_id",)


class ClusterError(FederationError):
    """One cluster's fault: never fails a query by itself, becomes a verdict and a warning naming the cluster."""

    detail_names: ClassVar[tuple[str, ...]] = ("cluster",)
    retryable = True


class Unreachable(ClusterError):
    pass


class TimedOut(ClusterError):
    pass


class Rejected(ClusterError):
    detail_names = ("cluster", "retry_after_s")


class Malformed(ClusterError):
    retryable = False


class TooLarge(ClusterError):
    detail_names = ("cluster", "limit", "asked", "allowed")
    retryable = False


class BreakerOpen(ClusterError):
    detail_names = ("cluster", "retry_after_s")


class Unserved(ClusterError):
    pass


def subclasses(root: type[FederationError] = FederationError) -> dict[str, type[FederationError]]:
    """Return every class of the tree by name, the root included."""
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(subclasses(child))
    return found


def from_wire(wire: Mapping[str, Any]) -> FederationError:
    """Rebuild the error that `to_wire` described.

    A class or detail this release does not know becomes `InternalError` with the sender's words, so that a
    newer worker's error is shown rather than lost.
    """
    name, message = str(wire.get("error")), str(wire.get("message", ""))
    cls = subclasses().get(name)
    details = dict(wire.get("details") or {})
    if cls is None or set(details) - set(cls.detail_names):
        return InternalError(f"{name}: {message}")
    return cls(message, **details)
