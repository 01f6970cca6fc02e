"""Simulates single requests: walks a call tree and leaves the spans and log lines its services would.

A visit is one call of a service: a server span, the spans within it, a client span around each further call,
and log lines with the ids of the server span. Calls run one after another; a failed call fails its caller
unless the callee is optional. All chance comes from the generator handed in, so equal seeds give equal spans.
"""

from collections.abc import Mapping
from random import Random
from typing import Final, NamedTuple

from webapp.cli.demo import span_attributes, wording
from webapp.cli.demo.incidents import Conditions
from webapp.cli.demo.journeys import TOPICS, Call, Topic
from webapp.cli.demo.landscape import Deployment, Pod
from webapp.cli.demo.services import SERVICES, Service
from webapp.cli.demo.telemetry import Batch, Json, attribute

_NS_PER_MS: Final = 1_000_000
# Numbers of OTLP's enumeration SpanKind.
_INTERNAL, _SERVER, _CLIENT, _PRODUCER, _CONSUMER = 1, 2, 3, 4, 5
# The share of calls that fail by themselves on a good day.
_FAILS: Final = 0.0015
# The way between two pods, one direction, measured as half of client span minus server span.
_WIRE_MS: Final = (0.6, 1.4, 4.0)
_UNSET: Final[Json] = {}
_ERROR: Final[Json] = {"code": 2}


class _Outcome(NamedTuple):
    end_ns: int
    status: int


