"""What a MySQL server says of a row that it does not take, as `RowRejected`.

The server's message holds values. Of it only names that are known already, and the number of
the row, are kept: both stand at its end, behind any value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from streams_engine.errors import RowRejected
from streams_engine.protocols import Load

__all__ = ["REASONS", "refusal"]

NO_JSON = "it is no JSON"

REASONS: Mapping[int, str] = {
    1048: "NULL is not allowed there",
    1062: "another row has the same value in a unique key",
    1216: "no row of the table that it refers to",
    1263: "NULL is not allowed there",
    1264: "a number is out of the type's range",
    1265: "a value would be cut or rounded",
    1292: "a value is not of the type's form",
    1300: "bytes that are no text of the column's character set",
    1301: "a value is larger than max_allowed_packet",
    1364: "it has no default and gets no value",
    1366: "a value is not of the type's form, or has characters that its character set lacks",
    1406: "a text is too long",
    1411: "a value is not of the type's form",
    1416: "it is no geometry",
    1425: "a number has too many digits",
    1452: "no row of the table that it refers to",
    1526: "no partition takes it",
    3140: NO_JSON,
    3141: NO_JSON,
    3157: "its JSON is nested too deeply",
    3819: "it violates a check constraint",
    4025: "it violates a check constraint",
    4035: NO_JSON,
    4036: NO_JSON,
    4037: NO_JSON,
    4038: NO_JSON,
    4039: NO_JSON,
    4040: "its JSON is nested too deeply",
    22001: "a text is too long",
}
"""https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html;
https://mariadb.com/kb/en/mariadb-error-code-reference/ for those from 4000 on."""

OF_JSON = {number for number, reason in REASONS.items() if "JSON" in reason}

_ROW = re.compile(r" at row (\d+)\.?$", re.I)
_DUPLICATE = re.compile(r".*for key '(.*)'$", re.S)
_CONSTRAINT = re.compile(r"check constraint '(.+?)' is|CONSTRAINT `(.+?)` (?:FOREIGN|failed)", re.I)


def refusal(number: int, message: str, load: Load, offset: int = 0) -> RowRejected:
    """The refusal of a row by a statement that begins ``offset`` rows into what is loaded.

    ``details`` holds ``errno``, and where they are known ``column``, ``constraint`` and
    ``row``, from 1.
    """
    details: dict[str, Any] = {"errno": number}
    row = _ROW.search(message)
    if row is not None:
        details["row"] = int(row[1]) + offset
        message = message[: row.start()]
    where = ""
    if (constraint := _constraint(number, message, load)) is not None:
        details["constraint"] = constraint
        where = f"{constraint}: "
    elif (column := _column(number, message.removesuffix("."), load)) is not None:
        details["column"] = column
        where = f"column {column}: "
    return RowRejected(
        f"{where}{REASONS.get(number, f'the server reported error {number}')}.",
        remedy="Change the row, choose another type (options.typeOverrides), or use onError: "
        "quarantine.",
        **details,
    )


def _column(number: int, message: str, load: Load) -> str | None:
    """The column of the load that a message ends with; the only one of JSON where it is that."""
    names = [c.name for c in load.columns if any(map(message.endswith, _endings(c.name)))]
    if not names and number in OF_JSON | {4025}:
        names = [c.name for c in load.columns if c.type.name == "json"]
        return names[0] if len(names) == 1 else None
    return max(names, key=len, default=None)


def _endings(name: str) -> Iterator[str]:
    """How a message can end: 'v', 't.v', `v` or `db`.`t`.`v`; and 1048, which goes on."""
    yield f"column '{name}'"
    yield f".{name}'"
    yield f"`{name.replace('`', '``')}`"
    yield f"`{name}`"
    yield f"Column '{name}' cannot be null"


def _constraint(number: int, message: str, load: Load) -> str | None:
    if number == 1062:
        found = _DUPLICATE.search(message)
        return found and found[1].removeprefix(f"{load.table.name}.")
    if number in (1452, 3819, 4025):
        found = _CONSTRAINT.search(message)
        return found and (found[1] or found[2])
    return None
