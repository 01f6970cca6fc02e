"""One log line per request, and the trace context that every line and every problem of it carries.

Rule: the line holds ids, status and duration, never a query's text, a parameter or a token.
Source: W3C Trace Context, "traceparent Header".
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import has_request_context, request

from federation_core.structured_logging import bound

_FACTS = "appsentry.log_facts"
# Version ff is forbidden, and so are the all-zero ids.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
#: Probes come every few seconds from several sides and say nothing unless they fail.
_QUIET = frozenset(
    {"/health", "/ready"}
    | {f"{below}/-/{probe}" for below in ("", "/prometheus", "/strict/prometheus") for probe in ("healthy", "ready")}
)

_log = logging.getLogger(__name__)


class RequestLog:
    """WSGI middleware around the whole application."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle one request inside its log context."""
        facts = environ[_FACTS] = {"trace_id": _trace_id_of(environ.get("HTTP_TRACEPARENT", ""))}
        started = time.monotonic()
        answered: list[str] = []

        def note_status(status: str, *args: Any) -> Any:
            answered[:] = [status]
            return start_response(status, *args)

        with bound(trace_id=facts["trace_id"]):
            try:
                return self._application(environ, note_status)
            finally:
                _write_line(environ, int((answered or ["500"])[0].split()[0]), time.monotonic() - started)


def trace_id() -> str:
    """Return the trace id of this request: the caller's, or one of our own where it sent none."""
    return str(request.environ.get(_FACTS, {}).get("trace_id", "")) if has_request_context() else ""


def note(**facts: str) -> None:
    """Add facts such as `query_id` to the line of this request."""
    request.environ.setdefault(_FACTS, {}).update(facts)


def _trace_id_of(traceparent: str) -> str:
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    return found[1] if found else secrets.token_hex(16)


def _write_line(environ: dict[str, Any], status: int, elapsed_s: float) -> None:
    method, path = environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", "")
    level = logging.DEBUG if path in _QUIET and status < 400 else logging.INFO
    facts = {
        **environ[_FACTS],
        "method": method,
        "path": path,
        "status": status,
        "elapsed_ms": round(elapsed_s * 1000),
    }
    facts.pop("trace_id")
    _log.log(level, "%s %s %d", method, path, status, extra=facts)
