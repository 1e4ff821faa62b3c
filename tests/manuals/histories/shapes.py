"""Steps that change structure: each draws from the schema, changes it, and gives its SQL."""

from __future__ import annotations

from dataclasses import replace

from tests.manuals.histories.model import Column, Schema, Table
from tests.manuals.histories.palette import KEYS, PLAIN, WIDER, Kind
from tests.manuals.histories.rows import Move, insert

__all__ = ["PROMISED_BY", "SHAPES", "create"]

Steps = list[list[str]]
ACTIONS = ("", " ON DELETE CASCADE", " ON DELETE SET NULL", " ON DELETE CASCADE ON UPDATE CASCADE")
HUNDRED = 100
"""How many numbers a partition holds."""


def _defined(column: Column) -> str:
    return f"{column.name} {column.kind.name}" + ("" if column.nullable else " NOT NULL")


def create(schema: Schema) -> Steps:
    """A table, mostly with a key of one column, and rows."""
    if schema.full:
        return []
    table = Table(schema.name(), constraint=f"k{schema.number()}")
    columns = [Column(f"c{n}", schema.kind()) for n in range(1, schema.chance.randint(2, 6))]
    table.columns = columns
    form = schema.chance.random()
    if form < 0.15:
        table.key, table.constraint = (), ""
    elif form < 0.3:
        kind = Kind(*schema.chance.choice(list(KEYS[schema.family].items())))
        table.columns = [Column("k", kind, nullable=False), *columns]
        table.key = ("id", "k")
    key = f", CONSTRAINT {table.constraint} PRIMARY KEY ({', '.join(table.key)})"
    parts = ", ".join(["id int NOT NULL", *map(_defined, table.columns)])
    steps = [[f"CREATE TABLE {table.name} ({parts}{key if table.key else ''})"]]
    if schema.postgres and not table.key:
        steps.append([f"ALTER TABLE {table.name} REPLICA IDENTITY FULL"])
    schema.add(table)
    return [*steps, [insert(schema, table)], [insert(schema, table)]]


def create_partitioned(schema: Schema) -> Steps:
    """A table of three partitions by ``id``."""
    if schema.full:
        return []
    table = schema.add(Table(schema.name(), [Column("v", schema.kind())]))
    for number in range(3):
        table.partitions[f"{table.name}_p{number}"] = number * HUNDRED
    head = f"CREATE TABLE {table.name} (id int PRIMARY KEY, {_defined(table.columns[0])})"
    if schema.postgres:
        steps = [[f"{head} PARTITION BY RANGE (id)"]]
        steps += [[_partition(table, name)] for name in table.partitions]
    else:
        inner = ", ".join(
            f"PARTITION {n} VALUES LESS THAN ({low + HUNDRED})"
            for n, low in table.partitions.items()
        )
        steps = [[f"{head} PARTITION BY RANGE (id) ({inner})"]]
    return [*steps, [insert(schema, table)], [insert(schema, table)]]


def _partition(table: Table, name: str) -> str:
    low = table.partitions[name]
    bounds = f"FROM ({low}) TO ({low + HUNDRED})"
    return f"CREATE TABLE {name} PARTITION OF {table.name} FOR VALUES {bounds}"


def add_partition(schema: Schema) -> Steps:
    """The next hundred."""
    table = schema.pick(lambda t: t.partitions)
    if table is None:
        return []
    name, low = f"{table.name}_p{schema.number()}", max(table.partitions.values()) + HUNDRED
    table.partitions[name] = low
    if schema.postgres:
        return [[_partition(table, name)], [insert(schema, table)]]
    added = f"ADD PARTITION (PARTITION {name} VALUES LESS THAN ({low + HUNDRED}))"
    return [[f"ALTER TABLE {table.name} {added}"], [insert(schema, table)]]


def drop_partition(schema: Schema) -> Steps:
    """One of several, with its rows; or its rows alone."""
    table = schema.pick(lambda t: len(t.partitions) > 1)
    if table is None:
        return []
    name = schema.chance.choice(list(table.partitions))
    what = schema.chance.choice(("DROP", "TRUNCATE"))
    if what == "DROP":
        del table.partitions[name]
    if schema.postgres:
        return [[f"{what} TABLE {name}"]]
    return [[f"ALTER TABLE {table.name} {what} PARTITION {name}"]]


