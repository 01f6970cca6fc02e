"""The configuration of the demo: a `clusters.yaml` naming the six clusters and their embedded stores.

The file is what a user would write by hand (docs/operations.md), so the demo runs the same way as any other
configuration: nothing of the stack knows that a shop is simulated.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from federation_core.times import format_duration
from webapp.cli.demo.landscape import SITES

FILE_NAME: Final = "clusters.yaml"
# The feeder makes this file once the history is written.
HISTORY_DONE: Final = "history.done"
# What the demo keeps: more than the two hours it begins with, and little enough for any disk.
RETENTION_MS: Final = 3 * 3_600_000
_SIGNALS: Final = ("metrics", "traces", "logs", "inventory")


def store_paths(directory: Path) -> dict[str, Path]:
    """Return where each cluster's embedded store lies below `directory`."""
    return {site.name: directory / "data" / site.name for site in SITES}


def write_config(directory: Path, stores: Mapping[str, Path] | None = None, retention_ms: int = RETENTION_MS) -> Path:
    """Write `clusters.yaml` into `directory`, which is made if it is missing, and return the file's path.

    Args:
        stores: the store of every cluster; without it those of `store_paths`. One inside `directory` is
            written relative to it, so that the whole folder can be moved.
        retention_ms: what the clusters keep; of a query that reaches further back they are asked the newer part.

    Raises:
        ValueError: a cluster of the demo has no store.
    """
    stores = store_paths(directory) if stores is None else stores
    missing = [site.name for site in SITES if site.name not in stores]
    if missing:
        raise ValueError(f"no store is given for {', '.join(missing)}; the demo needs one for each of its clusters")
    lines = ["# Six clusters of a simulated shop, written by `appsentry demo`.", "clusters:"]
    for site in SITES:
        path = _quoted(_within(directory, stores[site.name]))
        lines += [
            f"  - name: {site.name}",
            f"    environment: {site.environment}",
            f"    region: {site.region}",
            f"    retention: {format_duration(retention_ms)}",
            "    backends:",
            *(f"      {signal}: {{kind: embedded, path: {path}}}" for signal in _SIGNALS),
        ]
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / FILE_NAME
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _within(directory: Path, store: Path) -> str:
    if store.is_relative_to(directory):
        return f"./{store.relative_to(directory).as_posix()}"
    return str(store.absolute())


def _quoted(path: str) -> str:
    """Quote a path for YAML, whose double-quoted text is a superset of JSON's."""
    return json.dumps(path, ensure_ascii=False)
