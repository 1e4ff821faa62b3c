"""Readiness as a supervisor hears of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from streams_engine import ConfigError, State, Stream
from streams_engine.cli.readiness import announced, sd_notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The socket of a service manager."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(tmp_path / "notify"))
    listening.settimeout(30)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listening


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("id\n1\n")
    return tmp_path / "in"


def test_ready_and_stopping_are_told(manager: socket.socket, folder: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    seen: list[str] = []
    with manager, Stream(str(folder), "null://", name="copy") as stream:
        with announced(stream, ready):
            stream.on_state(lambda _, new: seen.append(ready.read_text()))
            stream.run()
        assert manager.recv(1000).decode() == "READY=1\nSTATUS=copy is running"
        assert manager.recv(1000).decode() == f"STOPPING=1\nSTATUS=copy: {State.FINISHED}"
    assert seen[0] == f"{os.getpid()}\n" and not ready.exists()


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"streams-engine-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert sd_notify("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not sd_notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not sd_notify("READY=1")


def test_a_ready_file_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    with (
        Stream(str(folder), "null://") as stream,
        pytest.raises(ConfigError, match="ready file"),
        announced(stream, tmp_path / "none" / "ready"),
    ):
        raise AssertionError("it began")


def test_the_option_of_the_command(folder: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "streams_engine.cli", "run", folder.as_uri(), "null://",
               "--ready-file", str(ready), "--quiet"]  # fmt: skip
    assert subprocess.run(command, timeout=60).returncode == 0
    assert not ready.exists()
