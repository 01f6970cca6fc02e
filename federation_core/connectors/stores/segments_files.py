"""Files of an embedded store: the writer's lock, and writes that survive a crash.

Rule: nothing is visible under its final name before its bytes are on disk, and a rename is on disk before
anything refers to it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from federation_core.connectors.stores.segments_layout import LOCK
from federation_core.errors import StoreUnavailable

#: Suffix of files in the making; whatever carries it at start was left by a crash.
TEMPORARY = ".tmp"


def take_lock(directory: Path) -> int:
    """Lock a store for writing; return the descriptor that holds the lock until it is closed.

    Raises StoreUnavailable: another writer holds it, named by its process id.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreUnavailable(f"cannot write a store at {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StoreUnavailable(
            f"the store at {directory} is being written by process {owner}; a store has one writer at a time"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(path.name + TEMPORARY)
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def publish(temporary: Path, path: Path) -> int:
    """Give a finished temporary file its final name; return its size in bytes."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        size_bytes = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    return size_bytes


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
