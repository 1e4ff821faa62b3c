"""Change single rows of a table by their keys: the same over every DB-API cursor.

Values are parameters, names are quoted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from streams_engine.contracts import RowValues
from streams_engine.errors import NotFound, StateConflict
from streams_engine.model import TableSchema

__all__ = ["RowChanges"]


class RowChanges:
    """Changes of one table's rows.

    ``transaction`` yields a cursor; what is done through it is committed at the end of the block,
    and taken back after an error. ``quote`` quotes a name, ``adapt`` makes a value one that the
    driver takes; ``place`` is the table's quoted name, ``returning`` the end of an INSERT.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Any]],
        quote: Callable[[str], str],
        adapt: Callable[[Any], Any],
        place: str,
        table: TableSchema,
        returning: str = "",
    ) -> None:
        self._transaction = transaction
        self._quote = quote
        self._adapt = adapt
        self._place = place.replace("%", "%%")
        self._table = table
        self._returning = returning

    def insert(
        self, rows: Sequence[RowValues], nothing: str, key_of: Callable[[Any, RowValues], RowValues]
    ) -> list[RowValues]:
        """Insert rows; ``nothing`` is the end of the statement for a row without values, ``key_of``
        returns a row's key after its insert."""
        keys = []
        with self._transaction() as cursor:
            for row in rows:
                names = ", ".join(map(self._name, row))
                values = ", ".join(["%s"] * len(row))
                end = f"({names}) VALUES ({values})" if row else nothing
                statement = f"INSERT INTO {self._place} {end}{self._returning}"
                cursor.execute(statement, self._values(row))
                keys.append(key_of(cursor, row))
        return keys

    def update(self, key: RowValues, values: RowValues) -> None:
        """Update the one row of a key. Raises `NotFound`, `StateConflict`."""
        where = self._where(key)
        changes = ", ".join(f"{self._name(name)} = %s" for name in values)
        arguments = [*self._values(values), *self._keys(key)]
        self._change(f"UPDATE {self._place} SET {changes} WHERE {where}", arguments, key)

    def delete(self, key: RowValues) -> None:
        """Delete the one row of a key. Raises as `update` does."""
        statement = f"DELETE FROM {self._place} WHERE {self._where(key)}"
        self._change(statement, self._keys(key), key)

    def _change(self, statement: str, arguments: Sequence[Any], key: RowValues) -> None:
        """Run a statement that must change one row, after a look whether there is one: some tables
        take nothing back."""
        look = f"SELECT 1 FROM {self._place} WHERE {self._where(key)} LIMIT 2"
        with self._transaction() as cursor:
            cursor.execute(look, self._keys(key))
            self._demand_one(len(cursor.fetchall()), key)
            cursor.execute(statement, arguments)
            self._demand_one(cursor.rowcount, key)

    def _demand_one(self, rows: int, key: RowValues) -> None:
        if rows == 1:
            return
        what = f"{self._table.id}: {'no' if rows == 0 else 'more than one'} row has this key"
        told = f"{what} ({', '.join(key)}); nothing was changed."
        if rows == 0:
            raise NotFound(told, remedy="Read the row again.", table=str(self._table.id))
        raise StateConflict(
            told, remedy="Give the primary key, or more columns.", table=str(self._table.id)
        )

    def _where(self, key: RowValues) -> str:
        tests = {True: "{} IS NULL", False: "{} = %s"}
        return " AND ".join(
            tests[value is None].format(self._name(name)) for name, value in key.items()
        )

    def _values(self, row: RowValues) -> list[Any]:
        return [self._value(name, value) for name, value in row.items()]

    def _keys(self, key: RowValues) -> list[Any]:
        """Return a key's values as parameters; NULLs have none."""
        return [self._value(name, value) for name, value in key.items() if value is not None]

    def _value(self, name: str, value: Any) -> Any:
        if (
            isinstance(value, Mapping | list | tuple)
            and "json" in self._table.column(name).type.name
        ):
            return json.dumps(value, ensure_ascii=False, default=dict)
        return self._adapt(value)

    def _name(self, name: str) -> str:
        return self._quote(name).replace("%", "%%")
