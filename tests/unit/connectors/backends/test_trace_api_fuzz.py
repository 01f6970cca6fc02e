"""Whatever a trace backend answers, what comes out is traces or a ClusterError, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.jaeger import Jaeger
from federation_core.connectors.backends.jaeger_api import JaegerApi
from federation_core.connectors.backends.tempo import Tempo
from federation_core.connectors.backends.tempo_api import TempoApi
from federation_core.connectors.http import Answer
from federation_core.errors import ClusterError
from federation_core.plan import Leaf
from federation_core.query import TimeRange
from federation_core.signals.traces.encoding import encode
from federation_core.signals.traces.payload import TracePart
from tests.support.sample_store import FAR_DEADLINE, scope_of

TRACE = "ab" * 16
SCOPE = scope_of(["prod"])
LEAVES = (Leaf("t", TRACE, TimeRange(0, 10_000)), Leaf("t", '{ span.x = "a" }', TimeRange(0, 10_000), 2))


@dataclass
class Unwired:
    """Stands for the HTTP client: everything but the sockets is real."""

    answer: Answer
    cluster: str = "prod"

    def ask(self, *asked: Any, **named: Any) -> Answer:
        return self.answer


NAMES = """
trace resourceSpans batches traces traceID metrics totalJobs completedJobs status message tagValues type value
data errors error result services spans processes scopeSpans resource attributes traceId spanId startTimeUnixNano key
""".split()  # noqa: SIM905
whole_span = {"traceId": TRACE, "spanId": "cd" * 8, "startTimeUnixNano": "5000000000", "endTimeUnixNano": "6000000000"}
jaeger_span = {"traceID": TRACE, "spanID": "cd" * 8, "startTime": 5_000_000, "duration": 1, "processID": "p"}
good = st.sampled_from(
    [
        [{"scopeSpans": [{"spans": [whole_span]}]}],
        [{"spans": [jaeger_span], "processes": {"p": {"serviceName": "web"}}}],
        [{"traceID": TRACE}],
        ["web"],
        TRACE,
        "PARTIAL",
    ]
)
json_values = st.recursive(
    good | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=10,
)
bodies = json_values.map(orjson.dumps) | st.binary(max_size=40) | json_values.map(lambda v: orjson.dumps(v)[:-3])
answers = st.builds(Answer, st.sampled_from([200, 200, 200, 404, 400, 401, 429, 500, 302, 99]), st.just({}), bodies)


def ask_everything(connector: Tempo | Jaeger) -> None:
    for leaf in LEAVES:
        try:
            payload = connector.fetch(leaf, SCOPE, FAR_DEADLINE).payload
        except ClusterError as error:
            assert error.cluster == "prod"  # noqa: PT017
            continue
        for part in [payload] if isinstance(payload, TracePart) else payload.parts:
            encode(part)
    for call in (connector.inventory, connector.ping):
        try:
            call(FAR_DEADLINE)
        except ClusterError as error:
            assert error.cluster == "prod"  # noqa: PT017


@settings(max_examples=300, deadline=None)
@given(answers)
def test_tempo(answer: Answer) -> None:
    ask_everything(Tempo("prod", TempoApi(Unwired(answer))))  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(answers, st.sampled_from([None, 1, 3]))
def test_jaeger(answer: Answer, version: Any) -> None:
    ask_everything(Jaeger("prod", JaegerApi(Unwired(answer), version)))  # type: ignore[arg-type]
