"""The verdict of a verification: which tables are equal, and which rows of the others are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams_engine.display import html_block, html_table
from streams_engine.model import Finding, Severity, findings_html
from streams_engine.units import plural

__all__ = ["Difference", "TableVerdict", "VerifyReport"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both ends."""

    key: tuple[str | None, ...]
    """The texts of its key, in the form in which they are compared."""
    kind: str
    """``missing`` (on the target), ``extra`` or ``different``."""
    columns: tuple[str, ...] = ()
    """The source's columns whose values differ, of a row that is different."""

    @property
    def shown(self) -> str:
        """The key as one text."""
        return ", ".join("NULL" if value is None else value for value in self.key)


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """The verdict on one table. ``differences`` names at most 100 rows, of tables with a key."""

    table: str
    source_rows: int
    target_rows: int
    equal: bool | None
    """False where anything differs; None where nothing was seen to differ, but not all rows stood
    still long enough to be compared, or the table could not be compared: the note says why."""
    differing: int = 0
    """Keys that differ; without a key the rows missing or too many, whichever are more."""
    differences: tuple[Difference, ...] = ()
    note: str | None = None
    unsettled: int = 0
    """Keys (without a key: rows) of which nothing is known: their rows changed at each read, or the
    target did not catch up in time."""
    repaired: int = 0
    """Rows of the target that were written again or removed, as the source has them."""
    statements: tuple[str, ...] = field(default=(), repr=False)
    """SQL that makes the rows of ``differences`` what they are on the source. It holds values."""
    seconds: float = field(default=0.0, compare=False)
    bytes_read: int = field(default=0, compare=False)
    """Of both ends: texts of rows that were fetched, and of the sums of those that were not."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the differences, as texts."""
        return tuple(difference.shown for difference in self.differences)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the differences."""
        return tuple(difference.kind for difference in self.differences)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON-able document."""
        return {
            "table": self.table,
            "sourceRows": self.source_rows,
            "targetRows": self.target_rows,
            "equal": self.equal,
            "differing": self.differing,
            "keys": list(self.keys),
            "kinds": list(self.kinds),
            "differences": [
                {"key": list(d.key), "kind": d.kind, "columns": list(d.columns)}
                for d in self.differences
            ],
            "unsettled": self.unsettled,
            "note": self.note,
            "repaired": self.repaired,
            "seconds": round(self.seconds, 3),
            "bytesRead": self.bytes_read,
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The verdicts on all tables."""

    tables: tuple[TableVerdict, ...]
    structure: tuple[Finding, ...] = ()
    """What differs between the structure of the tables and what the stream would create: keys,
    indexes, foreign keys, checks, types, NOT NULL, defaults, next numbers."""

    @property
    def ok(self) -> bool:
        """True if every row of every table was seen to be equal; the structure does not count."""
        return all(table.equal is True for table in self.tables)

    @property
    def same_structure(self) -> bool:
        """True if no difference of structure was found, beside what the target has in addition."""
        return all(finding.severity is Severity.INFO for finding in self.structure)

    def to_sql(self) -> list[str]:
        """Return the statements that make the named rows of the target what they are on the source,
        for review; they hold values of rows. Nothing is executed.

        Tables without a key, and targets that are files, have none.
        """
        return [f"{sql};" for table in self.tables for sql in table.statements]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-able document."""
        return {
            "ok": self.ok,
            "sameStructure": self.same_structure,
            "tables": [table.to_dict() for table in self.tables],
            "structure": [
                {
                    "severity": str(f.severity),
                    "code": f.code,
                    "object": f.object,
                    "message": f.message,
                    "remedy": f.remedy,
                }
                for f in self.structure
            ],
        }

    def __str__(self) -> str:
        equal = sum(table.equal is True for table in self.tables)
        parts = [f"{equal} of {len(self.tables)} tables are equal"]
        for verdict, word in ((False, "different"), (None, "not known")):
            names = [table.table for table in self.tables if table.equal is verdict]
            parts += [f"{word}: {', '.join(map(str, names))}"] if names else []
        if not self.same_structure:
            differ = [f for f in self.structure if f.severity is not Severity.INFO]
            parts.append(plural(len(differ), "difference") + " of structure")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        verdicts = [
            (t.table, t.source_rows, t.target_rows, VERDICTS[t.equal], t.differing, t.note)
            for t in self.tables
        ]
        rows = [
            (t.table, d.shown, d.kind, ", ".join(d.columns))
            for t in self.tables for d in t.differences
        ]  # fmt: skip
        headers = ("table", "source rows", "target rows", "verdict", "differing", "note")
        return html_block(
            str(self),
            html_table(headers, verdicts),
            html_table(("table", "key", "kind", "columns"), rows) if rows else "",
            findings_html(self.structure),
        )


VERDICTS = {True: "equal", False: "different", None: "not known"}
"""Of a table, by whether its rows are equal."""
