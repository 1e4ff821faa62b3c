"""All chapters."""

from __future__ import annotations

import importlib
import pkgutil

import tests.manuals
from tests.manuals.entries import Chapter, Entry

__all__ = ["CHAPTERS", "ENTRIES"]


def _chapters() -> list[Chapter]:
    found = []
    for module in pkgutil.iter_modules(tests.manuals.__path__):
        if module.name.startswith(("mysql_", "mariadb_", "postgres_")):
            found.append(importlib.import_module(f"tests.manuals.{module.name}").CHAPTER)
    return found


CHAPTERS: list[Chapter] = _chapters()
ENTRIES: dict[str, Entry] = {entry.id: entry for c in CHAPTERS for entry in c.entries}
