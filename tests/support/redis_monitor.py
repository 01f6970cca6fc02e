"""What Redis is told, as it is told it: MONITOR, read by a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from federation_core.connectors.stores.redis import connect

_END = "end of watching"


@contextmanager
def monitoring(url: str) -> Iterator[list[dict[str, Any]]]:
    """Note all commands that Redis is given within the block; complete when the block has been left."""
    client, seen = connect(url, blocking_s=60), list[dict[str, Any]]()
    with client.monitor() as monitor:

        def listen() -> None:
            for said in monitor.listen():
                if said["command"] == f"ECHO {_END}":
                    return
                seen.append(said)

        listening = Thread(target=listen)
        listening.start()
        yield seen
        client.echo(_END)
        listening.join()
    client.close()
