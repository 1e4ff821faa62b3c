"""Run one contender once: its seconds, the memory of its process tree, what it said."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Failed", "Measured", "measure"]

SAMPLE_SECONDS = 0.04
LONGEST_SECONDS = 3600
ROOT = Path(__file__).resolve().parents[1]


class Failed(Exception):
    """A contender ended with an error, or did not do what it was to do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    seconds: float
    peak_mb: float
    rows: int | None
    """Rows that the contender says it moved, None where it says nothing."""
    said: str = ""
    """The errors that it told of, or else the end of what it said."""
    before: float = 0.0
    """Seconds of its own work before its clock started."""


def measure(command: Sequence[str], *, measures_itself: bool) -> Measured:
    """Run a command as the head of its own process group. Raises `Failed` where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd=ROOT,
            start_new_session=True,
        )
        watch = _Memory(process.pid)
        try:
            code = process.wait(LONGEST_SECONDS)
            seconds = time.perf_counter() - begun
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed(f"no end after {LONGEST_SECONDS} s") from None
            raise
        finally:
            peak = watch.end()
        said, complained = _read(out), _read(errors)
    if code:
        raise Failed(f"exit code {code}: {_last_words(complained or said)}")
    if not measures_itself:
        return Measured(seconds, peak, _rows_of_psql(said), _last_words(complained))
    try:
        report = json.loads(said.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"no report: {_last_words(complained or said)}") from None
    return Measured(report["seconds"], peak, report["rows"], before=report.get("before", 0.0))


def _read(handle: IO[str]) -> str:
    handle.seek(0)
    return handle.read()


def _last_words(text: str) -> str:
    """The end of an output on one line, without what is private to the machine."""
    parts = [part.strip() for part in text.strip().splitlines() if part.strip()]
    errors = [part for part in parts if re.search(r"\b(ERROR|FATAL)\b|Error:", part)]
    line = " / ".join(errors[-2:] or parts[-3:])
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z ", "", line)
    line = re.sub(r"://[^@\s]+@[^\s/]+", "://...", line)
    return re.sub(r"(?<![\w:])(/[\w.+-]+){2,}/", ".../", line)[-300:]


def _rows_of_psql(text: str) -> int | None:
    match = re.search(r"^COPY (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else None


class _Memory:
    """Samples the resident memory of a process and of all that descend from it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> float:
        """Stop, and tell the highest sum in MB."""
        self._over.set()
        self._thread.join()
        return self._peak / 1024

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            together = 0
            for pid in _tree(self._pid):
                now, highest = _resident(pid)
                together += now
                self._peak = max(self._peak, highest)
            self._peak = max(self._peak, together)


def _tree(pid: int) -> list[int]:
    found, at = [pid], 0
    while at < len(found):
        with suppress(OSError):  # it may end meanwhile
            for children in Path(f"/proc/{found[at]}/task").glob("*/children"):
                with suppress(OSError):
                    found += map(int, children.read_text().split())
        at += 1
    return found


def _resident(pid: int) -> tuple[int, int]:
    """Resident kilobytes now, and at the highest since the program began."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    now = re.search(r"VmRSS:\s+(\d+)", text)
    highest = re.search(r"VmHWM:\s+(\d+)", text)
    return (int(now[1]) if now else 0, int(highest[1]) if highest else 0)
