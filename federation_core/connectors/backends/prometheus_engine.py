"""Which engine answers behind Prometheus' API, found out once in a while.

Rule: an engine that does not say what it is gets nothing to evaluate; one that cannot be asked is asked again soon.
Prometheus, Thanos and Mimir evaluate with one engine; others speak its language with rules of their own.
Source: the projects' answers to `/api/v1/status/buildinfo`; of VictoriaMetrics also what it keeps of a NaN.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from federation_core.connectors.backends.prometheus_api import PrometheusApi
from federation_core.errors import Malformed, Rejected
from federation_core.query import Deadline
from federation_core.signals.metrics.dialect import UNKNOWN, Dialect

#: How long a finding holds: an upgrade or a replacement is noticed within this time.
_KNOWN_S: Final = 600.0
#: How long until a backend that did not tell is asked again.
_ASK_AGAIN_S: Final = 30.0
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.")
#: The header by which VictoriaMetrics alone is known; the release in its answer is made up, or missing.
_SERVER: Final = "x-server-hostname"
_NO_HEADERS: Final[Mapping[str, str]] = {}
#: What is certain of an engine whose own release does not tell which of Prometheus' it has inside.
_WITHIN_OTHERS = (2, 33)


@dataclass(slots=True)
class EngineFinder:
    """Remembers what a backend said it is; safe to use from several threads, of which two may ask at once."""

    api: PrometheusApi
    clock_s: Callable[[], float] = time.monotonic
    _found: Dialect = UNKNOWN
    _until_s: float = float("-inf")

    def find(self, deadline: Deadline) -> Dialect:
        """Return the dialect of the backend's engine.

        Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked anything now.
        """
        if self.clock_s() < self._until_s:
            return self._found
        try:
            reply = self.api.get("status/buildinfo", (), deadline)
            found, holds_s = dialect_of(reply.data, reply.headers), _KNOWN_S
        except (Malformed, Rejected):
            # Releases from before this path was there, and proxies that do not let it through.
            found, holds_s = UNKNOWN, _ASK_AGAIN_S
        self._found, self._until_s = found, self.clock_s() + holds_s
        return found


def dialect_of(data: Any, headers: Mapping[str, str] = _NO_HEADERS) -> Dialect:
    """Return the dialect of an engine by its build information, and by the headers that came with it.

    >>> dialect_of({"version": "2.42.0", "revision": "x", "goVersion": "go1.19"}).engine
    'Prometheus'
    >>> dialect_of({"version": "2.24.0"}).exact
    False
    """
    if _SERVER in headers:
        # It drops a NaN that is written, and keeps the one that says where a series ended.
        return Dialect("VictoriaMetrics", nan_is_stale=True)
    if not isinstance(data, Mapping):
        return UNKNOWN
    version = _VERSION.match(str(data.get("version", "")))
    # Those that only speak the API name a version that Grafana likes, and nothing that was built.
    if version is None or not data.get("goVersion"):
        return UNKNOWN
    application = str(data.get("application", ""))
    release = (int(version[1]), int(version[2]))
    if "Mimir" in application:
        return Dialect("Mimir", _WITHIN_OTHERS, exact=True, on_grids=True)
    if application not in ("", "Prometheus", "prometheus"):
        return UNKNOWN
    if release < (1, 0):
        return Dialect("Thanos", _WITHIN_OTHERS, exact=True, on_grids=True)
    return Dialect("Prometheus", release, exact=True, on_grids=True)
