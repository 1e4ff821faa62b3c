"""Where servers keep their files: in memory, where there is much of it.

The tests make and drop thousands of databases. On ext4 a PostgreSQL database costs 0.12 s of a
processor, and the search for an inode that was not deleted a moment ago a third of the processors.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["keep_in_memory"]

MEMORY = Path("/dev/shm")
ROOM = 18 * 2**30
"""Bytes of memory that must be free where the servers' files lie in it.

At the end of a run of four workers these are seven, and the processes themselves take nine.
"""


def keep_in_memory(room: int = ROOM) -> None:
    """Let servers that start from here on keep their files in memory, if so many bytes are free."""
    if "STREAMS_ENGINE_SERVERS" not in os.environ and _free() > room:
        os.environ["STREAMS_ENGINE_SERVERS"] = str(MEMORY)


def _free() -> int:
    """Return the bytes that may lie in memory; 0 where that is not known."""
    try:
        found = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
        return min(shutil.disk_usage(MEMORY).free, int(found) * 1024)
    except (OSError, IndexError):
        return 0
