"""The lab's six clusters and its oracle as real Prometheus servers, some series given a label `cluster` of their own.

Rule: the samples are what `tests.lab.gen` writes for a seed, the oracle's too; only labels are added, in the oracle
those under which the federation shows them. The folder of a seed holds a folder `plain` and perhaps another, and these
for each cluster, and for `oracle`, what its server holds. Texts are removed once they are read.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.lab import gen
from tests.lab.gen import CLUSTERS
from tests.support.prometheus_lab import Lab
from tests.support.prometheus_server import PrometheusClient, prometheus_on, write_blocks

ORACLE = "oracle"
#: Labels of a backend's series and, for the same series, those beside `cluster` under which they are shown.
Own = tuple[str, str]
#: Family, type, name, labels, and (time, value) pairs of one series.
Row = tuple[str, str, str, dict[str, str], list[Any]]
#: The cluster's own name: what `--series-label` writes.
SAME: Mapping[str, Own] = {name: (f'cluster="{name}"', "") for name in CLUSTERS}
#: Another name in every cluster.
ANOTHER: Mapping[str, Own] = dict.fromkeys(CLUSTERS, ('cluster="eu"', 'exported_cluster="eu"'))
#: Something else in every cluster; the name to which it would move is taken in some.
TAKEN: Mapping[str, Own] = {
    "dev": ("", ""),
    "test": ('cluster="test"', ""),
    "stage": ('cluster="eu",exported_cluster="us"', 'exported_cluster="us",exported_exported_cluster="eu"'),
    "prod": ('cluster="us",exported_cluster="us"', 'exported_cluster="us",exported_exported_cluster="us"'),
    "app-prod": ('exported_cluster="us"', 'exported_cluster="us"'),
    "shared-services": (
        'cluster="a",exported_cluster="b",exported_exported_cluster="c"',
        'exported_cluster="b",exported_exported_cluster="c",exported_exported_exported_cluster="a"',
    ),
}


#: With which labels of their own the clusters of a seed are there too, beside `plain`.
OWN: Mapping[int, tuple[str, Mapping[str, Own]]] = {8: ("same", SAME), 9: ("another", ANOTHER), 10: ("taken", TAKEN)}


@cache
def written(seed: int, parent: Path) -> Path:
    """Return the folder of a seed, which is written once in a run and not to be changed.

    `parent` is the folder of all tests of the run: `tmp_path_factory.getbasetemp()`.
    """
    folder = parent / f"lab-{seed}"
    texts = folder / "texts"
    command = [sys.executable, "-m", "tests.lab.gen", str(texts), "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])

    def write_plain(name: str) -> None:
        write_blocks(texts / f"{name}.om", folder / "plain" / name)

    def write_own(name: str) -> None:
        replaced = _replaced(name, own)
        if not replaced:
            shutil.copytree(folder / "plain" / name, folder / kind / name)
            return
        text = texts / f"{name}.own"
        _replace(texts / f"{name}.om", text, replaced)
        write_blocks(text, folder / kind / name)
        text.unlink()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write_plain, (ORACLE, *CLUSTERS)))
        if seed in OWN:
            kind, own = OWN[seed]
            list(threads.map(write_own, (ORACLE, *CLUSTERS)))
    shutil.rmtree(texts)
    return folder


def _replaced(name: str, own: Mapping[str, Own]) -> Mapping[bytes, bytes]:
    """Return what is replaced in a server's text."""
    if name != ORACLE:
        labels, _ = own[name]
        return {b"{": b"{%s," % labels.encode()} if labels else {}
    starts = {f'{{cluster="{cluster}",': shown for cluster, (_, shown) in own.items() if shown}
    return {start.encode(): f"{start}{shown},".encode() for start, shown in starts.items()}


def _replace(text: Path, target: Path, replaced: Mapping[bytes, bytes]) -> None:
    """Replace in a large file, some thousand whole lines at a time."""
    with text.open("rb") as old, target.open("wb") as new:
        while lines := old.readlines(1 << 24):
            piece = b"".join(lines)
            for before, after in replaced.items():
                piece = piece.replace(before, after)
            new.write(piece)


def rows_of(seed: int, cluster: str, wanted: Callable[[str, Mapping[str, str]], bool] = lambda *_: True) -> list[Row]:
    """Return the series of a cluster, or those that are wanted by their name and labels."""
    rows = gen.series_of(random.Random(f"{seed}/{cluster}"), cluster)
    return sorted((row for row in rows if wanted(row[2], row[3])), key=lambda row: (row[0], row[2]))


def add_rows(server: Path, rows: list[Row], **labels: str) -> None:
    """Add series, with some labels more, to what a server holds."""
    text = server.with_suffix(".om")
    with text.open("w") as out:
        gen.write(out, rows, labels)
        out.write("# EOF\n")
    write_blocks(text, server)
    text.unlink()


@contextmanager
def lab_on(binary: str, folder: Path) -> Iterator[Lab]:
    """Start the servers on what a folder holds for each."""
    with ExitStack() as running:
        addresses = {name: running.enter_context(prometheus_on(binary, folder / name)) for name in (*CLUSTERS, ORACLE)}
        oracle = running.enter_context(closing(PrometheusClient(addresses.pop(ORACLE))))
        yield Lab(addresses, oracle)
