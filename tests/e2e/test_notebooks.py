"""The notebooks of the documentation are executed, and a running stream shows itself in them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server

pytest.importorskip("ipykernel")  # tox.ini brings it
DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = DOCS / "notebooks"


@pytest.fixture
def execute(
    mysql9: Server, pg18: Server, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Execute a copy of a notebook; return its cells. In a process of its own: Jupyter's libraries
    warn of themselves."""
    monkeypatch.setenv("SOURCE", mysql9.url(database(mysql9)))
    monkeypatch.setenv("TARGET", pg18.url(database(pg18)))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run(text: str) -> list[dict[str, Any]]:
        copy = tmp_path / "copy.ipynb"
        copy.write_text(text)
        script = DOCS / "scripts/run_notebooks.py"
        done = subprocess.run(
            [sys.executable, script, copy], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
        cells: list[dict[str, Any]] = json.loads(copy.read_text())["cells"]
        return cells

    return run


def outputs(cells: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """By cell of code, the kinds of its outputs, and of what they are made."""
    return [
        (
            "".join(cell["source"]),
            [key for o in cell["outputs"] for key in o.get("data", {"text": 0})],
        )
        for cell in cells
        if cell["cell_type"] == "code"
    ]


@pytest.mark.parametrize("name", ["first-move", "change-capture"])
def test_a_notebook_runs_and_its_outputs_are_kept(execute: Any, name: str) -> None:
    kept = (NOTEBOOKS / f"{name}.ipynb").read_text()
    cells = execute(kept)
    assert outputs(cells) == outputs(json.loads(kept)["cells"])
    page = "".join(text for cell in cells for text in cell["source"])
    assert "Traceback" not in kept and "verify()" in page


def test_a_notebook_runs_again_on_the_same_databases(execute: Any) -> None:
    kept = (NOTEBOOKS / "change-capture.ipynb").read_text()
    for _ in range(2):
        cells = execute(kept)
        assert outputs(cells) == outputs(json.loads(kept)["cells"])


def test_every_notebook_is_executed() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {"first-move", "change-capture"}
    assert {path.stem for path in NOTEBOOKS.glob("*.md")} == {"first-move", "change-capture"}


LIVE = """
import pathlib
from streams_engine import Stream
pathlib.Path("in").mkdir()
pathlib.Path("in/a.csv").write_text("id\\n" + "\\n".join(map(str, range(1000))))
stats = Stream("in", "out", write_mode="truncate_and_load").run()
"""


def test_a_running_stream_has_one_display_that_ends_finished(execute: Any) -> None:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None,
            "outputs": [], "source": LIVE}  # fmt: skip
    document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    [shown] = execute(json.dumps(document))[0]["outputs"]
    assert shown["output_type"] == "display_data"
    html, plain = ("".join(shown["data"][f"text/{kind}"]) for kind in ("html", "plain"))
    assert '<progress value="1.000" max="1">' in html and "1,000" in html
    assert "FINISHED, 1,000 rows" in plain


def test_a_plain_process_shows_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    Stream(str(tmp_path), "null://").run()
    assert capsys.readouterr().out == ""
    assert importlib.util.find_spec("IPython") is not None, "it is installed, and not asked"
