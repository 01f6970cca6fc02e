"""Run the benchmarks: `python -m tests.bench [NAME …] [--accept]`.

Each module of this folder with a function `measure() -> dict[str, float]` is one benchmark, run in a process of
its own; its `BUDGETS` (figure → largest value allowed, or smallest where the name ends in `_per_s`) are compared
with what was measured. Figures are kept in `bench/latest.json`; `--accept` also writes `bench/accepted.json`, the
figures later runs are compared with. Absolute times are guides: the machine is shared. Ratios were measured in
pairs within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
KEPT = FOLDER.parents[1] / "bench"
#: No benchmark may run longer than this, seconds.
TIMEOUT_S = 540


def names() -> list[str]:
    """Return the benchmarks that exist."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_") and "def measure(" in p.read_text())


def run_apart(name: str) -> dict[str, Any]:
    """Measure in a fresh process, so that one benchmark's memory and caches do not touch another's."""
    command = [sys.executable, "-m", "tests.bench", "--inside", name]
    started = time.monotonic()
    done = subprocess.run(command, cwd=FOLDER.parents[1], stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        return {"error": f"exit {done.returncode}"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"figures": figures, "took_s": round(time.monotonic() - started, 1)}


def kept(name: str, budget: float, got: float) -> bool:
    """Tell whether a figure is within its budget."""
    return got >= budget if name.endswith("_per_s") else got <= budget


def report(results: dict[str, Any], accepted: dict[str, Any]) -> bool:
    """Print a line per figure; return whether every budget was met."""
    good = True
    for bench, result in results.items():
        if "error" in result:
            print(f"{bench}: {result['error']}")
            good = False
            continue
        budgets: dict[str, float] = getattr(import_module(f"tests.bench.{bench}"), "BUDGETS", {})
        before = accepted.get(bench, {}).get("figures", {})
        for figure, got in result["figures"].items():
            line = f"{bench}.{figure}: {got:.4g}"
            if figure in budgets:
                met = kept(figure, budgets[figure], got)
                good &= met
                line += f"  budget {budgets[figure]:g} {'met' if met else 'MISSED'}"
            if before.get(figure):
                line += f"  ({got / before[figure]:.2f} x the accepted)"
            print(line)
    return good


def main() -> int:
    """Run what is asked for and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; all without")
    parser.add_argument("--accept", action="store_true", help="keep the figures as those later runs compare with")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(import_module(f"tests.bench.{asked.inside}").measure()))
        return 0
    unknown = set(asked.names) - set(names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    results = {name: run_apart(name) for name in asked.names or names()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "commit": commit.stdout.strip()}
    KEPT.mkdir(exist_ok=True)
    latest, accepted = KEPT / "latest.json", KEPT / "accepted.json"
    before = json.loads(accepted.read_text()) if accepted.exists() else {}
    good = report(results, before)
    latest.write_text(json.dumps({**machine, **results}, indent=1) + "\n")
    if asked.accept:
        accepted.write_text(json.dumps({**before, **machine, **results}, indent=1) + "\n")
    print(f"kept in {latest.relative_to(KEPT.parent)}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
