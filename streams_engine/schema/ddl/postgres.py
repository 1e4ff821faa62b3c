"""DDL for PostgreSQL from table schemas: what comes before the rows, and what after.

Every name passes through `quote`, every text through `literal`; the only SQL taken as
it is are expressions that a server rendered, or `schema.mapping.expressions_to_postgres`.
sqlglot's own DDL tree knows no exclusion constraints, partition bounds or identity options,
so statements are composed here (docs/adr/0002).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from dataclasses import replace

from streams_engine.contracts import Statement
from streams_engine.errors import InternalError, require
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Extension,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    NativeType,
    ObjectKind,
    ObjectRef,
    Partition,
    Partitioning,
    Sequence,
    TableId,
    TableSchema,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl.structure import Structure

__all__ = [
    "LAST_NUMBER",
    "column_text",
    "drop",
    "drop_foreign_key",
    "empty",
    "extensions",
    "foreign_keys",
    "identity_text",
    "indexes",
    "key",
    "literal",
    "name_of",
    "not_null_unproved",
    "objects",
    "quote",
    "sequence_values",
    "table",
    "type_text",
]

LAST_NUMBER = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
"""Where the sequence of an identity column ends, by the column's type."""


def quote(name: str) -> str:
    """Quote a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as a string literal that does not depend on standard_conforming_strings."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def name_of(table_id: TableId) -> str:
    """Return the qualified, quoted name of a table."""
    return f"{quote(table_id.schema)}.{quote(table_id.name)}"


def columns_of(names: tuple[str, ...]) -> str:
    """Return the quoted column names, separated by commas."""
    return ", ".join(quote(name) for name in names)


def type_text(native: NativeType) -> str:
    """Return a type as DDL writes it; user types by their qualified name."""
    if native.kind is TypeKind.ARRAY and native.element is not None and native.element.user:
        return type_text(native.element) + "[]"
    if native.user is not None and native.extension is None:
        return name_of(native.user)
    return native.text


# Before the rows


def objects(catalog: Catalog) -> Iterator[Statement]:
    """Yield schemas, extensions, types and sequences, in an order in which they can be created."""
    schemas = {t.id.schema for t in catalog.tables}
    schemas |= {t.id.schema for t in catalog.types} | {s.id.schema for s in catalog.sequences}
    schemas |= {extension.schema for extension in catalog.extensions} - {"pg_catalog", ""}
    for table_schema in catalog.tables:
        if table_schema.partitioning:
            schemas |= {leaf.schema for leaf in table_schema.partitioning.leaves()}
    # IF NOT EXISTS would ask for the right to create schemas even where there is nothing to do.
    for schema in sorted(schemas - catalog.schemas):
        yield Statement(
            f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}", ObjectRef(ObjectKind.SCHEMA, schema)
        )
    yield from extensions(catalog.extensions)
    for sequence in catalog.sequences:  # which domains may have in their defaults
        yield Statement(
            _create_sequence(sequence), ObjectRef(ObjectKind.SEQUENCE, str(sequence.id))
        )
    for user_type in catalog.types:
        yield from _user_type(user_type)


def extensions(wanted: Iterable[Extension]) -> Iterator[Statement]:
    """Yield CREATE EXTENSION; one without a schema goes where the server chooses."""
    for extension in wanted:
        place = f" SCHEMA {quote(extension.schema)}" if extension.schema else ""
        yield Statement(
            f"CREATE EXTENSION IF NOT EXISTS {quote(extension.name)}{place}",
            ObjectRef(ObjectKind.EXTENSION, extension.name),
        )


def _user_type(user: UserType) -> Iterator[Statement]:
    what = ObjectRef(ObjectKind.TYPE, str(user.id))
    name = name_of(user.id)
    match user.kind:
        case TypeKind.ENUM:
            labels = ", ".join(literal(label) for label in user.labels)
            yield Statement(f"CREATE TYPE {name} AS ENUM ({labels})", what)
        case TypeKind.DOMAIN:
            base = require(user.base, f"the base of {what}")
            parts = [f"CREATE DOMAIN {name} AS {type_text(base)}"]
            if user.collation:
                parts.append(f"COLLATE {user.collation}")
            if user.default is not None and not user.default.functions:
                parts.append(f"DEFAULT {user.default.sql}")
            if not user.nullable:
                parts.append("NOT NULL")
            parts += [
                f"CONSTRAINT {quote(check.name)} CHECK ({check.expression.sql})"
                for check in user.checks
                if not check.expression.functions
            ]
            yield Statement(" ".join(parts), what)
        case TypeKind.COMPOSITE:
            fields = ", ".join(f"{quote(n)} {type_text(native)}" for n, native in user.attributes)
            yield Statement(f"CREATE TYPE {name} AS ({fields})", what)
        case TypeKind.RANGE:
            base = require(user.base, f"the subtype of {what}")
            options = ", ".join((f"subtype = {type_text(base)}", *user.options))
            yield Statement(f"CREATE TYPE {name} AS RANGE ({options})", what)
        case _:
            raise InternalError(f"{what}: a {user.kind} is not made by a statement of its own.")
    if user.comment:
        kind = "DOMAIN" if user.kind is TypeKind.DOMAIN else "TYPE"
        yield Statement(f"COMMENT ON {kind} {name} IS {literal(user.comment)}", what)


def _create_sequence(sequence: Sequence) -> str:
    return f"CREATE SEQUENCE {name_of(sequence.id)} AS {sequence.type} " + _counting(sequence)


def _counting(counter: Sequence | Identity) -> str:
    parts = [f"INCREMENT BY {counter.increment}"]
    if counter.minimum is not None:
        parts.append(f"MINVALUE {counter.minimum}")
    if counter.maximum is not None:
        parts.append(f"MAXVALUE {counter.maximum}")
    parts += [f"START WITH {counter.start}", f"CACHE {counter.cache}"]
    return " ".join((*parts, "CYCLE") if counter.cycle else parts)


def table(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """Yield CREATE TABLE, without keys and indexes, for the table and its partitions."""
    what = ObjectRef(ObjectKind.TABLE, table=schema.id)
    own = [c for c in schema.columns if c.local or not schema.inherits]
    parts = [column_text(column) for column in own]
    if wanted.checks:
        parts += [
            f"CONSTRAINT {quote(check.name)} CHECK ({check.expression.sql})"
            + ("" if check.inherit else " NO INHERIT")
            for check in schema.checks
            if check.validated
            and check.enforced
            and not check.optional
            and (check.local or not schema.inherits)
        ]
    sql = f"CREATE {'UNLOGGED ' if schema.unlogged else ''}TABLE {name_of(schema.id)} (\n  "
    sql += ",\n  ".join(parts) + "\n)"
    if schema.inherits:
        sql += f" INHERITS ({', '.join(name_of(parent) for parent in schema.inherits)})"
    if schema.partitioning:
        sql += f" PARTITION BY {schema.partitioning.key}"
    if schema.options:
        sql += f" WITH ({', '.join(schema.options)})"
    yield Statement(sql, what, schema.id)
    for column in schema.columns:
        # A parent's default is inherited; the child's own may be another.
        if column not in own and column.generated is None:
            rule = f"SET DEFAULT {column.default.sql}" if column.default else "DROP DEFAULT"
            sql = f"ALTER TABLE ONLY {name_of(schema.id)} ALTER COLUMN {quote(column.name)} {rule}"
            yield Statement(sql, what, schema.id)
        if column not in own and not column.nullable:
            yield inherited_not_null(schema.id, column.name, needed=True)
    if schema.partitioning:
        yield from partitions(schema.id, schema.id, schema.partitioning)


_NOT_NULL = """DECLARE one record;
BEGIN
  FOR one IN
    WITH RECURSIVE line(oid, depth) AS (
      SELECT {table}::regclass::oid, 0
      UNION ALL
      SELECT h.inhparent, line.depth + 1
      FROM line JOIN pg_catalog.pg_inherits h ON h.inhrelid = line.oid
      WHERE {above}
    )
    SELECT line.oid::regclass AS name FROM line
    JOIN pg_catalog.pg_attribute a ON a.attrelid = line.oid
    WHERE a.attname = {column} AND {now}
    GROUP BY line.oid ORDER BY max(line.depth) DESC
  LOOP
    EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I {action}', one.name, {column});
  END LOOP;
