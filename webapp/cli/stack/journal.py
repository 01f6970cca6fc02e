"""The log of the stack: what its roles write, in one file of JSON lines that says which role wrote each.

Rule: the file is bounded, and a full disk costs lines, never a role that waits for its own to be read. A line that
is not JSON already (a server of others, a traceback) becomes some; errors are also told to whoever started the stack,
each once in a while and not in a flood.
"""

from __future__ import annotations

import json
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from federation_core.times import format_time

#: The file is put aside once it is this large, and the one before it dropped.
MAX_BYTES: Final = 16_000_000
_LAST_LINES: Final = 12
_LONGEST_LINE: Final = 64_000
#: An error that repeats is told again only after this long, in seconds.
_SAME_AGAIN_S: Final = 30.0
_LONGEST_NOTE: Final = 4_000
_OURSELVES: Final = "stack"
_LOUD: Final = frozenset({"ERROR", "CRITICAL"})

Tell = Callable[[str, str], None]


class Journal:
    """Reads the pipes of the roles in one thread and writes their lines to `path`; `tell(role, text)` hears errors."""

    def __init__(self, path: Path, tell: Tell, max_bytes: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._tell = tell
        self._max_bytes = max_bytes
        self._file = path.open("ab", buffering=0)
        self._pipes = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._pipes.register(self._wake_read, selectors.EVENT_READ, None)
        self._last: dict[str, deque[str]] = {}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()
        notes, self._notes = os.pipe()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        self.follow(_OURSELVES, notes)

    def note(self, text: str) -> None:
        """Write a line of the stack's own; it is not told, whoever calls does that."""
        os.write(self._notes, json.dumps(_line("WARNING", _OURSELVES, text[:_LONGEST_NOTE])).encode() + b"\n")

    def follow(self, role: str, pipe: int) -> None:
        """Take over the reading end of a role's output; it is closed when the role has closed its own."""
        with self._lock:
            self._last.setdefault(role, deque(maxlen=_LAST_LINES))
            os.set_blocking(pipe, False)
            self._pipes.register(pipe, selectors.EVENT_READ, (role, bytearray()))
        os.write(self._wake_write, b".")

    def last_words(self, role: str) -> list[str]:
        """Return what a role said last, oldest first."""
        with self._lock:
            return list(self._last.get(role, ()))

    def close(self) -> None:
        """Write what is still in the pipes, then stop."""
        os.write(self._wake_write, b"x")
        self._thread.join(5)
        os.close(self._notes)
        self._file.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            for key, _ in self._pipes.select():
                if key.data is None:
                    ending = b"x" in os.read(self._wake_read, 64)
                else:
                    self._read(key.fd, *key.data)
        for key in list(self._pipes.get_map().values()):
            if key.data is not None:
                while self._read(key.fd, *key.data):
                    pass
                # The pipe may still be open in a process that has been killed a moment ago.
                self._write_lines(key.data[0], [bytes(key.data[1])])

    def _read(self, pipe: int, role: str, pending: bytearray) -> bool:
        """Take what a pipe holds; return whether there may be more."""
        try:
            data = os.read(pipe, 65_536)
        except BlockingIOError:
            return False
        if not data:
            with self._lock:
                self._pipes.unregister(pipe)
            os.close(pipe)
        pending += data
        lines = pending.split(b"\n")
        rest = lines.pop() if data and len(lines[-1]) <= _LONGEST_LINE else b""
        pending[:] = rest
        self._write_lines(role, lines)
        return bool(data)

    def _write_lines(self, role: str, lines: Sequence[bytes | bytearray]) -> None:
        for line in lines:
            if line.strip():
                self._write(role, line[:_LONGEST_LINE].decode("utf-8", "replace"))

    def _write(self, role: str, line: str) -> None:
        entry = _entry(role, line)
        text = str(entry.get("message", ""))
        with self._lock:
            self._last[role].append(text)
        with suppress(OSError):
            self._append(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        if entry.get("level") in _LOUD:
            self._tell_once(role, _in_words(text, entry))

    def _tell_once(self, role: str, text: str) -> None:
        if time.monotonic() - self._told.get(text, -_SAME_AGAIN_S) >= _SAME_AGAIN_S:
            self._told = {text: time.monotonic(), **dict(list(self._told.items())[:50])}
            self._tell(role, text)

    def _append(self, line: bytes) -> None:
        self._file.write(line)
        if self._file.tell() > self._max_bytes:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            fresh = self.path.open("ab", buffering=0)
            self._file.close()
            self._file = fresh


def _entry(role: str, line: str) -> dict[str, Any]:
    """Return a line as a JSON object, whoever wrote it."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            return {"role": role, **entry}
    return _line("INFO", role, line.rstrip())


def _in_words(text: str, entry: dict[str, Any]) -> str:
    """Return a message with the cluster that it is about, and why, where the line says it beside the message."""
    cluster, why = (str(entry.get(key) or "")[:_LONGEST_NOTE] for key in ("cluster", "why"))
    return (f"cluster {cluster}: " if cluster else "") + text + (f": {why}" if why else "")


def _line(level: str, role: str, message: str) -> dict[str, Any]:
    return {
        "time": format_time(int(time.time() * 1000)),
        "level": level,
        "logger": "",
        "role": role,
        "message": message,
    }
