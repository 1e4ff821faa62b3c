"""Steps that change rows: each draws from the schema, and is empty where nothing fits."""

from __future__ import annotations

from collections.abc import Callable

from tests.manuals.histories.model import Schema, Table

__all__ = ["ROWS", "Move", "insert", "interleaved", "transaction"]

Move = Callable[[Schema], list[list[str]]]
"""Returns steps, each of statements that belong together."""


def insert(schema: Schema, table: Table) -> str:
    """One row or several, some with columns left to their defaults."""
    chosen = [c for c in table.plain if c.name in table.key or not c.nullable or schema.likely(0.8)]
    rows = []
    for _ in range(schema.chance.choice((1, 1, 2, 5))):
        values = [_next(schema, table), *(schema.value(column) for column in chosen)]
        rows.append(f"({', '.join(values)})")
    names = ", ".join(["id", *(column.name for column in chosen)])
    return f"INSERT INTO {table.name} ({names}) VALUES {', '.join(rows)}"


def _next(schema: Schema, table: Table) -> str:
    table.top += 1
    low = schema.chance.choice(list(table.partitions.values())) if table.partitions else 0
    return str(low + (table.top % 100 if table.partitions else table.top))


def _some(schema: Schema) -> str:
    parts = schema.chance.choice((2, 3, 4, 5))
    return f"id % {parts} = {schema.chance.randrange(parts)}"


def update(schema: Schema, table: Table) -> str:
    """Some rows, a column or two."""
    columns = [column for column in table.plain if column.name not in table.key]
    if not columns:
        return insert(schema, table)
    chosen = schema.chance.sample(columns, min(len(columns), schema.chance.choice((1, 2))))
    sets = ", ".join(f"{column.name} = {schema.value(column)}" for column in chosen)
    return f"UPDATE {table.name} SET {sets} WHERE {_some(schema)}"


def update_key(schema: Schema, table: Table) -> str:
    """The key itself."""
    if table.partitions:
        return update(schema, table)
    new = 1000 * schema.number()
    return f"UPDATE {table.name} SET id = id + {new} WHERE {_some(schema)} AND id < 1000"


def delete(schema: Schema, table: Table) -> str:
    """Some rows."""
    return f"DELETE FROM {table.name} WHERE {_some(schema)}"


def delete_all(schema: Schema, table: Table) -> str:
    """All rows, one by one in the log."""
    return f"DELETE FROM {table.name}"


def upsert(schema: Schema, table: Table) -> str:
    """Rows that are there, or are not."""
    columns = [column for column in table.plain if column.name not in table.key]
    if not columns or not table.key:
        return insert(schema, table)
    changed = schema.chance.choice(columns).name
    if schema.postgres:
        keys = ", ".join(table.key)
        tail = f"ON CONFLICT ({keys}) DO UPDATE SET {changed} = EXCLUDED.{changed}"
    else:
        tail = f"ON DUPLICATE KEY UPDATE {changed} = VALUES({changed})"
    return f"{_again(schema, table)} {tail}"


def replace(schema: Schema, table: Table) -> str:
    """MySQL's REPLACE, of a row that is there or not."""
    if schema.postgres or not table.key:
        return upsert(schema, table)
    return _again(schema, table).replace("INSERT", "REPLACE", 1)


def _again(schema: Schema, table: Table) -> str:
    """An INSERT of rows some of which are there."""
    top, table.top = table.top, max(0, table.top - 2)
    statement = insert(schema, table)
    table.top = max(top, table.top)
    return statement


def insert_select(schema: Schema, table: Table) -> str:
    """Rows from its own ones."""
    if table.partitions:
        return insert(schema, table)
    names = "".join(f", {column.name}" for column in table.plain)
    new = 1000 * schema.number()
    where = f"{_some(schema)} AND id < 1000"
    return f"INSERT INTO {table.name} (id{names}) SELECT id + {new}{names} FROM {table.name} WHERE {where}"  # noqa: E501


def truncate(schema: Schema, table: Table) -> str:
    """All rows at once."""
    if schema.children(table):
        return delete(schema, table)
    return f"TRUNCATE TABLE {table.name}"


STATEMENTS: tuple[tuple[Callable[[Schema, Table], str], int], ...] = (
    (insert, 8), (update, 7), (update_key, 2), (delete, 3), (delete_all, 1), (upsert, 3),
    (replace, 2), (insert_select, 2),
)  # fmt: skip


def _statement(schema: Schema, table: Table) -> str:
    moves, weights = zip(*STATEMENTS, strict=True)
    return schema.chance.choices(moves, weights)[0](schema, table)


def single(schema: Schema) -> list[list[str]]:
    """A statement by itself."""
    table = schema.pick()
    return [[_statement(schema, table)]] if table else []


def emptied(schema: Schema) -> list[list[str]]:
    """TRUNCATE, and rows after it."""
    table = schema.pick()
    return [[truncate(schema, table)], [insert(schema, table)]] if table else []


def transaction(schema: Schema) -> list[list[str]]:
    """Several statements on several tables, perhaps with a savepoint or rolled back."""
    tables = [table for _ in range(schema.chance.randint(2, 6)) if (table := schema.pick())]
    work = [_statement(schema, table) for table in tables]
    if work and schema.likely(0.3):
        place = schema.chance.randrange(len(work))
        work[place:] = ["SAVEPOINT s", *work[place:], "ROLLBACK TO SAVEPOINT s", *work[:1]]
    return [["BEGIN", *work, "ROLLBACK" if schema.likely(0.15) else "COMMIT"]] if work else []


def interleaved(schema: Schema) -> list[tuple[str, str]]:
    """Statements of two transactions in an order of chance, each with its session's name.

    They touch tables of their own without foreign keys, so that none waits for the other.
    """
    free = [table for table in schema.tables.values() if not schema.related(table)]
    if len(free) < 2:
        return []
    schema.chance.shuffle(free)
    half = len(free) // 2
    queues = [
        (name, ["BEGIN", *(_statement(schema, t) for t in mine[:3]), "COMMIT"])
        for name, mine in (("1", free[:half]), ("2", free[half:]))
    ]
    found = []
    while queues:
        name, queue = schema.chance.choice(queues)
        found.append((name, queue.pop(0)))
        queues = [one for one in queues if one[1]]
    return found


ROWS: tuple[tuple[Move, int], ...] = ((single, 8), (transaction, 5), (emptied, 1))
