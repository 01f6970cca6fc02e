"""The most memory that this program has had resident so far."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """Return the peak of resident memory since the program began.

    Not getrusage's: that one also counts what the process was before it became this program, a copy of its parent.
    """
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
