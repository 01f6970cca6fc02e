"""What the pods of the simulated shop report about themselves: CPU time, memory, queue depth.

Every value is a closed formula of the moment, so that a counter never depends on what was asked before and
any cut of time gives the same samples. Names and units follow OpenTelemetry's conventions for processes.
"""

from math import cos, pi, sin
from random import Random
from typing import Any, Final

from webapp.cli.demo.journeys import CONSUMERS
from webapp.cli.demo.landscape import Pod
from webapp.cli.demo.telemetry import Batch

_NS_PER_MS: Final = 1_000_000
_MIB: Final = 1 << 20
_CUMULATIVE: Final = 2

_CPU_TIME: Final[dict[str, Any]] = {
    "name": "process.cpu.time",
    "unit": "s",
    "description": "CPU seconds used by the process since it started.",
    "sum": {"aggregationTemporality": _CUMULATIVE, "isMonotonic": True},
}
_MEMORY: Final[dict[str, Any]] = {
    "name": "process.memory.usage",
    "unit": "By",
    "description": "Physical memory in use.",
    "gauge": {},
}
_QUEUE_DEPTH: Final[dict[str, Any]] = {
    "name": "queue.depth",
    "unit": "{message}",
    "description": "Messages that wait for this consumer.",
    "gauge": {},
}


class Vitals:
    """The samples of one pod that started at `start_ms` (Unix time)."""

    def __init__(self, pod: Pod, start_ms: int, seed: int, load: float) -> None:
        """`load` scales the CPU use: 1 where the figures were measured, less in a smaller deployment."""
        random = Random(f"{seed}/{pod.cluster}/{pod.name}")
        self._pod = pod
        self._start_ms = start_ms
        self._cpu_s_per_s = pod.service.cpu_millicores / 1000 * load
        self._memory_bytes = pod.service.memory_mib * _MIB
        self._period_s = random.uniform(900, 2700)
        self._phase = random.uniform(0, 2 * pi)

    def sample(self, at_ms: int, batch: Batch) -> None:
        """Add the pod's samples of the moment `at_ms` to `batch`."""
        start_ns, at_ns = self._start_ms * _NS_PER_MS, at_ms * _NS_PER_MS
        batch.point(self._pod, _CPU_TIME, start_ns, at_ns, self._cpu_s(at_ms))
        wave = sin(2 * pi * at_ms / 1000 / (self._period_s * 2.7) + self._phase)
        memory_bytes = self._memory_bytes * (1 + 0.08 * wave)
        batch.point(self._pod, _MEMORY, start_ns, at_ns, float(round(memory_bytes)))
        if self._pod.service.name in CONSUMERS:
            depth = max(0.0, round(3 + 6 * sin(2 * pi * at_ms / 1000 / self._period_s + self._phase)))
            batch.point(self._pod, _QUEUE_DEPTH, start_ns, at_ns, float(depth))

    def _cpu_s(self, at_ms: int) -> float:
        """Return the integral of a use that swings by half around its mean: it never falls."""
        elapsed_s = (at_ms - self._start_ms) / 1000
        turn = 2 * pi / self._period_s
        swing_s = (cos(self._phase) - cos(turn * elapsed_s + self._phase)) / turn
        return round(self._cpu_s_per_s * (elapsed_s + 0.5 * swing_s), 6)