END"""


def inherited_not_null(table: TableId, column: str, *, needed: bool) -> Statement:
    """Set or drop NOT NULL of a column that the table inherits. What its parents have it cannot
    drop alone: theirs goes first, for they have none any more either."""
    block = _NOT_NULL.format(
        table=literal(name_of(table)),
        column=literal(column),
        above="false" if needed else "true",
        now="NOT a.attnotnull" if needed else "a.attnotnull",
        action="SET NOT NULL" if needed else "DROP NOT NULL",
    )
    return Statement(f"DO {literal(block)}", ObjectRef(ObjectKind.COLUMN, column, table), table)


_UNLINKED = """DECLARE one record;
BEGIN
  FOR one IN
    SELECT h.inhrelid::regclass AS child, h.inhparent::regclass AS parent
    FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
    WHERE c.relkind = 'r' AND NOT c.relispartition AND h.inhrelid IN (
      SELECT pg_catalog.to_regclass({table})::oid
      UNION ALL
      SELECT inhrelid FROM pg_catalog.pg_inherits
      WHERE inhparent = pg_catalog.to_regclass({table})::oid)
  LOOP
    EXECUTE format('ALTER TABLE %s NO INHERIT %s', one.child, one.parent);
  END LOOP;
END"""

_LINKED = """BEGIN
  IF {there} AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass({table})::oid)
  THEN
    {inherit}
  END IF;
