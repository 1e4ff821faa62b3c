"""An `Engine` over a shop on private servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams_engine import Engine


class Shop:
    """Two connections of an Engine, and configs between them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        (folder / "in").mkdir()
        self.source = engine.connections.create(
            {"name": "in", "type": "files", "spec": {"files": {"basePath": str(folder / "in")}}}
        )["id"]
        self.target = engine.connections.create(
            {"name": "out", "type": "files", "spec": {"files": {"basePath": str(folder / "out")}}}
        )["id"]

    def table(self, name: str, rows: int) -> None:
        """A CSV file."""
        lines = "".join(f"{n},text {n}\n" for n in range(rows))
        (self.folder / "in" / f"{name}.csv").write_text(f"id,name\n{lines}")

    def config(self, name: str, *tables: str, **more: Any) -> str:
        """A stored config that copies the tables; its id."""
        return str(
            self.engine.configs.create(
                {
                    "name": name, "mode": "convert",
                    "source": {"connections": [
                        {"connectionId": self.source, "tables": [{"name": t} for t in tables]}
                    ]},
                    "target": {"id": self.target,
                               "spec": {"files": {"fileFormat": "parquet"}}},
                    **more,
                }
            )["id"]
        )  # fmt: skip
