"""What a history knows of its schema: tables, columns and keys, and nothing of rows.

Pure: it is drawn from and changed while a history is made, and no server takes part.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.manuals.histories.palette import PLAIN, Kind
from tests.manuals.routes import Route

__all__ = ["LIMIT", "Column", "Schema", "Table"]

LIMIT = 20
"""Tables that a history has at most, those of the catalogue's entries among them."""


@dataclass(frozen=True)
class Column:
    """A column beside the key."""

    name: str
    kind: Kind
    nullable: bool = True
    generated: bool = False
    refers: str | None = None
    """The table that its foreign key leads to."""


@dataclass
class Table:
    """A table whose first column is ``id``."""

    name: str
    columns: list[Column] = field(default_factory=list)
    key: tuple[str, ...] = ("id",)
    """Empty: it has none."""
    constraint: str = ""
    """The name of its primary key, where it is known."""
    partitions: dict[str, int] = field(default_factory=dict)
    """By name, the lower bound of ``id``: each holds a hundred."""
    indexes: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    """Its foreign keys by name."""
    gone: list[str] = field(default_factory=list)
    """Names that columns had, which may be given again."""
    top: int = 1
    """The next number that ``id`` gets."""

    @property
    def plain(self) -> list[Column]:
        """The columns that may be written."""
        return [column for column in self.columns if not column.generated]

    def copy(self, name: str) -> Table:
        """A table as CREATE TABLE ... LIKE makes it."""
        mine = [replace(column, refers=None) for column in self.columns]
        return Table(name, mine, self.key)


class Schema:
    """The tables of a history, with names that may be given again."""

    def __init__(self, route: Route, chance: random.Random, kinds: tuple[Kind, ...]) -> None:
        self.route, self.chance, self.kinds = route, chance, kinds
        self.tables: dict[str, Table] = {}
        self.enums: dict[str, list[str]] = {}
        """PostgreSQL's types of labels."""
        self.others = 0
        """Tables that entries of the catalogue have."""
        self._free: list[str] = []
        self._count = 0

    @property
    def postgres(self) -> bool:
        return self.route.postgres

    @property
    def family(self) -> str:
        """``mysql`` or ``postgresql``: the key of the palette."""
        return "postgresql" if self.postgres else "mysql"

    @property
    def full(self) -> bool:
        return len(self.tables) + self.others >= LIMIT

    def number(self) -> int:
        """A number that nothing has yet."""
        self._count += 1
        return self._count

    def name(self) -> str:
        """A name for a table: a new one, or one that a table had before."""
        if self._free and self.chance.random() < 0.5:
            return self._free.pop(self.chance.randrange(len(self._free)))
        return f"t{self.number()}"

    def add(self, table: Table) -> Table:
        self.tables[table.name] = table
        return table

    def forget(self, table: Table) -> None:
        """It is dropped; columns that led to it lead nowhere."""
        del self.tables[table.name]
        self._free.append(table.name)
        self._point(table.name, None)

    def rename(self, table: Table, name: str) -> None:
        del self.tables[table.name]
        self._free.append(table.name)
        self._point(table.name, name)
        table.name = name
        self.tables[name] = table

    def swap(self, one: Table, other: Table) -> None:
        """Each gets the other's name."""
        self._point(one.name, "")
        self._point(other.name, one.name)
        self._point("", other.name)
        one.name, other.name = other.name, one.name
        self.tables |= {one.name: one, other.name: other}

    def pick(self, fits: Callable[[Table], object] = lambda _: True) -> Table | None:
        """Any table that fits."""
        found = [table for table in self.tables.values() if fits(table)]
        return self.chance.choice(found) if found else None

    def children(self, table: Table) -> list[Table]:
        """The other tables with a foreign key to it."""
        return [
            other
            for other in self.tables.values()
            if other is not table and any(c.refers == table.name for c in other.columns)
        ]

    def related(self, table: Table) -> bool:
        """Whether a foreign key leads to it or from it."""
        return bool(self.children(table)) or any(c.refers for c in table.columns)

    def kind(self) -> Kind:
        """Any type, every other time a plain one."""
        if self.chance.random() < 0.5:
            return self.chance.choice(self.kinds)
        return Kind(*self.chance.choice(list(PLAIN[self.family].items())))

    def likely(self, share: float) -> bool:
        """True in this share of all cases."""
        return self.chance.random() < share

    def value(self, column: Column) -> str:
        """A value for a column, awkward or NULL."""
        if column.refers:
            return f"(SELECT max(p.id) FROM {column.refers} p)"
        if column.nullable and self.chance.random() < 0.2:
            return "NULL"
        return self.chance.choice(column.kind.values)

    def _point(self, old: str, new: str | None) -> None:
        for table in self.tables.values():
            table.columns = [
                replace(c, refers=new) if c.refers == old else c for c in table.columns
            ]