EXCEPTION WHEN datatype_mismatch OR collation_mismatch THEN NULL;
END"""


def unlinked(table: TableId) -> Statement:
    """Take a table, and those that inherit from it, out of their inheritance (INHERITS)."""
    block = _UNLINKED.format(table=literal(name_of(table)))
    return Statement(f"DO {literal(block)}", ObjectRef(ObjectKind.TABLE, table=table), table)


def linked(table: TableId, parents: Many[TableId]) -> Statement:
    """Let a table inherit again from its parents; from none while its columns do not fit them."""
    name = name_of(table)
    there = [f"pg_catalog.to_regclass({literal(name_of(one))}) IS NOT NULL"
             for one in (table, *parents)]  # fmt: skip
    inherit = [f"ALTER TABLE {name} INHERIT {name_of(one)};" for one in parents]
    block = _LINKED.format(
        table=literal(name), there=" AND ".join(there), inherit=" ".join(inherit)
    )
    return Statement(f"DO {literal(block)}", ObjectRef(ObjectKind.TABLE, table=table), table)


def partitions(root: TableId, parent: TableId, tree: Partitioning) -> Iterator[Statement]:
    """Yield CREATE TABLE ... PARTITION OF, for the partitions of a tree."""
    for part in tree.partitions:
        sql = f"CREATE TABLE {name_of(part.id)} PARTITION OF {name_of(parent)} {part.bound}"
        if part.partitioning:
            sql += f" PARTITION BY {part.partitioning.key}"
        if part.options:
            sql += f" WITH ({', '.join(part.options)})"
        yield Statement(sql, ObjectRef(ObjectKind.PARTITION, table=part.id), root)
        for column in part.columns:
            yield from own_column(root, part.id, column)
        if part.partitioning:
            yield from partitions(root, part.id, part.partitioning)


def own_column(root: TableId, part: TableId, column: Column) -> Iterator[Statement]:
    """Yield the statements that give a partition's column its own default and NOT NULL."""
    head = f"ALTER TABLE ONLY {name_of(part)} ALTER COLUMN {quote(column.name)} "
    what = ObjectRef(ObjectKind.PARTITION, column.name, part)
    rule = f"SET DEFAULT {column.default.sql}" if column.default else "DROP DEFAULT"
    yield Statement(head + rule, what, root)
    if not column.nullable:
        yield Statement(f"{head}SET NOT NULL", what, root)


def column_text(column: Column) -> str:
    """Return a column definition for CREATE and ALTER TABLE."""
    parts = [quote(column.name), type_text(column.type)]
    if column.collation:
        parts.append(f"COLLATE {column.collation}")
    if column.generated is not None:
        kind = "STORED" if column.stored else "VIRTUAL"
        parts.append(f"GENERATED ALWAYS AS ({column.generated.sql}) {kind}")
    elif column.identity is not None:
        parts.append(identity_text(column.identity))
    elif column.default is not None:
        parts.append(f"DEFAULT {column.default.sql}")
    if not column.nullable:
        parts.append("NOT NULL")
    return " ".join(parts)


