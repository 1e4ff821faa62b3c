"""Execute the notebooks of the documentation and keep their outputs: `python
docs/scripts/run_notebooks.py`.

Each runs in an empty folder. It needs `pip install nbclient ipykernel`, and SOURCE and TARGET in
the environment: the URLs of an empty MySQL and an empty PostgreSQL database.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def executed(path: Path, folder: str) -> Any:
    """Return a notebook with the outputs of its cells. Raises `CellExecutionError`."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": folder}},
    ).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return notebook


def main() -> None:
    """Execute the notebooks that are named, else all of them."""
    for path in map(Path, sys.argv[1:] or sorted(NOTEBOOKS.glob("*.ipynb"))):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, folder), path)  # type: ignore[no-untyped-call]
        print("executed", path.name)


if __name__ == "__main__":
    main()
