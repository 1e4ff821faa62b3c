"""Run a stream in a process of its own, and print what memory it took at most.

Started as ``python peak.py DOCUMENT``; a cdc prints a line once it follows the log, goes on when a
line comes, and ends when it has caught up. Linux only: https://man7.org/linux/man-pages/man5/proc.5
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 300
PARTS = ("adapters.mysql", "adapters.postgres", "adapters.files", "pipeline")


def figure(name: str) -> float:
    """A figure of this process's memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1024


def load_all() -> None:
    """Import what a stream would import on its way: that is no cost of a row."""
    for name in PARTS:
        package = importlib.import_module(f"streams_engine.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def main(document: dict[str, Any]) -> None:
    from streams_engine import Stream

    load_all()
    before = figure("VmRSS")
    with Stream(document.pop("source"), document.pop("target"), **document) as stream:
        if document["mode"] == "convert":
            stream.run()
        else:
            stream.start()
            assert stream.catch_up(timeout=SECONDS), stream.error
            print("follows", flush=True)
            sys.stdin.readline()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            assert stream.catch_up(timeout=SECONDS), stream.error
        print(json.dumps({"peak": figure("VmHWM") - before}), flush=True)


def peak(document: dict[str, Any], write: Callable[[], object] = lambda: None) -> float:
    """MB that a stream took at most beyond its imports; ``write`` is done while a cdc follows."""
    command = [sys.executable, __file__, json.dumps(document)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        line = child.stdout.readline()
        if line == "follows\n":
            write()
            child.stdin.write("\n")
            child.stdin.flush()
            line = child.stdout.readline()
        rest = child.stderr.read()
    assert line, rest[-3000:]
    return float(json.loads(line)["peak"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
