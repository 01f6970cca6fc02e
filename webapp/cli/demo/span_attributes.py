"""The attributes of simulated spans, by OpenTelemetry's semantic conventions for HTTP, databases and messaging.

Lists are built once and shared by all spans that look alike, which keeps two hours of history cheap: nobody
may change them.
"""

from functools import cache
from typing import Final

from webapp.cli.demo import wording
from webapp.cli.demo.telemetry import Json, attribute

STORE_VERBS: Final = {"postgresql": "SELECT", "mongodb": "find", "redis": "GET"}


@cache
def of_server(operation: str, status: int) -> list[Json]:
    """Return the attributes of a server span."""
    method, _, route = operation.partition(" ")
    attributes = [
        attribute("http.request.method", method),
        attribute("http.route", route),
        attribute("url.scheme", "http"),
        attribute("http.response.status_code", status),
    ]
    return [*attributes, attribute("error.type", str(status))] if status >= 500 else attributes


@cache
def of_client(operation: str, callee: str, status: int) -> list[Json]:
    """Return the attributes of a client span that calls `callee`."""
    method, _, route = operation.partition(" ")
    attributes = [
        attribute("http.request.method", method),
        attribute("url.template", route),
        attribute("server.address", callee),
        attribute("server.port", 8080),
        attribute("http.response.status_code", status),
    ]
    return [*attributes, attribute("error.type", str(status))] if status >= 400 else attributes


@cache
def of_store(store: str, service: str) -> list[Json]:
    """Return the attributes of a database call that `service` makes."""
    return [
        attribute("db.system.name", store),
        attribute("db.namespace", service.replace("-", "_")),
        attribute("db.operation.name", STORE_VERBS[store]),
    ]


@cache
def of_message(topic: str, operation: str) -> list[Json]:
    """Return the attributes of sending or processing a message."""
    return [
        attribute("messaging.system", "kafka"),
        attribute("messaging.destination.name", topic),
        attribute("messaging.operation.type", operation),
    ]


def exception_event(service: str) -> Json:
    """Return the event of the fault of `service`; its time is set by the batch."""
    fault = wording.fault_of(service)
    return {
        "name": "exception",
        "attributes": [
            attribute("exception.type", fault.type),
            attribute("exception.message", fault.message),
            attribute("exception.stacktrace", fault.stacktrace),
        ],
    }
