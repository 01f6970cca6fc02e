"""The demo's feeder: a process that writes the shop's history and then what happens, until it is told to stop.

Started by `appsentry demo` as one more role of the stack; nothing of the stack knows of it. Started again, it goes on
behind what the stores hold. Alone, as in docker-compose.yml, it writes the demo's configuration too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from federation_core.errors import FederationError
from federation_core.structured_logging import configure
from webapp.cli.demo.configuration import FILE_NAME, HISTORY_DONE, store_paths, write_config
from webapp.cli.demo.feed import Feed
from webapp.cli.demo.shop import Shop

HISTORY_HOURS: Final = 2.0
#: The file beside the stores that says when the shop was opened, Unix time in ms.
ORIGIN: Final = "shop.origin"
_LOG = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Return the time now, in ms since the epoch."""
    return time.time_ns() // 1_000_000


def main(folder: Path, seed: int) -> int:
    """Feed the stores below `folder`; return the exit code."""
    configure("feeder", os.environ.get("LOG_LEVEL", "INFO"))
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    started_ms = wall_clock_ms()
    if not (folder / FILE_NAME).exists():
        write_config(folder)
    shop = Shop(seed, _origin_ms(folder, started_ms))
    try:
        with Feed(shop, store_paths(folder), clock_ms=wall_clock_ms) as feed:
            feed.history(started_ms, HISTORY_HOURS)
            (folder / HISTORY_DONE).touch()
            _LOG.info("the history is written", extra={"elapsed_ms": wall_clock_ms() - started_ms})
            feed.run(stop)
    except FederationError as exc:
        _LOG.error(exc.message)
        return 1
    return 0


def _origin_ms(folder: Path, started_ms: int) -> int:
    """Return when the shop was opened; a feeder that is started again finds the time, so that its counters go on."""
    file = folder / ORIGIN
    with suppress(FileNotFoundError, ValueError):
        return int(file.read_text())
    origin_ms = started_ms - round(HISTORY_HOURS * 3_600_000) - 60_000
    fresh = file.with_suffix(".new")
    fresh.write_text(str(origin_ms))
    fresh.replace(file)
    return origin_ms


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
