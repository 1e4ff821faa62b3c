"""Read a server's refusal of a row as `RowRejected`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from streams_engine.contracts import WritePlan
from streams_engine.errors import RowRejected
from streams_engine.schema.types.conversions import CHOOSE_TYPE

__all__ = ["REASONS", "refusal"]

NO_JSON = "a value is not valid JSON"

REASONS: Mapping[int, str] = {
    1048: "the column does not allow NULL",
    1062: "another row has the same value in a unique key",
    1138: "the column does not allow NULL",
    1216: "the row refers to a row that does not exist",
    1263: "the column does not allow NULL",
    1264: "a number is out of the column's range",
    1265: "a value would be truncated or rounded",
    1292: "a value is not valid for the column's type",
    1300: "a text is not valid in the column's character set",
    1301: "a value is larger than max_allowed_packet",
    1364: "the column has no default and gets no value",
    1366: "a value is not valid for the column's type or character set",
    1406: "a text is too long",
    1411: "a value is not valid for the column's type",
    1416: "a value is not a valid geometry",
    1425: "a number has too many digits",
    1452: "the row refers to a row that does not exist",
    1526: "no partition accepts the row",
    3140: NO_JSON,
    3141: NO_JSON,
    3157: "a JSON value is nested too deeply",
    3819: "it violates a check constraint",
    4025: "it violates a check constraint",
    4035: NO_JSON,
    4036: NO_JSON,
    4037: NO_JSON,
    4038: NO_JSON,
    4039: NO_JSON,
    4040: "a JSON value is nested too deeply",
    22001: "a text is too long",
}
"""https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html;
https://mariadb.com/kb/en/mariadb-error-code-reference/ for those from 4000 on."""

OF_JSON = {number for number, reason in REASONS.items() if "JSON" in reason}

_ROW = re.compile(r" at row (\d+)\.?$", re.I)
_DUPLICATE = re.compile(r".*for key '(.*)'$", re.S)
_CONSTRAINT = re.compile(r"check constraint '(.+?)' is|CONSTRAINT `(.+?)` (?:FOREIGN|failed)", re.I)


def refusal(number: int, message: str, plan: WritePlan, offset: int = 0) -> RowRejected:
    """Return the error for a rejected row of a statement that begins ``offset`` rows into the load.

    ``details`` contains ``errno`` and, if known, ``column``, ``constraint`` and ``row`` (from 1).
    """
    details: dict[str, Any] = {"errno": number}
    row = _ROW.search(message)
    if row is not None:
        details["row"] = int(row[1]) + offset
        message = message[: row.start()]
    where = ""
    if (constraint := _constraint(number, message, plan)) is not None:
        details["constraint"] = constraint
        where = f"{constraint}: "
    elif (column := _column(number, message.removesuffix("."), plan)) is not None:
        details["column"] = column
        where = f"column {column}: "
    return RowRejected(
        f"{where}{REASONS.get(number, f'the server reported error {number}')}.",
        remedy=f"Change the row, or use onError: quarantine, and start again. Or {CHOOSE_TYPE}",
        **details,
    )


def _column(number: int, message: str, plan: WritePlan) -> str | None:
    """Return the column of the load that a message ends with; for a JSON error, the only JSON
    column."""
    names = [c.name for c in plan.columns if any(map(message.endswith, _endings(c.name)))]
    if not names and number in OF_JSON | {4025}:
        names = [c.name for c in plan.columns if c.type.name == "json"]
        return names[0] if len(names) == 1 else None
    return max(names, key=len, default=None)


def _endings(name: str) -> Iterator[str]:
    """Yield the possible endings of a message: 'v', 't.v', `v` or `db`.`t`.`v`, and that of error
    1048."""
    yield f"column '{name}'"
    yield f".{name}'"
    yield f"`{name.replace('`', '``')}`"
    yield f"`{name}`"
    yield f"Column '{name}' cannot be null"


def _constraint(number: int, message: str, plan: WritePlan) -> str | None:
    if number == 1062:
        match = _DUPLICATE.search(message)
        return match and match[1].removeprefix(f"{plan.table.name}.")
    if number in (1452, 3819, 4025):
        match = _CONSTRAINT.search(message)
        return match and (match[1] or match[2])
    return None