class Walk:
    """The walk of one request through a deployment."""

    def __init__(self, random: Random, deployment: Deployment, now: Conditions, batch: Batch) -> None:
        self._random = random
        self._deployment = deployment
        self._now = now
        self._batch = batch
        self._trace_id = self._new_trace_id()
        self._facts: Mapping[str, object] = {}
        self._sent: list[tuple[Topic, str, str, int]] = []

    def run(self, root: Call, start_ns: int) -> None:
        """Simulate the request `root` from `start_ns` (Unix time) on, and the messages it sends."""
        random = self._random
        self._facts = {
            "operation": root.operation,
            "customer": f"c-{random.randrange(10_000, 99_999)}",
            "order": f"o-{random.getrandbits(32):08x}",
            "sku": f"sku-{random.randrange(1_000, 9_999)}",
            "amount": f"{random.randrange(490, 29_900) / 100:.2f} EUR",
            "count": random.randrange(1, 40),
            "ms": random.randrange(20, 900),
        }
        self._visit(root, "", start_ns)
        for topic, trace_id, span_id, sent_ns in self._sent:
            for consumer in topic.consumers:
                self._consume(topic, consumer, {"traceId": trace_id, "spanId": span_id}, sent_ns)

    def _visit(self, call: Call, parent_id: str, start_ns: int) -> _Outcome:
        random = self._random
        pod = self._pod(call.service)
        service = pod.service
        span_id = self._new_span_id()
        own_ns = self._own_ns(pod)
        at_ns = start_ns + own_ns * 3 // 10
        if service.store:
            self._ask_store(pod, span_id, start_ns + own_ns // 20, start_ns + own_ns // 4)
        status, reason = self._own_status(pod)
        if status == 200:
            at_ns, status, reason = self._call_others(pod, span_id, call, at_ns)
        end_ns = at_ns + own_ns * 7 // 10
        if status == 200 and call.service in wording.WORK:
            self._work(pod, span_id, end_ns - own_ns * 3 // 5, end_ns - own_ns // 10)
        topic = TOPICS.get(call.service)
        if topic is not None and status == 200:
            self._send(pod, span_id, topic, end_ns - own_ns // 5)
        span: Json = {
            "traceId": self._trace_id,
            "spanId": span_id,
            "parentSpanId": parent_id,
            "name": call.operation,
            "kind": _SERVER,
            "attributes": span_attributes.of_server(call.operation, status),
            "status": _ERROR if status >= 500 else _UNSET,
        }
        if status >= 500 and not reason:
            span["events"] = [span_attributes.exception_event(call.service)]
        if not parent_id:
            span["attributes"] = [*span["attributes"], attribute("enduser.id", str(self._facts["customer"]))]
        self._batch.span(pod, span, start_ns, end_ns)
        self._log_visit(pod, span_id, start_ns, end_ns, status, reason)
        return _Outcome(end_ns + int(random.random() * 20_000), status)

    def _call_others(self, pod: Pod, span_id: str, call: Call, at_ns: int) -> tuple[int, int, str]:
        """Make all calls of a visit; return when they end, and the status and reason of what stopped it."""
        random = self._random
        for other in call.calls:
            times = int(other.mean_calls)
            times += random.random() < other.mean_calls - times
            for _ in range(times):
                client_id = self._new_span_id()
                outcome = self._visit(other, client_id, at_ns + self._wire_ns())
                end_ns = outcome.end_ns + self._wire_ns()
                bad = outcome.status >= 400
                span: Json = {
                    "traceId": self._trace_id,
                    "spanId": client_id,
                    "parentSpanId": span_id,
                    "name": other.operation.partition(" ")[0],
                    "kind": _CLIENT,
                    "attributes": span_attributes.of_client(other.operation, other.service, outcome.status),
                    "status": _ERROR if bad else _UNSET,
                }
                self._batch.span(pod, span, at_ns, end_ns)
                at_ns = end_ns + 50_000 + int(random.random() * 300_000)
                if not bad:
                    continue
                if SERVICES[other.service].optional:
                    self._log(pod, "WARN", wording.WITHOUT, span_id, end_ns, callee=other.service)
                    continue
                self._log(
                    pod, "ERROR" if outcome.status >= 500 else "WARN", wording.CALL_FAILED, span_id, end_ns,
                    callee=other.service, status=outcome.status,
                )  # fmt: skip
                return at_ns, 502 if outcome.status >= 500 else outcome.status, other.service
        return at_ns, 200, ""

    def _own_status(self, pod: Pod) -> tuple[int, str]:
        service = pod.service
        chance = self._random.random()
        if chance < self._now.failing.get((pod.cluster, service.name), _FAILS):
            return 503, ""
        return (401, "") if chance > 1 - service.refuses else (200, "")

    def _ask_store(self, pod: Pod, parent_id: str, start_ns: int, end_ns: int) -> None:
        store = pod.service.store
        span: Json = {
            "traceId": self._trace_id,
            "spanId": self._new_span_id(),
            "parentSpanId": parent_id,
            "name": f"{span_attributes.STORE_VERBS[store]} {pod.service.name}",
            "kind": _CLIENT,
            "attributes": span_attributes.of_store(store, pod.service.name),
            "status": _UNSET,
        }
        self._batch.span(pod, span, start_ns, end_ns)

    def _work(self, pod: Pod, parent_id: str, start_ns: int, end_ns: int) -> None:
        """Leave the internal span of what a service does with the answers it has."""
        span: Json = {
            "traceId": self._trace_id,
            "spanId": self._new_span_id(),
            "parentSpanId": parent_id,
            "name": wording.WORK[pod.service.name],
            "kind": _INTERNAL,
            "attributes": [],
            "status": _UNSET,
        }
        self._batch.span(pod, span, start_ns, end_ns)

    def _send(self, pod: Pod, parent_id: str, topic: Topic, at_ns: int) -> None:
        span_id = self._new_span_id()
        span: Json = {
            "traceId": self._trace_id,
            "spanId": span_id,
            "parentSpanId": parent_id,
            "name": f"send {topic.name}",
            "kind": _PRODUCER,
            "attributes": span_attributes.of_message(topic.name, "send"),
            "status": _UNSET,
        }
        end_ns = at_ns + 300_000 + int(self._random.random() * 500_000)
        self._batch.span(pod, span, at_ns, end_ns)
        self._sent.append((topic, self._trace_id, span_id, end_ns))

    def _consume(self, topic: Topic, consumer: str, link: Json, sent_ns: int) -> None:
        """Simulate the work on a message: a trace of its own, linked to the span that sent the message."""
        if consumer not in self._deployment.pods:
            return
        pod = self._pod(consumer)
        self._trace_id = self._new_trace_id()
        span_id = self._new_span_id()
        start_ns = sent_ns + int((20 + 400 * self._random.random()) * _NS_PER_MS)
        own_ns = self._own_ns(pod)
        if pod.service.store:
            self._ask_store(pod, span_id, start_ns + own_ns // 5, start_ns + own_ns // 2)
        span: Json = {
            "traceId": self._trace_id,
            "spanId": span_id,
            "name": f"process {topic.name}",
            "kind": _CONSUMER,
            "attributes": span_attributes.of_message(topic.name, "process"),
            "status": _UNSET,
            "links": [link],
        }
        self._batch.span(pod, span, start_ns, start_ns + own_ns)
        self._log_visit(pod, span_id, start_ns, start_ns + own_ns, 200, "")

    def _log_visit(self, pod: Pod, span_id: str, start_ns: int, end_ns: int, status: int, reason: str) -> None:
        service, random = pod.service, self._random
        texts = wording.INFO[service.name]
        # What a service says about its work it says when the work is done.
        wanted = service.info_lines if status < 400 else 0.0
        count = int(wanted) + (random.random() < wanted - int(wanted))
        first = int(random.random() * len(texts))
        for number in range(count):
            at_ns = start_ns + (end_ns - start_ns) * (number + 1) // (count + 1)
            self._log(pod, "INFO", texts[(first + number) % len(texts)], span_id, at_ns)
        if service.warn_lines and random.random() < service.warn_lines:
            self._log(pod, "WARN", wording.WARN[service.name], span_id, end_ns)
        if status >= 500 and not reason:
            self._log(pod, "ERROR", wording.FAILED, span_id, end_ns, reason=wording.fault_of(service.name).stacktrace)
        elif status >= 400 and not reason:
            self._log(pod, "WARN", wording.REFUSED, span_id, end_ns)

    def _log(self, pod: Pod, level: str, text: str, span_id: str, at_ns: int, **more: object) -> None:
        body = wording.line(pod.service.name, level, text, self._facts, **more)
        self._batch.record(pod, level, wording.severity_number(level), body, at_ns, (self._trace_id, span_id))

    def _pod(self, service: str) -> Pod:
        pods = self._deployment.pods[service]
        return pods[0] if len(pods) == 1 else pods[int(self._random.random() * len(pods))]

    def _own_ns(self, pod: Pod) -> int:
        service: Service = pod.service
        own_ms = service.latency.at(self._random.random())
        return int(own_ms * self._now.slowdowns.get((pod.cluster, service.name), 1.0) * _NS_PER_MS)

    def _wire_ns(self) -> int:
        low, usual, high = _WIRE_MS
        chance = self._random.random()
        way_ms = low + (usual - low) * chance * 2 if chance < 0.5 else usual + (high - usual) * (chance * 2 - 1) ** 4
        return int(way_ms * _NS_PER_MS)

    def _new_trace_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _new_span_id(self) -> str:
        return f"{self._random.getrandbits(64):016x}"
