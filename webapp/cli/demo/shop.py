"""The simulated shop: telemetry of about 40 services over six clusters, as a function of seed and time.

The clock is cut into slots of five seconds; everything that begins in a slot comes from a generator seeded
by (seed, deployment, slot). Hence any cut of time into stretches gives the same telemetry, history and live
alike, and two shops of one seed agree.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

from webapp.cli.demo import wording
from webapp.cli.demo.incidents import conditions
from webapp.cli.demo.journeys import CONSUMERS, JOURNEYS
from webapp.cli.demo.landscape import PRODUCTION, SITES, Deployment, Pod, deployments
from webapp.cli.demo.samples import Vitals
from webapp.cli.demo.telemetry import Batch, Json
from webapp.cli.demo.walk import Walk

SLOT_MS: Final = 5_000
_SLOT_S: Final = SLOT_MS / 1000
_NS_PER_MS: Final = 1_000_000
# A service that no request reaches writes a line of its own now and then.
_QUIET_LINE_EVERY_SLOTS: Final = 24


class Shop:
    """A shop whose pods all started at `origin_ms` (Unix time): its counters begin there with 0."""

    def __init__(self, seed: int, origin_ms: int) -> None:
        self._seed = seed
        self._origin_ms = origin_ms
        self._deployments = deployments(seed)
        step_ms = {site.name: site.sample_step_ms for site in SITES}
        production_load = next(each.requests_per_s for each in self._deployments if each.name == PRODUCTION)
        self._vitals = [
            (step_ms[pod.cluster], Vitals(pod, origin_ms, seed, max(0.3, each.requests_per_s / production_load)))
            for each in self._deployments
            for pods in each.pods.values()
            for pod in pods
        ]
        self._quiet = {each.name: _quiet_pods(each) for each in self._deployments}

    @property
    def origin_ms(self) -> int:
        """When the shop's pods started (Unix time)."""
        return self._origin_ms

    def emit(self, from_ms: int, to_ms: int) -> Mapping[str, list[Json]]:
        """Return, by cluster, the OTLP requests of all that begins in the slots starting in [from_ms, to_ms).

        A span may end a few seconds after the slot it begins in. A cluster that is silent has no entry.

        Raises:
            ValueError: the stretch begins before the shop does, or ends before it begins.
        """
        if from_ms < self._origin_ms:
            raise ValueError(f"the shop opened at {self._origin_ms} ms; nothing to emit from {from_ms} ms on")
        if to_ms < from_ms:
            raise ValueError(f"a stretch must not end before it begins: from {from_ms} ms to {to_ms} ms")
        batch = Batch()
        for slot in range(-(-from_ms // SLOT_MS), -(-to_ms // SLOT_MS)):
            self._emit_slot(slot, batch)
        return batch.requests()

    def _emit_slot(self, slot: int, batch: Batch) -> None:
        start_ms = slot * SLOT_MS
        now = conditions(start_ms)
        batch.lead_ns, batch.silent = now.clock_lead_ns, now.silent
        for deployment in self._deployments:
            random = Random(f"{self._seed}/{deployment.name}/{slot}")
            names = deployment.journeys
            weights = [JOURNEYS[name].weight for name in names]
            for _ in range(_arrivals(random, deployment.requests_per_s * _SLOT_S)):
                journey = JOURNEYS[random.choices(names, weights)[0]]
                start_ns = start_ms * _NS_PER_MS + int(random.random() * SLOT_MS * _NS_PER_MS)
                Walk(random, deployment, now, batch).run(journey.root, start_ns)
            self._emit_quiet_lines(deployment, slot, batch)
        for step_ms, vitals in self._vitals:
            if start_ms % step_ms == 0:
                vitals.sample(start_ms, batch)

    def _emit_quiet_lines(self, deployment: Deployment, slot: int, batch: Batch) -> None:
        for number, pod in enumerate(self._quiet[deployment.name]):
            if (slot + number) % _QUIET_LINE_EVERY_SLOTS:
                continue
            service = pod.service.name
            body = wording.line(service, "INFO", wording.INFO[service][0], {"count": slot % 37 + 1})
            batch.record(pod, "INFO", wording.severity_number("INFO"), body, slot * SLOT_MS * _NS_PER_MS, None)


def _quiet_pods(deployment: Deployment) -> tuple[Pod, ...]:
    busy = frozenset(CONSUMERS).union(*(JOURNEYS[name].services() for name in deployment.journeys))
    return tuple(pod for name, pods in deployment.pods.items() if name not in busy for pod in pods)


def _arrivals(random: Random, mean: float) -> int:
    """Draw how many requests begin in a slot: a Poisson number, by inversion (the mean is below 1)."""
    chance, count = random.random(), 0
    term = total = 2.718281828459045**-mean
    while chance > total and count < 100:
        count += 1
        term *= mean / count
        total += term
    return count
