"""Damaged answers of servers are refused by one clear error: no crash, no hang, no raw error, no
memory beyond what came.

Recordings of real servers are damaged by seed and decoded in a process of their own, which says
each input before it takes it.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support import fuzz_recordings
from tests.support.fuzz_replay import decoded

TESTS = Path(__file__).parents[1]
HANG_SECONDS = 20.0

KINDS: dict[str, tuple[Callable[..., dict[str, Any]], str]] = {
    "result set": (fuzz_recordings.result_set, "mysql9"),
    "result set of MariaDB": (fuzz_recordings.result_set, "mariadb"),
    "COPY": (fuzz_recordings.copy, "pg18"),
    "pgoutput": (fuzz_recordings.pgoutput, "pg18"),
    "binary log": (fuzz_recordings.binlog, "mysql9"),
    "binary log of MariaDB": (fuzz_recordings.binlog, "mariadb"),
}


def fuzzed(recording: Path, seed: int, seconds: float) -> Counter[str]:
    """How often what came of damaged inputs. Fails on the first fault, with its seed."""
    counted: Counter[str] = Counter()
    command = [
        sys.executable,
        "-m",
        "tests.support.fuzz_replay",
        str(recording),
        str(seed),
        str(seconds),
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds + HANG_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"hangs at {last(out)}")
    assert process.returncode == 0, f"died ({process.returncode}) at {last(out)}: {err[-2000:]}"
    for line in out.splitlines():
        if line.startswith("FAULT"):
            pytest.fail(f"{line} {re.findall(r'input [0-9]+', out[: out.index(line)])[-1]}")
        if not line.startswith("input"):
            counted[line] += 1
    return counted


def last(out: str) -> str:
    return re.findall(r"input [0-9]+", out)[-1] if "input" in out else "its beginning"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("seed", "seconds"),
    [(1, 1.5), pytest.param(1_000_000, 600.0, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_damaged_bytes_are_refused(
    kind: str,
    seed: int,
    seconds: float,
    request: pytest.FixtureRequest,
    database: Any,
    tmp_path: Path,
    counted: Callable[[str], None],
) -> None:
    record, name = KINDS[kind]
    server: Server = request.getfixturevalue(name)
    recording = record(server, database(server))
    assert decoded(recording) in ("read", "refused CONNECTION_FAILED"), decoded(recording)
    path = tmp_path / "recording"
    path.write_bytes(pickle.dumps(recording))
    found = fuzzed(path, seed, seconds)
    assert sum(found.values()) > 10, found
    counted(f"{kind}: {sum(found.values())} damaged inputs, {dict(found.most_common())}")
