"""The lab's six clusters and its oracle as real Prometheus servers, some series given a label `cluster` of their own.

Rule: the samples are what `tests.lab.gen` writes for a seed, the oracle's too; only labels are added, in the oracle
those under which the federation shows them. The folder of a seed holds, for each cluster and for `oracle`, a server's
blocks; texts are removed once they are read.
"""

from __future__ import annotations

import random
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
PLAIN: Mapping[str, Own] = {}
#: Another name in every cluster: Prometheus' convention for a label that is in the way.
ANOTHER: Mapping[str, Own] = dict.fromkeys(CLUSTERS, ('cluster="eu"', 'exported_cluster="eu"'))
#: Something else in every cluster, and the name to which it would move is taken.
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


def write_lab(folder: Path, seed: int, own: Mapping[str, Own] = PLAIN, *, series_label: bool = False) -> None:
    """Generate a seed's samples and write the blocks of all seven servers, in two processes at once."""
    flags = ["--series-label"] if series_label else []
    command = [sys.executable, "-m", "tests.lab.gen", str(folder), "--seed", str(seed), *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    held = {name: {b"{": b"{%s," % labels.encode()} for name, (labels, _) in own.items() if labels}
    shown = {
        b'{cluster="%s",' % name.encode(): b'{cluster="%s",%s,' % (name.encode(), labels.encode())
        for name, (_, labels) in own.items()
        if labels
    }

    def write(name: str) -> None:
        text = folder / f"{name}.om"
        replace_in(text, (held | {ORACLE: shown}).get(name, {}))
        write_blocks(text, folder / name)
        text.unlink()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, (ORACLE, *CLUSTERS)))


def replace_in(text: Path, replaced: Mapping[bytes, bytes]) -> None:
    """Replace in a large file, some thousand whole lines at a time."""
    if not replaced:
        return
    new = text.with_suffix(".new")
    with text.open("rb") as old, new.open("wb") as out:
        while lines := old.readlines(1 << 24):
            piece = b"".join(lines)
            for before, after in replaced.items():
                piece = piece.replace(before, after)
            out.write(piece)
    new.replace(text)


@cache
def written(seed: int, parent: Path) -> Path:
    """Return the folder of a seed without labels of its own, which is written once in a run and not to be changed.

    `parent` is the folder of all tests of the run: `tmp_path_factory.getbasetemp()`.
    """
    folder = parent / f"lab-{seed}"
    write_lab(folder, seed)
    return folder


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
    """Start the servers on a folder of `write_lab`."""
    with ExitStack() as running:
        addresses = {name: running.enter_context(prometheus_on(binary, folder / name)) for name in (*CLUSTERS, ORACLE)}
        oracle = running.enter_context(closing(PrometheusClient(addresses.pop(ORACLE))))
        yield Lab(addresses, oracle)
