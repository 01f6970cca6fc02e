"""Memory of the whole single-machine stack, idle: proportional set size by role, in MB.

The demo is measured, because it is the default stack with one process more (its feeder). It has answered a query of
each kind before, so that nothing is counted as free that the first user would pay for. Shared pages are split
between their users by the kernel (PSS), so the sum is what the machine really loses.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.e2e.command_line import Running, run

BUDGETS = {"stack_idle_mb": 400.0}
#: What a role's command line contains.
_ROLES = {
    "redis": "redis-server",
    "web": "gunicorn",
    "cluster_worker": "workers cluster",
    "merge_worker": "workers merge",
    "feeder": "demo.feeder",
    "supervisor": "webapp.cli demo",
    "guard": "/bin/sh",
}
_QUESTIONS = (
    ("query", "sum by (cluster) (rate(http_requests_total[5m]))", "--from", "-2h"),
    ("logs", "--level", "error"),
    ("traces", "--service", "stock"),
)
_SETTLE_S = 15.0


def pss_mb(pid: int) -> float:
    """Return a process's proportional set size in MB; 0 if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure() -> dict[str, float]:
    """Start the demo, ask it, let it rest, and add up."""
    with tempfile.TemporaryDirectory() as name:
        demo = Running("demo", folder=Path(name))
        try:
            url = demo.url()
            for question in _QUESTIONS:
                done = run(*question, "--server", url, folder=Path(name))
                assert done.returncode == 0, done.stderr
            time.sleep(_SETTLE_S)
            family = demo.family()
            by_role = {
                role: sum(pss_mb(pid) for pid, command in family.items() if part in command)
                for role, part in _ROLES.items()
            }
            total = sum(map(pss_mb, family))
            demo.end()
        finally:
            demo.close()
    return {"stack_idle_mb": round(total, 1), **{f"{role}_mb": round(mb, 1) for role, mb in by_role.items()}}