def create_like(schema: Schema) -> Steps:
    """A table in the form of another one."""
    model = schema.pick(lambda t: t.key)
    if model is None or schema.full:
        return []
    table = schema.add(model.copy(schema.name()))
    if schema.postgres:
        head = f"CREATE TABLE {table.name} (LIKE {model.name} INCLUDING ALL)"
    else:
        table.partitions = dict(model.partitions)
        head = f"CREATE TABLE {table.name} LIKE {model.name}"
    return [[head], [insert(schema, table)]]


def create_as(schema: Schema) -> Steps:
    """A table from the rows of another one."""
    model = schema.pick(lambda t: t.key == ("id",) and not any(c.generated for c in t.columns))
    if model is None or schema.full:
        return []
    table = schema.add(model.copy(schema.name()))
    table.top = model.top
    if schema.postgres:
        return [
            [f"CREATE TABLE {table.name} AS SELECT * FROM {model.name}"],
            [f"ALTER TABLE {table.name} ADD PRIMARY KEY (id)"],
            [insert(schema, table)],
        ]
    head = f"CREATE TABLE {table.name} (PRIMARY KEY (id)) AS SELECT * FROM {model.name}"
    return [[head], [insert(schema, table)]]


def drop(schema: Schema) -> Steps:
    """A table that no other one refers to."""
    table = schema.pick(lambda t: not schema.children(t))
    if table is None or len(schema.tables) < 4:
        return []
    schema.forget(table)
    return [[f"DROP TABLE {table.name}"]]


def rename(schema: Schema) -> Steps:
    """A table gets another name, perhaps one that was given before."""
    table = schema.pick()
    if table is None:
        return []
    old, new = table.name, schema.name()
    schema.rename(table, new)
    short = not schema.postgres and schema.likely(0.5)
    renamed = f"RENAME TABLE {old} TO {new}" if short else f"ALTER TABLE {old} RENAME TO {new}"
    return [[renamed], [insert(schema, table)]]


def swap(schema: Schema) -> Steps:
    """Two tables change names."""
    one, other = schema.pick(), schema.pick()
    if one is None or other is None or one is other:
        return []
    a, b = one.name, other.name
    schema.swap(one, other)
    if not schema.postgres:
        return [[f"RENAME TABLE {a} TO swapped, {b} TO {a}, swapped TO {b}"]]
    pairs = ((a, "swapped"), (b, a), ("swapped", b))
    return [["BEGIN", *(f"ALTER TABLE {o} RENAME TO {n}" for o, n in pairs), "COMMIT"]]


def add_column(schema: Schema) -> Steps:
    """A column, with or without a default, under a new name or an old one."""
    table = schema.pick()
    if table is None:
        return []
    again = bool(table.gone) and schema.likely(0.5)
    name = table.gone.pop() if again else f"c{schema.number()}"
    column = Column(name, schema.kind())
    tail = ""
    if column.kind.constant is not None and schema.likely(0.6):
        tail = f" DEFAULT {column.kind.constant}"
        if schema.likely(0.4):
            column = replace(column, nullable=False)
    place = ""
    if not schema.postgres and schema.likely(0.3):
        place = schema.chance.choice((" FIRST", " AFTER id"))
    table.columns = [*table.columns, column]
    added = f"ALTER TABLE {table.name} ADD COLUMN {_defined(column)}{tail}{place}"
    return [[added], *([[insert(schema, table)]] if schema.likely(0.7) else [])]


def add_generated(schema: Schema) -> Steps:
    """A column that is computed from the key."""
    table = schema.pick(lambda t: not t.partitions and (t.key or not schema.postgres))
    if table is None:
        return []  # a generated column in an identity of all: PostgreSQL refuses updates then
    name = f"g{schema.number()}"
    kind = "STORED" if schema.postgres or schema.likely(0.5) else "VIRTUAL"
    table.columns = [*table.columns, Column(name, Kind("int", ("0",)), generated=True)]
    head = f"ALTER TABLE {table.name} ADD COLUMN {name} bigint GENERATED ALWAYS AS (id * 2) {kind}"
    return [[head], [insert(schema, table)]]


def _free(table: Table) -> list[Column]:
    return [c for c in table.columns if c.name not in table.key and not c.refers]


def drop_column(schema: Schema) -> Steps:
    """A column that no key needs."""
    table = schema.pick(_free)
    if table is None:
        return []
    column = schema.chance.choice(_free(table))
    table.columns = [c for c in table.columns if c is not column]
    table.gone.append(column.name)
    return [[f"ALTER TABLE {table.name} DROP COLUMN {column.name}"], [insert(schema, table)]]


