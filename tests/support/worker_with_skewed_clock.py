"""`worker_with_faults` on a machine whose clock is ahead by TEST_CLOCK_AHEAD_S seconds, for tests.

The clock is changed before anything else is imported, because some hold on to the functions themselves.
"""

from __future__ import annotations

import os
import runpy
import time

_time, _time_ns, _AHEAD_S = time.time, time.time_ns, int(os.environ["TEST_CLOCK_AHEAD_S"])


if __name__ == "__main__":
    time.time = lambda: _time() + _AHEAD_S
    time.time_ns = lambda: _time_ns() + _AHEAD_S * 1_000_000_000
    runpy.run_module("tests.support.worker_with_faults", run_name="__main__")
