"""`python -m tests.integration.chaos [--queries N] [--seed N] [--wide-area] [--keep FILE]`: by hand, with counts."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from pathlib import Path

from tests.integration.chaos.run import run

_SHOWN = 10


def main() -> int:
    """Run, print what was done and found, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.chaos", description=__doc__)
    parser.add_argument("--queries", type=int, default=500, help="how many queries; default 500")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of faults and clients; default new")
    parser.add_argument("--keep", type=Path, help="write the counts to this file")
    parser.add_argument(
        "--wide-area", action="store_true", help="have the cluster workers behind links, which fail too"
    )
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), asked.queries, asked.seed, wide_area=asked.wide_area)
    text = json.dumps(report.to_json(), indent=1)
    print(text)
    for kind, found in report.wrong.items():
        print(f"{kind}:", *found[:_SHOWN], sep="\n  ")
    if asked.keep:
        asked.keep.write_text(text + "\n")
    return 1 if report.wrong or report.complete_afterwards < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
