"""Tables whose rows of today are the parts and a log of changes over them (a cdc into files)."""

from __future__ import annotations

from streams_engine.adapters.files.change_layout import FOLDER, number_of
from streams_engine.adapters.files.change_log import read_log
from streams_engine.adapters.files.discovery import Found
from streams_engine.adapters.files.options import stem_of
from streams_engine.adapters.files.store import Store
from streams_engine.errors import ConfigError

__all__ = ["demand_current", "has_changes"]


def demand_current(store: Store, found: Found) -> None:
    """Raise `ConfigError` where a table's parts are older than its log of changes.

    What they hold are the rows of the load: as the table's rows they would be wrong.
    """
    if not has_changes(store, found):
        return
    where = store.show(f"{found.path}/{FOLDER}")
    parts = [file.info.path for file in found.files]
    shown = f"files.paths [{', '.join(parts[:2])}{', ...' if len(parts) > 2 else ''}]"
    raise ConfigError(
        f"{found.name}: the rows of a cdc into files are its parts and the log of changes in "
        f"{where}, which is not read back.",
        path="$.source",
        remedy="Read the database that the stream is of, or a database that a cdc keeps in step. "
        f"The rows of the load alone, older than the log, are in the parts: name them ({shown}).",
        table=found.name,
    )


def has_changes(store: Store, found: Found) -> bool:
    """True where a file of changes counts; where its log is not below this root, any file does."""
    if any(file.info.path == found.path for file in found.files):
        return False  # a file by its own name
    folder = f"{found.path}/{FOLDER}" if found.path else FOLDER
    files = store.list(folder)
    if not files:
        return False
    told = (found.manifest or {}).get("changes", {}).get("log")
    log = read_log(store, str(told)) if told else None
    if log is None:
        return True
    numbers = (number_of(stem_of(file.path.rsplit("/", 1)[-1])) for file in files)
    return any(number is None or log.counts(*number) for number in numbers)