def identity_text(identity: Identity) -> str:
    """Return the GENERATED ... AS IDENTITY clause for CREATE and ALTER TABLE."""
    name = f"SEQUENCE NAME {name_of(identity.sequence)} " if identity.sequence else ""
    rule = "ALWAYS" if identity.always else "BY DEFAULT"
    return f"GENERATED {rule} AS IDENTITY ({name}{_counting(identity)})"


# After the rows


def indexes(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    """Yield the primary key, unique constraints, indexes, exclusion constraints and comments."""
    keys = (schema.primary_key, *schema.indexes) if wanted.indexes else (schema.primary_key,)
    whole = schema.partitioning
    # An index of the whole makes one of each partition, under a name that is free then.
    made = [s for i in keys if i is not None for s in _index(schema.id, i, whole=bool(whole))]
    own = list(_parts_own(whole, wanted)) if whole else []
    yield from own
    yield from (replace(s, concurrent=s.concurrent and not own) for s in made)
    if whole and wanted.indexes:
        yield from inherited_indexes(schema.id, whole.every())
    if wanted.indexes:
        for exclusion in schema.exclusions:
            yield _constraint(schema.id, exclusion.name, exclusion.definition.sql)
    if wanted.checks:
        for check in schema.checks:
            late = check.optional or not (check.validated and check.enforced)
            if late and (check.local or not schema.inherits):
                yield _check(schema.id, check)
        yield from not_null_unproved(schema.id, schema.columns)
    yield from _comments(schema, wanted)


def not_null_unproved(table: TableId, columns: Iterable[Column]) -> Iterator[Statement]:
    """Yield NOT NULL ... NOT VALID, which PostgreSQL has from version 18 on."""
    for column in columns:
        if column.unproved:
            rule = f"NOT NULL {quote(column.name)} NOT VALID"
            yield _constraint(table, column.unproved, rule, optional=True)


def key(schema: TableSchema, columns: tuple[str, ...]) -> Iterator[Statement]:
    """Yield the unique key on these columns, which an upsert matches rows by."""
    for index in (schema.primary_key, *schema.indexes):
        if index is not None and index.unique and index.columns == columns:
            yield from _index(schema.id, index, whole=schema.partitioning is not None)
            return


def _parts_own(tree: Partitioning, wanted: Structure) -> Iterator[Statement]:
    """Return what partitions have beyond the whole table's keys and checks."""
    for part in tree.partitions:
        for check in part.checks if wanted.checks else ():
            yield _check(part.id, check)
        for index in part.indexes if wanted.indexes else ():
            yield from _index(part.id, index, whole=part.partitioning is not None)
        if part.partitioning:
            yield from _parts_own(part.partitioning, wanted)


_INHERITED = """DECLARE one record;
BEGIN
  FOR spare IN REVERSE 1..0 LOOP
    FOR one IN
      SELECT c.oid::regclass AS index, wanted.own
      FROM (VALUES {names}) wanted(part, whole, own)
      JOIN pg_catalog.pg_index i ON i.indrelid = wanted.part::regclass
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relispartition
      JOIN pg_catalog.pg_class root ON root.oid = pg_catalog.pg_partition_root(c.oid)
      WHERE root.relname = wanted.whole AND c.relname <> wanted.own
    LOOP
      EXECUTE format('ALTER INDEX %s RENAME TO %I', one.index,
        CASE spare WHEN 1 THEN 'streams_engine_' || one.index::oid ELSE one.own END);
    END LOOP;
  END LOOP;
END"""
"""By way of names that nothing has: partitions may have exchanged theirs."""


def inherited_indexes(root: TableId, parts: Iterable[Partition]) -> Iterator[Statement]:
    """Yield the statement that gives the indexes of partitions the names that they have on the
    source: the server made them with the whole table's index, under names of its own."""
    names = [
        f"({literal(name_of(part.id))}, {literal(whole)}, {literal(own)})"
        for part in parts
        for whole, own in part.inherited
    ]
    if names:
        block = _INHERITED.format(names=", ".join(names))
        what = ObjectRef(ObjectKind.INDEX, "of its partitions", root)
        yield Statement(f"DO {literal(block)}", what, root, optional=True)


def _check(table_id: TableId, check: Check) -> Statement:
    rule = "" if check.inherit else " NO INHERIT"
    definition = f"CHECK ({check.expression.sql}){rule}{_state(check)}"
    # Before PostgreSQL 18 every check is enforced.
    optional = check.optional or not check.enforced
    statement = _constraint(table_id, check.name, definition, optional=optional)
    return replace(statement, expression=check.expression)


def _state(constraint: Check | ForeignKey) -> str:
    if not constraint.enforced:
        return " NOT ENFORCED"
    return "" if constraint.validated else " NOT VALID"


def _constraint(
    table_id: TableId, name: str, definition: str, *, optional: bool = False
) -> Statement:
    return Statement(
        f"ALTER TABLE {name_of(table_id)} ADD CONSTRAINT {quote(name)} {definition}",
        ObjectRef(ObjectKind.CONSTRAINT, name, table_id),
        table_id,
        optional,
    )


def _index(table_id: TableId, index: Index, *, whole: bool) -> Iterator[Statement]:
    """Yield the statements for an index; for a constraint, the index first and then ADD CONSTRAINT
    USING INDEX.

    Several indexes of a table can be built at the same time; ADD CONSTRAINT locks all others out.
    The constraint of a partitioned table is created in one statement, because it cannot use an
    existing index (https://www.postgresql.org/docs/current/sql-altertable.html, ADD
    table_constraint_using_index); so is one WITHOUT OVERLAPS.
    """
    whole = whole or index.without_overlaps
    plain = all(part.column and not part.opclass and not part.collation for part in index.parts)
    if index.constraint and plain and not whole:
        yield _built(table_id, index)
        sql = f"{'PRIMARY KEY' if index.primary else 'UNIQUE'} USING INDEX {quote(index.name)}"
        yield _constraint(table_id, index.name, sql + _deferred(index))
    elif index.constraint and plain:
        kind = "PRIMARY KEY" if index.primary else "UNIQUE"
        sql = kind if index.nulls_distinct else "UNIQUE NULLS NOT DISTINCT"
        sql += (
            f" ({columns_of(index.columns)}{' WITHOUT OVERLAPS' if index.without_overlaps else ''})"
        )
        if index.include:
            sql += f" INCLUDE ({columns_of(index.include)})"
        if index.options:
            sql += f" WITH ({', '.join(index.options)})"
        yield _constraint(table_id, index.name, sql + _deferred(index))
    else:
        yield _built(table_id, index)
    if index.clustered:
        sql = f"ALTER TABLE {name_of(table_id)} CLUSTER ON {quote(index.name)}"
        yield Statement(sql, ObjectRef(ObjectKind.INDEX, index.name, table_id), table_id)


def _deferred(index: Index) -> str:
    if not index.deferrable:
        return ""
    return " DEFERRABLE" + (" INITIALLY DEFERRED" if index.deferred else "")


def _built(table_id: TableId, index: Index) -> Statement:
    texts = (*(part.expression for part in index.parts), index.where)
    expression = next((text for text in texts if text is not None), None)
    return Statement(
        _create_index(table_id, index),
        ObjectRef(ObjectKind.INDEX, index.name, table_id),
        table_id,
        # An expression may be one that another version does not know.
        index.optional or expression is not None,
        concurrent=True,
        expression=expression,
    )


def _create_index(table_id: TableId, index: Index) -> str:
    sql = f"CREATE {'UNIQUE ' if index.unique else ''}INDEX {quote(index.name)} "
    sql += f"ON {name_of(table_id)} USING {index.method} ("
    sql += ", ".join(_part(part) for part in index.parts) + ")"
    if index.include:
        sql += f" INCLUDE ({columns_of(index.include)})"
    if not index.nulls_distinct:
        sql += " NULLS NOT DISTINCT"
    if index.options:
        sql += f" WITH ({', '.join(index.options)})"
    if index.where is not None:
        sql += f" WHERE {index.where.sql}"
    return sql


def _part(part: IndexPart) -> str:
    sql = (
        quote(part.column) if part.column else f"({part.expression.sql})" if part.expression else ""
    )
    if part.collation:
        sql += f" COLLATE {part.collation}"
    if part.opclass:
        sql += f" {part.opclass}"
    if part.descending:
        sql += " DESC"
    if part.nulls_first is not None and part.nulls_first != part.descending:
        sql += " NULLS FIRST" if part.nulls_first else " NULLS LAST"
    return sql


def _comments(schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
    own = name_of(schema.id)

    def comment(what: str, text: str | None) -> Iterator[Statement]:
        if text:
            sql = f"COMMENT ON {what} IS {literal(text)}"
            yield Statement(sql, ObjectRef(ObjectKind.COMMENT, str(schema.id)), schema.id)

    yield from comment(f"TABLE {own}", schema.comment)
    for column in schema.columns:
        yield from comment(f"COLUMN {own}.{quote(column.name)}", column.comment)
    if wanted.indexes:
        for index in schema.indexes:
            place = f"{quote(schema.id.schema)}.{quote(index.name)}"
            yield from comment(f"INDEX {place}", index.comment)
    if wanted.checks:
        for check in schema.checks:
            yield from comment(f"CONSTRAINT {quote(check.name)} ON {own}", check.comment)


def foreign_keys(schema: TableSchema) -> Iterator[Statement]:
    """Yield the foreign keys of a table and its partitions; each is validated when it is added."""
    yield from _own_foreign_keys(schema)
    for part in schema.partitioning.every() if schema.partitioning else ():
        tree = part.partitioning
        bare = replace(
            schema, id=part.id, foreign_keys=part.foreign_keys, partitioning=tree, inherits=()
        )
        yield from _own_foreign_keys(bare)


def _own_foreign_keys(schema: TableSchema) -> Iterator[Statement]:
    own = name_of(schema.id)
    for fk in schema.foreign_keys:
        statement = _constraint(schema.id, fk.name, _foreign_key(fk), optional=not fk.enforced)
        checked = fk.validated and fk.enforced and not fk.period
        yield replace(statement, orphans=_orphans(schema, fk)) if checked else statement
        if fk.comment:
            sql = f"COMMENT ON CONSTRAINT {quote(fk.name)} ON {own} IS {literal(fk.comment)}"
            yield Statement(
                sql, ObjectRef(ObjectKind.COMMENT, fk.name, schema.id), schema.id, optional=True
            )


def _orphans(schema: TableSchema, fk: ForeignKey) -> str:
    """Return the SELECT of the rows that refer to no row. A NULL in the key refers to nothing,
    unless MATCH FULL."""
    pairs = zip(fk.columns, fk.referenced_columns, strict=True)
    match = " AND ".join(f"p.{quote(b)} = c.{quote(a)}" for a, b in pairs)
    either = " OR " if fk.match == "FULL" else " AND "
    refers = either.join(f"c.{quote(a)} IS NOT NULL" for a in fk.columns)
    # A foreign key is a table's own, not that of its children of inheritance.
    only = "" if schema.partitioning else "ONLY "
    return (
        f"SELECT c.* FROM {only}{name_of(schema.id)} c WHERE ({refers}) AND NOT EXISTS "
        f"(SELECT FROM {name_of(fk.referenced)} p WHERE {match})"
    )


def _foreign_key(fk: ForeignKey) -> str:
    own, theirs = (
        f"{columns_of(columns[:-1])}, PERIOD {quote(columns[-1])}"
        if fk.period
        else columns_of(columns)
        for columns in (fk.columns, fk.referenced_columns)
    )
    sql = f"FOREIGN KEY ({own}) REFERENCES {name_of(fk.referenced)} ({theirs})"
    if fk.match != "SIMPLE":
        sql += f" MATCH {fk.match}"
    sql += f" ON UPDATE {fk.on_update} ON DELETE {fk.on_delete}"
    if fk.set_columns:
        sql += f" ({columns_of(fk.set_columns)})"
    if fk.deferrable:
        sql += " DEFERRABLE" + (" INITIALLY DEFERRED" if fk.deferred else "")
    return sql + _state(fk)


def sequence_values(catalog: Catalog) -> Iterator[Statement]:
    """Yield the owners of sequences, and statements that set every sequence to the source's next
    value."""
    for schema in catalog.tables:
        for column in schema.columns:
            if column.identity is not None:
                yield _identity_value(schema.id, column, column.identity)
    for sequence in catalog.sequences:
        what = ObjectRef(ObjectKind.SEQUENCE, str(sequence.id))
        if sequence.owner:
            owner, column_name = sequence.owner
            sql = f"ALTER SEQUENCE {name_of(sequence.id)} OWNED BY "
            yield Statement(sql + f"{name_of(owner)}.{quote(column_name)}", what, owner)
        if sequence.last_value is not None:
            place = literal(name_of(sequence.id))
            yield Statement(f"SELECT pg_catalog.setval({place}, {sequence.last_value})", what)
        if sequence.comment:
            sql = f"COMMENT ON SEQUENCE {name_of(sequence.id)} IS {literal(sequence.comment)}"
            yield Statement(sql, what)


def _identity_value(table_id: TableId, column: Column, identity: Identity) -> Statement:
    """Return the statement that sets a sequence: to PostgreSQL's next value exactly, to MySQL's but
    not below the highest value in the table."""
    next_value = identity.next_value if identity.next_value is not None else identity.start
    place = (
        f"pg_catalog.pg_get_serial_sequence({literal(name_of(table_id))}, {literal(column.name)})"
    )
    sql = f"SELECT pg_catalog.setval({place}, {next_value}, false)"
    if identity.sequence is None:
        top = f"SELECT max({quote(column.name)}) FROM {name_of(table_id)}"
        last = f"LEAST({LAST_NUMBER[column.type.name]}, GREATEST({next_value - 1}, 0, ({top})))"
        sql = (
            f"SELECT pg_catalog.setval({place}, GREATEST(t.last, 1)::pg_catalog.int8, t.last >= 1)"
            f" FROM (SELECT {last}) AS t(last)"
        )
    return Statement(sql, ObjectRef(ObjectKind.IDENTITY, column.name, table_id), table_id)


# Away with what is there


def drop_foreign_key(table: TableId, name: str) -> Statement:
    """Return the statement that drops a foreign key, which may be refused."""
    return Statement(
        f"ALTER TABLE {name_of(table)} DROP CONSTRAINT {quote(name)}",
        ObjectRef(ObjectKind.CONSTRAINT, name, table),
        table,
        optional=True,
    )


def drop(tables: Many[TableId], wanted: Catalog, existing: Catalog) -> Iterator[Statement]:
    """Drop the tables in one statement, then their types and sequences; nothing by cascade."""
    ids = tuple(tables)
    if ids:
        names = ", ".join(map(name_of, ids))
        yield Statement(
            f"DROP TABLE {names}",
            ObjectRef(ObjectKind.TABLES, listed(ids)),
            truncates=ids,
            cleanup=True,
        )
    wanted_types = {t.id for t in wanted.types}
    for user_type in reversed(existing.types):
        if user_type.id in wanted_types:
            kind = "DOMAIN" if user_type.kind is TypeKind.DOMAIN else "TYPE"
            sql = f"DROP {kind} {name_of(user_type.id)}"
            yield Statement(sql, ObjectRef(ObjectKind.TYPE, str(user_type.id)), cleanup=True)
    for sequence in wanted.sequences:
        sql = f"DROP SEQUENCE IF EXISTS {name_of(sequence.id)}"
        yield Statement(sql, ObjectRef(ObjectKind.SEQUENCE, str(sequence.id)), cleanup=True)


def empty(tables: Iterable[TableSchema]) -> Iterator[Statement]:
    """Empty all tables in one statement, which foreign keys among them allow.

    Children by INHERITS keep their rows; a partitioned table has none but its partitions'.
    """
    several = tuple(tables)
    ids = tuple(table.id for table in several)
    if ids:
        names = ", ".join(
            name_of(t.id) if t.partitioning is not None else f"ONLY {name_of(t.id)}"
            for t in several
        )
        yield Statement(
            f"TRUNCATE {names}", ObjectRef(ObjectKind.TABLES, listed(ids)), truncates=ids
        )


def listed(tables: Iterable[TableId]) -> str:
    """List at most ten table names."""
    names = sorted(map(str, tables))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
