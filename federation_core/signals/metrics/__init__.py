"""The metrics signal: everything PromQL.

Rule: the answer to any query is what one Prometheus would give that held every cluster's series, each with its
label `cluster`; what is not in our subset is refused by name.
"""

from __future__ import annotations

from typing import Any

from federation_core.signals import SignalKind
from federation_core.signals.metrics.cadence import advise
from federation_core.signals.metrics.distribute import split
from federation_core.signals.metrics.engines import engine_notes, engine_of
from federation_core.signals.metrics.expr import map_selectors
from federation_core.signals.metrics.frame import size
from federation_core.signals.metrics.kept import keep
from federation_core.signals.metrics.merge import merge
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.signals.metrics.rungs import run
from federation_core.signals.metrics.wire import decode, encode
from federation_core.tenancy import Scope


def redact(payload: Any, scope: Scope, cluster: str) -> tuple[Any, int]:
    """Hide nothing: a metrics scope is enforced in every selector, before anything is read."""
    return payload, 0


KIND = SignalKind(
    name="metrics",
    parse=parse,
    print=to_text,
    map_selectors=map_selectors,
    split=split,
    run=run,
    merge=merge,
    redact=redact,
    size=size,
    encode=encode,
    decode=decode,
    to_json=to_json,
    engine_of=engine_of,
    engine_notes=engine_notes,
    advise=advise,
    keep=keep,
)