def rename_column(schema: Schema) -> Steps:
    """A column gets another name."""
    table = schema.pick(lambda t: t.columns)
    if table is None:
        return []
    column = schema.chance.choice(table.columns)
    new = f"c{schema.number()}"
    table.columns = [replace(c, name=new) if c is column else c for c in table.columns]
    table.key = tuple(new if name == column.name else name for name in table.key)
    table.gone.append(column.name)
    head = f"ALTER TABLE {table.name} RENAME COLUMN {column.name} TO {new}"
    return [[head], *([[insert(schema, table)]] if schema.likely(0.7) else [])]


def retype(schema: Schema) -> Steps:
    """A column's type becomes another one, wider or narrower."""
    pairs = WIDER[schema.family]

    def fits(table: Table) -> list[tuple[Column, str]]:
        return [(c, to) for c in _free(table) for old, to in pairs
                if not c.generated and c.kind.name == old]  # fmt: skip

    table = schema.pick(fits)
    if table is None:
        return []
    column, to = schema.chance.choice(fits(table))
    new = replace(column, kind=Kind(to, PLAIN[schema.family][to]), nullable=True)
    table.columns = [new if c is column else c for c in table.columns]
    if schema.postgres:
        head = f"ALTER TABLE {table.name} ALTER COLUMN {column.name} TYPE {to}"
    else:
        head = f"ALTER TABLE {table.name} MODIFY COLUMN {column.name} {to}"
    return [[head], [insert(schema, table)]]


def change_default(schema: Schema) -> Steps:
    """A default comes or goes; rows that leave it out follow."""
    table = schema.pick(lambda t: any(c.kind.constant for c in _free(t) if not c.generated))
    if table is None:
        return []
    column = schema.chance.choice([c for c in _free(table) if c.kind.constant and not c.generated])
    set_it = column.nullable is False or schema.likely(0.7)
    what = f"SET DEFAULT {column.kind.constant}" if set_it else "DROP DEFAULT"
    head = f"ALTER TABLE {table.name} ALTER COLUMN {column.name} {what}"
    return [[head], [insert(schema, table)]]


def change_null(schema: Schema) -> Steps:
    """A column must have a value from now on, or need not."""
    table = schema.pick(lambda t: [c for c in _free(t) if not c.generated])
    if table is None:
        return []
    column = schema.chance.choice([c for c in _free(table) if not c.generated])
    new = replace(column, nullable=not column.nullable)
    table.columns = [new if c is column else c for c in table.columns]
    if schema.postgres:
        what = "DROP" if new.nullable else "SET"
        head = f"ALTER TABLE {table.name} ALTER COLUMN {column.name} {what} NOT NULL"
    else:
        head = f"ALTER TABLE {table.name} MODIFY COLUMN {_defined(new)}"
    filled = [] if new.nullable else [
        [f"UPDATE {table.name} SET {column.name} = {column.kind.values[0]}"
         f" WHERE {column.name} IS NULL"]
    ]  # fmt: skip
    return [*filled, [head], [insert(schema, table)]]


def _indexed(schema: Schema, table: Table) -> list[str]:
    plain = set(PLAIN[schema.family]) - {"mediumtext", "json", "jsonb"}
    return [c.name for c in table.columns if c.kind.name in plain]


def add_index(schema: Schema) -> Steps:
    """An index, perhaps unique together with the key."""
    table = schema.pick(lambda t: _indexed(schema, t))
    if table is None:
        return []
    name, column = f"i{schema.number()}", schema.chance.choice(_indexed(schema, table))
    table.indexes.append(name)
    if table.key and not table.partitions and schema.likely(0.3):
        return [[f"CREATE UNIQUE INDEX {name} ON {table.name} ({column}, {', '.join(table.key)})"]]
    return [[f"CREATE INDEX {name} ON {table.name} ({column})"]]


def drop_index(schema: Schema) -> Steps:
    """An index goes."""
    table = schema.pick(lambda t: t.indexes)
    if table is None:
        return []
    name = table.indexes.pop()
    return [[f"DROP INDEX {name}" + ("" if schema.postgres else f" ON {table.name}")]]


def add_foreign(schema: Schema) -> Steps:
    """A foreign key to another table's ``id``, with any action."""
    child = schema.pick(lambda t: not t.partitions)
    parent = schema.pick(lambda t: t.key == ("id",) and not t.partitions and t is not child)
    if child is None or parent is None or schema.related(child):
        return []
    name, column = f"f{schema.number()}", f"p{schema.number()}"
    child.columns = [*child.columns, Column(column, Kind("int", ("1",)), refers=parent.name)]
    child.constraints.append(name)
    refers = f"FOREIGN KEY ({column}) REFERENCES {parent.name} (id){schema.chance.choice(ACTIONS)}"
    return [
        [f"ALTER TABLE {child.name} ADD COLUMN {column} int"],
        [f"ALTER TABLE {child.name} ADD CONSTRAINT {name} {refers}"],
        [insert(schema, child)],
    ]


