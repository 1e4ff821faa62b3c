"""The recording of the demo: what a terminal showed, and when, becomes the frames of an SVG."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

pytest.importorskip("pyte")  # tox.ini brings it
SCRIPT = Path(__file__).parents[2] / "docs/scripts/record_demo.py"


@pytest.fixture(scope="module")
def recording() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_demo", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_screens_that_stood_become_frames(recording: ModuleType) -> None:
    written = [(0.5, b"one\r\n"), (0.55, b"\x1b[1;32mtwo\x1b[0m\r\n"), (9.0, b"<three>\r\n")]
    film = recording.frames(iter(written), "$ demo\r\n")
    assert [frame.seconds for frame in film] == [recording.LONGEST, 1.5, recording.LAST]
    texts = [[run[1] for line in frame.screen for run in line] for frame in film]
    assert texts == [["$ demo"], ["$ demo", "one", "two"], ["$ demo", "one", "two", "<three>"]]
    assert (0, "two", "green", True) in film[1].screen[2]


def test_frames_are_drawn_as_one_picture(recording: ModuleType) -> None:
    film = recording.frames(iter([(0.1, b"\x1b[36m1 < 2\x1b[0m\r\n")]), "$ demo\r\n")
    drawn = ElementTree.fromstring(recording.drawn(film))
    texts = [node.text for node in drawn.iter() if node.tag.endswith("}text")]
    assert texts == ["$ demo", "$ demo", "1 < 2"]
    assert "http" not in recording.drawn(film).replace("http://www.w3.org/2000/svg", "")


def test_a_command_runs_in_a_terminal_of_its_own(recording: ModuleType) -> None:
    said = "import sys, os; print(sys.stdout.isatty(), os.get_terminal_size().columns)"
    written = list(recording.recorded([sys.executable, "-c", said]))
    assert b"True 100" in b"".join(part for _, part in written)
    assert [at for at, _ in written] == sorted(at for at, _ in written)