def drop_foreign(schema: Schema) -> Steps:
    """A foreign key goes, its column stays."""
    table = schema.pick(lambda t: t.constraints)
    if table is None:
        return []
    name = table.constraints.pop()
    table.columns = [replace(c, refers=None) for c in table.columns]
    table.constraints.clear()
    what = "CONSTRAINT" if schema.postgres else "FOREIGN KEY"
    return [[f"ALTER TABLE {table.name} DROP {what} {name}"], [insert(schema, table)]]


def move_key(schema: Schema) -> Steps:
    """The primary key gets a column more."""
    table = schema.pick(
        lambda t: t.key == ("id",) and t.constraint and not t.partitions
        and not schema.children(t) and t.columns
    )  # fmt: skip
    if table is None:
        return []
    name, kind = f"c{schema.number()}", "int" if schema.postgres else "varchar(20)"
    values = KEYS[schema.family][kind]
    table.columns = [*table.columns, Column(name, Kind(kind, values), nullable=False)]
    table.key = ("id", name)
    old = f"CONSTRAINT {table.constraint}" if schema.postgres else "PRIMARY KEY"
    table.constraint = f"k{schema.number()}"
    key = f"ADD CONSTRAINT {table.constraint} PRIMARY KEY (id, {name})"
    added = f"ALTER TABLE {table.name} ADD COLUMN {name} {kind} NOT NULL DEFAULT {values[0]}"
    return [[added], [f"ALTER TABLE {table.name} DROP {old}, {key}"], [insert(schema, table)]]


def add_enum(schema: Schema) -> Steps:
    """A column of a type of labels of its own; MySQL's types are among the others."""
    table = schema.pick()
    if table is None or not schema.postgres:
        return add_column(schema)
    name = f"e{schema.number()}"
    schema.enums[name] = ["'sad'", "'o''k'"]
    table.columns = [*table.columns, Column(f"c{schema.number()}", _labels(schema, name))]
    head = f"ALTER TABLE {table.name} ADD COLUMN {table.columns[-1].name} {name}"
    return [[f"CREATE TYPE {name} AS ENUM ('sad', 'o''k')"], [head], [insert(schema, table)]]


def change_enum(schema: Schema) -> Steps:
    """A label comes before another one, or is called otherwise."""
    if not schema.enums:
        return add_enum(schema)
    name = schema.chance.choice(list(schema.enums))
    labels, new = schema.enums[name], f"'new {schema.number()}'"
    if schema.likely(0.6):
        head = f"ALTER TYPE {name} ADD VALUE {new} BEFORE {labels[-1]}"
        labels.insert(len(labels) - 1, new)
    else:
        head = f"ALTER TYPE {name} RENAME VALUE {labels[0]} TO {new}"
        labels[0] = new
    for table in schema.tables.values():
        table.columns = [
            replace(c, kind=_labels(schema, name)) if c.kind.name == name else c
            for c in table.columns
        ]
    table_of = schema.pick(lambda t: any(c.kind.name == name for c in t.columns))
    return [[head], *([[insert(schema, table_of)]] if table_of else [])]


def _labels(schema: Schema, name: str) -> Kind:
    return Kind(name, tuple(schema.enums[name]))


SHAPES: tuple[tuple[Move, int], ...] = (
    (create, 4), (create_partitioned, 2), (add_partition, 2), (drop_partition, 2), (create_like, 2),
    (create_as, 2), (drop, 3), (rename, 3), (swap, 2), (add_column, 8), (add_generated, 2),
    (drop_column, 5), (rename_column, 4), (retype, 6), (change_default, 4), (change_null, 3),
    (add_index, 3), (drop_index, 2), (add_foreign, 3), (drop_foreign, 1), (move_key, 2),
    (add_enum, 1), (change_enum, 2),
)  # fmt: skip
"""Each with its weight."""

PROMISED_BY: dict[Move, tuple[str, ...]] = {
    add_generated: ("my_add_stored", "pg_add_stored"),
    swap: ("my_rename_ring", "pg_rename_ring"),
    move_key: ("my_move_primary", "pg_move_primary"),
    create_as: ("my_create_as_select", "pg_create_as"),
    change_enum: ("my_modify_enum_middle", "pg_enum_add_before"),
}
"""The entries that a move depends on: where one is open on a route, the move is left out."""
