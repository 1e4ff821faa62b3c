"""What a change of a table becomes: statements in order, losses, and what is left after a kill."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    RowObservations,
    TableId,
    TableSchema,
)
from streams_engine.schema.evolution.differences import in_sequence
from streams_engine.schema.evolution.found import as_found
from streams_engine.schema.evolution.plan import SchemaChangePlan, create, drop, evolve, pending
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import MappingOptions, TableMapping
from streams_engine.schema.types.mysql import arrow_type, mysql_type

T = TableId("shop", "t")
PG, MY = Dialect.POSTGRES, Dialect.MYSQL
BOTH = pytest.mark.parametrize("target", [PG, MY])


def sql(text: str) -> Expression:
    return Expression(text, Dialect.MYSQL)


def col(name: str, kind: str = "int", default: str | None = None, **more: object) -> Column:
    native = mysql_type(kind)
    given = default and sql(default)
    return Column(name, native, arrow_type(native), default=given, **more)  # type: ignore[arg-type]


def key(*columns: str, name: str = "PRIMARY", unique: bool = True) -> Index:
    primary = name == "PRIMARY"
    parts = tuple(map(IndexPart, columns))
    return Index(name, parts, unique=unique, primary=primary, constraint=primary)


def table(*columns: Column, name: str = "t", **more: object) -> TableSchema:
    return TableSchema(TableId("shop", name), Dialect.MYSQL, columns, **more)  # type: ignore[arg-type]


def mapped(source: TableSchema, target: Dialect, **options: object) -> TableMapping:
    chosen = MappingOptions(**options)  # type: ignore[arg-type]
    return map_catalog(Catalog(Dialect.MYSQL, (source,)), target, chosen).tables[0]


def change(
    old: TableSchema,
    new: TableSchema,
    target: Dialect = PG,
    renamed: Mapping[str, str] | None = None,
) -> SchemaChangePlan:
    return evolve(mapped(old, target), mapped(new, target), renamed or {})


def texts(found: SchemaChangePlan) -> list[str]:
    head = re.compile(r'^ALTER TABLE (?:ONLY )?("shop"\."t"|`shop`\.`t`) ')
    return [head.sub("", statement.sql) for statement in found.statements]


ID = col("id", nullable=False)
OLD = table(ID, col("a"), col("b", "varchar(20)"), primary_key=key("id"))


@BOTH
def test_nothing_differs(target: Dialect) -> None:
    assert change(OLD, OLD, target) == SchemaChangePlan(())


def test_a_column_is_added_where_it_stands() -> None:
    new = table(ID, col("c", default="5"), col("a"), col("b", "varchar(20)"), primary_key=key("id"))
    assert texts(change(OLD, new)) == ['ADD COLUMN IF NOT EXISTS "c" integer DEFAULT 5']
    assert texts(change(OLD, new, MY)) == ["ADD COLUMN `c` int NULL DEFAULT 5 AFTER `id`"]
    first = replace(new, columns=(new.columns[1], ID, *OLD.columns[1:]))
    assert texts(change(OLD, first, MY)) == ["ADD COLUMN `c` int NULL DEFAULT 5 FIRST"]


def test_rows_that_are_there_get_what_the_source_gave_its_own() -> None:
    new = replace(OLD, columns=(*OLD.columns, col("c", "enum('x','y')", nullable=False)))
    found = texts(change(OLD, new))
    assert found[0].startswith('DO \'BEGIN CREATE TYPE "shop"."t_c"')
    assert found[1:] == [
        'ADD COLUMN IF NOT EXISTS "c" "shop"."t_c" DEFAULT \'x\' NOT NULL',
        'ALTER COLUMN "c" DROP DEFAULT',
    ]


@BOTH
def test_rows_with_a_default_of_the_moment_are_unknown(target: Dialect) -> None:
    new = replace(OLD, columns=(*OLD.columns, col("c", "datetime", "CURRENT_TIMESTAMP")))
    assert "another value at each call" in change(OLD, new, target).unknown[0]


def test_rows_with_a_default_that_the_target_lacks_are_unknown() -> None:
    new = replace(OLD, columns=(*OLD.columns, col("c", "varchar(36)", "(concat(user(),id))")))
    assert "a default" in change(OLD, new).unknown[0]


@BOTH
def test_numbers_of_rows_are_unknown(target: Dialect) -> None:
    counted = col("n", nullable=False, identity=Identity())
    new = replace(OLD, columns=(*OLD.columns, counted), indexes=(key("n", name="kn"),))
    found = change(OLD, new, target)
    assert found.unknown == ("Column shop.t.n numbers the rows: existing rows get other numbers.",)
    if target is MY:  # which needs its key at once
        assert "AUTO_INCREMENT AFTER `b`,\n  ADD UNIQUE INDEX `kn` (`n`)" in texts(found)[0]


@BOTH
def test_a_dropped_column_is_a_loss(target: Dialect) -> None:
    found = change(OLD, replace(OLD, columns=OLD.columns[:2]), target)
    assert found.losses == ("Column shop.t.b is dropped with its values.",)
    assert [text.split()[:2] for text in texts(found)] == [["DROP", "COLUMN"]]


def test_a_column_is_renamed_and_its_type_changed() -> None:
    new = table(ID, col("c", "bigint"), OLD.columns[2], primary_key=key("id"))
    found = change(OLD, new, PG, {"a": "c"})
    assert not found.losses
    assert texts(found) == [
        'RENAME COLUMN "a" TO "c"',
        'ALTER COLUMN "c" TYPE bigint USING "c"::bigint',
    ]
    assert texts(change(OLD, new, MY, {"a": "c"})) == ["CHANGE COLUMN `a` `c` bigint NULL"]


def test_names_are_swapped() -> None:
    new = table(ID, col("b"), col("a", "varchar(20)"), primary_key=key("id"))
    renamed = {"a": "b", "b": "a"}
    found = texts(change(OLD, new, PG, renamed))
    assert [re.findall('"(.*?)"', text) for text in found] == [
        ["a", "a_on_its_way"],
        ["b", "a"],
        ["a_on_its_way", "b"],
    ]
    assert texts(change(OLD, new, MY, renamed)) == [
        "RENAME COLUMN `a` TO `b`,\n  RENAME COLUMN `b` TO `a`"
    ]


@BOTH
def test_dropped_and_added_under_the_same_name(target: Dialect) -> None:
    new = table(ID, col("a", "date"), OLD.columns[2], primary_key=key("id"))
    found = change(OLD, new, target, {"a": ""})
    joined = "\n".join(texts(found))
    assert found.losses == ("Column shop.t.a is dropped with its values.",)
    assert joined.index("DROP COLUMN") < joined.index("ADD COLUMN")


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("int", "bigint", ""),
        ("bigint", "int", "cannot hold"),
        ("varchar(9)", "varchar(10)", ""),
        ("varchar(10)", "varchar(9)", "cannot hold"),
        ("varchar(10)", "longtext", ""),
        ("decimal(9,3)", "decimal(9,2)", "decimals beyond 2"),
        ("datetime(3)", "date", "the time of day"),
        ("double", "float", "digits beyond a float's"),
        ("enum('x','y')", "enum('x','z')", "cannot hold"),
        ("enum('x','y')", "enum('w','x','y')", ""),
    ],
)
@BOTH
def test_rows_of_a_type_that_holds_less_are_unknown(
    before: str, after: str, lost: str, target: Dialect
) -> None:
    found = change(table(ID, col("a", before)), table(ID, col("a", after)), target)
    assert found.statements
    if lost:
        assert lost in found.unknown[0]
        assert "converted" in {finding.code for finding in found.findings}
    else:
        assert not found.unknown
    assert not found.losses


def test_labels_come_first_and_alone() -> None:
    old = table(ID, col("e", "enum('x','y')", "'x'"))
    new = table(ID, col("f", "enum('w','x','y','z')", "'z'"))
    found = change(old, new, PG, {"e": "f"})
    assert found.alone == 2
    assert texts(found) == [
        "ALTER TYPE \"shop\".\"t_e\" ADD VALUE IF NOT EXISTS 'w' BEFORE 'x'",
        "ALTER TYPE \"shop\".\"t_e\" ADD VALUE IF NOT EXISTS 'z' AFTER 'y'",
        'ALTER TYPE "shop"."t_e" RENAME TO "t_f"',
        'RENAME COLUMN "e" TO "f"',
        'ALTER COLUMN "f" DROP DEFAULT',
        "ALTER COLUMN \"f\" SET DEFAULT 'z'",
    ]
    assert texts(change(old, new, MY, {"e": "f"})) == [
        "CHANGE COLUMN `e` `f` enum('w', 'x', 'y', 'z') NULL DEFAULT 'z'"
    ]


def test_labels_that_go_make_another_type() -> None:
    found = change(table(col("e", "enum('x','y')")), table(col("e", "enum('y')")))
    verbs = [statement.sql.split('"')[0] for statement in found.statements]
    assert found.alone == 0
    assert verbs == [
        "ALTER TYPE ",
        "DO 'BEGIN CREATE TYPE ",
        "ALTER TABLE ",
        "DROP TYPE IF EXISTS ",
    ]


def test_labels_of_a_set() -> None:
    old, new = table(col("s", "set('u')")), table(col("s", "set('u','v')"))
    assert not change(old, new).statements
    assert texts(change(old, new, MY)) == ["MODIFY COLUMN `s` set('u', 'v') NULL"]


def test_a_boolean_that_becomes_a_number_and_back() -> None:
    source = table(col("a", "tinyint(1)", "1"))
    flag = mapped(source, PG, observed=RowObservations(frozenset({(T, "a")})))
    number = mapped(source, PG)
    found = evolve(flag, number, {})
    assert not found.losses
    assert texts(found) == [
        'ALTER COLUMN "a" DROP DEFAULT',
        'ALTER COLUMN "a" TYPE smallint USING "a"::int::smallint',
        'ALTER COLUMN "a" SET DEFAULT 1',
    ]
    back = evolve(number, flag, {})
    assert len(back.unknown) == 1 and '("a" <> 0)' in texts(back)[1]


@BOTH
def test_a_table_is_renamed(target: Dialect) -> None:
    found = change(OLD, replace(OLD, id=TableId("shop", "u")), target)
    assert len([text for text in texts(found) if "RENAME TO" in text]) == (2 if target is PG else 1)
    assert not found.losses


def test_indexes_keys_checks_and_foreign_keys() -> None:
    referring = ForeignKey("f1", ("a",), T, ("id",))
    old = replace(
        OLD,
        indexes=(
            key("a", name="k1", unique=False),
            key("b", name="k2", unique=False),
            key("id", name="k4"),
        ),
        foreign_keys=(referring,),
        checks=(Check("c1", sql("a > 0")),),
    )
    new = replace(
        old,
        primary_key=key("id", "a"),
        indexes=(key("a", name="k3", unique=False), key("b", name="k2"), old.indexes[2]),
        foreign_keys=(replace(referring, name="f2"),),
        checks=(Check("c2", sql("a > 1")),),
    )
    assert [s.split(" USING")[0] for s in texts(change(old, new, MY))] == [
        "DROP FOREIGN KEY `f1`",
        "DROP CONSTRAINT `c1`",
        "DROP PRIMARY KEY,\n  DROP INDEX `k2`,\n  RENAME INDEX `k1` TO `k3`,\n"
        "  ADD PRIMARY KEY (`id`, `a`),\n  ADD UNIQUE INDEX `k2` (`b`)",
        "ADD CONSTRAINT `c2` CHECK (a > 1)",
        "ADD CONSTRAINT `f2` FOREIGN KEY (`a`) REFERENCES `shop`.`t` (`id`)"
        " ON UPDATE NO ACTION ON DELETE NO ACTION",
    ]
    found = texts(change(old, new))
    assert found[:5] == [
        'DROP CONSTRAINT IF EXISTS "f1"',
        'DROP CONSTRAINT IF EXISTS "c1"',
        'DROP CONSTRAINT IF EXISTS "t_pkey"',
        'DROP INDEX IF EXISTS "shop"."k2"',
        'ALTER INDEX IF EXISTS "shop"."k1" RENAME TO "k3"',
    ]
    assert [text.split(" (")[0] for text in found[-2:]] == [
        'ADD CONSTRAINT "c2" CHECK',
        'ADD CONSTRAINT "f2" FOREIGN KEY',
    ]


@BOTH
def test_a_rename_changes_neither_index_nor_check(target: Dialect) -> None:
    old = replace(OLD, indexes=(key("a", name="k1"),), checks=(Check("c", sql("a > 0")),))
    new = table(ID, col("z"), OLD.columns[2], primary_key=key("id"), indexes=(key("z", name="k1"),),
                checks=(Check("c", sql("z > 0")),))  # fmt: skip
    found = texts(change(old, new, target, {"a": "z"}))
    # MySQL refuses to rename a column that a check names.
    assert len(found) == (1 if target is PG else 3)


def test_what_the_target_does_not_compute_is_read_again() -> None:
    plain = table(ID, col("a"), col("g", "varchar(99)"))
    made = table(ID, col("a"), col("g", "varchar(99)", generated=sql("soundex(a)")))
    other = table(ID, col("a"), col("g", "varchar(99)", generated=sql("soundex(id)")))
    for old, new in ((plain, made), (made, other)):
        assert "does not compute it" in change(old, new).unknown[0]
        assert not change(old, new, Dialect.MYSQL).unknown
    assert not change(made, made).unknown and not change(made, plain).unknown


def test_generated_columns_are_computed_anew() -> None:
    old = table(ID, col("a"), col("g", "bigint", generated=sql("a + 1")))
    new = table(ID, col("a", "bigint"), col("g", "bigint", generated=sql("a + 1")))
    found = texts(change(old, new))
    assert [text.split('"')[0] for text in found] == [
        "DROP COLUMN IF EXISTS ", "ALTER COLUMN ", "ADD COLUMN IF NOT EXISTS ",
    ]  # fmt: skip
    renamed = table(ID, col("z"), col("g", "bigint", generated=sql("z + 1")))
    assert texts(change(old, renamed, PG, {"a": "z"})) == ['RENAME COLUMN "a" TO "z"']
    (mysql,) = texts(change(old, renamed, MY, {"a": "z"}))
    assert mysql.startswith("DROP COLUMN `g`,\n  RENAME COLUMN `a` TO `z`,\n  ADD COLUMN `g`")


def test_a_new_table_and_its_end() -> None:
    source = table(
        col("id", "bigint unsigned", nullable=False, identity=Identity(next_value=7)),
        col("e", "enum('x')"),
        primary_key=key("id"),
        indexes=(key("e", name="k", unique=False),),
    )
    made = [statement.sql for statement in create(mapped(source, PG))]
    assert [text.split('"')[0] for text in made] == [
        "CREATE SCHEMA IF NOT EXISTS ",
        "DO 'BEGIN CREATE SEQUENCE ",
        "DO 'BEGIN CREATE TYPE ",
        "CREATE TABLE IF NOT EXISTS ",
        "CREATE UNIQUE INDEX ",
        "ALTER TABLE ",
        "CREATE INDEX ",
        "ALTER SEQUENCE ",
        "SELECT pg_catalog.setval('",
    ]
    assert [statement.sql.split('"')[0] for statement in drop(mapped(source, PG))] == [
        "DROP TABLE IF EXISTS ", "DROP TYPE IF EXISTS ", "DROP SEQUENCE IF EXISTS ",
    ]  # fmt: skip
    assert [s.sql for s in drop(mapped(source, MY))] == ["DROP TABLE IF EXISTS `shop`.`t`"]


def test_what_is_left_after_a_kill() -> None:
    old = replace(OLD, indexes=(key("a", name="k1", unique=False),),
                  foreign_keys=(ForeignKey("f1", ("a",), T, ("id",)),))  # fmt: skip
    new = replace(
        old,
        columns=(ID, col("c", "bigint"), OLD.columns[2]),
        indexes=(
            key("c", name="k1", unique=False),
            replace(key("b", name="k2"), method="fulltext"),
        ),
        foreign_keys=(ForeignKey("f2", ("c",), T, ("id",)),),
    )
    names = {"a": "c"}
    before, after = mapped(old, MY), mapped(new, MY)
    whole = list(evolve(before, after, names).statements)
    assert len(whole) == 4
    there = [
        before.target,
        replace(before.target, foreign_keys=()),
        replace(after.target, indexes=after.target.indexes[:1], foreign_keys=()),
        replace(after.target, foreign_keys=()),
        after.target,
    ]
    for done, found in enumerate(there):
        assert list(pending(before, after, found, names)) == whole[done:]


def test_a_foreign_key_that_stands_there_is_not_made_again() -> None:
    """It was left out while its columns had other types than its parent's."""
    key = ForeignKey("f1", ("a",), T, ("id",))
    before = mapped(table(ID, col("a", "char(3)")), MY)
    after = mapped(table(ID, col("a", "varchar(4)"), foreign_keys=(key,)), MY)
    there = replace(before.target, foreign_keys=after.target.foreign_keys)
    assert [s.sql.split("`")[-2] for s in pending(before, after, before.target)] == ["a", "id"]
    assert len(pending(before, after, there)) == 1


def test_a_change_that_cannot_be_seen() -> None:
    swapped = table(ID, col("a"), col("b"))
    before, after = mapped(swapped, MY), mapped(replace(swapped), MY)
    assert pending(before, after, before.target) == ()
    with pytest.raises(TargetConflict):
        pending(before, after, before.target, {"a": "b", "b": "a"})
    plain = mapped(table(ID, col("a", default="1"), col("b")), MY)
    other = mapped(table(ID, col("a", default="2"), col("b")), MY)
    # What may be repeated is.
    assert len(pending(plain, other, other.target)) == 1


# The columns that come out


def applied(evolution: SchemaChangePlan, names: list[str]) -> list[str]:
    """The names of the columns after the statements, each read on its own."""
    names = list(names)
    for statement in evolution.statements:
        body = re.sub(r"^ALTER TABLE \S+ ", "", statement.sql)
        if body == statement.sql:
            continue
        clauses = body.split(",\n  ")
        given = {}
        placed = []
        for clause in clauses:
            words = re.findall(r'["`](\w+)["`]', clause)
            place = re.search(r"(FIRST|AFTER `(\w+)`)$", clause)
            if clause.startswith("DROP COLUMN"):
                names.remove(words[0])
            elif clause.startswith(("RENAME COLUMN", "CHANGE COLUMN")):
                given[words[0]] = words[1]
            if clause.startswith("ADD COLUMN"):
                placed.append((words[0], place))
            elif clause.startswith(("CHANGE COLUMN", "MODIFY COLUMN")) and place:
                placed.append((words[1] if clause.startswith("CHANGE") else words[0], place))
        # The new names count, where one statement has several clauses.
        names = [given.get(name, name) for name in names]
        assert len(set(names)) == len(names)
        for name, place in placed:
            if name in names:
                names.remove(name)
            after = names.index(place[2]) + 1 if place and place[2] else 0
            names.insert(after if place else len(names), name)
    return names


letters = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, str]]:
    old, new = draw(letters), draw(letters)
    stay = draw(st.lists(st.sampled_from(old), unique=True, max_size=len(new)))
    renamed = dict(zip(stay, draw(st.permutations(new)), strict=False))
    gone = {name: "" for name in old if name not in renamed}
    return old, new, {**gone, **renamed}


@settings(max_examples=200)
@given(changes(), st.sampled_from([PG, MY]))
def test_the_statements_lead_to_the_new_columns(
    drawn: tuple[list[str], list[str], dict[str, str]], target: Dialect
) -> None:
    old, new, renamed = drawn
    found = change(table(*map(col, old)), table(*map(col, new)), target, renamed)
    names = applied(found, old)
    assert names == new if target is MY else sorted(names) == sorted(new)
    assert len(found.losses) == len([name for name in old if not renamed[name]])


@given(st.permutations("abcdef"))
def test_no_rename_goes_onto_a_name_in_use(shuffled: list[str]) -> None:
    wanted = dict(zip("abcdef", shuffled, strict=True))
    there = {name: name for name in wanted}
    for old, new in in_sequence(wanted, lambda name: name + "_"):
        assert new not in there
        there[new] = there.pop(old)
    assert {origin: name for name, origin in there.items()} == wanted


C = col("c", nullable=False, default="7")


@pytest.mark.parametrize(
    "there",
    [
        (col("c"),),
        (col("c", default="1"),),
        (col("c", "bigint"),),
        (col("a2", "varchar(9)"), col("c")),
    ],
)
def test_what_is_missing_of_several_changes_is_seen_in_the_middle(
    there: tuple[Column, ...],
) -> None:
    new = replace(OLD, columns=(*OLD.columns, C, col("d")))
    middle = replace(OLD, columns=(*OLD.columns, *there))
    before, after = mapped(OLD, MY), mapped(new, MY)
    found = as_found(before, after, mapped(middle, MY).target, {})
    assert found is not None
    left = texts(evolve(found, after, {}))
    assert left == [
        "MODIFY COLUMN `c` int NOT NULL DEFAULT 7,\n  ADD COLUMN `d` int NULL AFTER `c`"
    ]


def test_what_was_made_as_a_whole_or_not_at_all_is_not_in_the_middle() -> None:
    before, after = mapped(OLD, MY), mapped(replace(OLD, columns=(*OLD.columns, C)), MY)
    for whole in (before, after):
        assert as_found(before, after, whole.target, {}) is None


def test_columns_of_an_earlier_attempt_are_in_the_middle_and_go() -> None:
    before, after = mapped(OLD, MY), mapped(replace(OLD, columns=(*OLD.columns, col("d"))), MY)
    there = mapped(replace(OLD, columns=(*OLD.columns, col("left"), col("d"))), MY).target
    assert as_found(before, after, there, {}) is None
    found = as_found(before, after, there, {}, added=("left", "d", "gone"))
    assert found is not None
    assert texts(evolve(found, after, {})) == ["DROP COLUMN `left`"]


def test_names_that_were_exchanged_tell_nothing_in_the_middle() -> None:
    after = mapped(table(ID, col("b"), col("a", "varchar(20)"), C, primary_key=key("id")), MY)
    middle = mapped(table(*OLD.columns, col("c"), primary_key=key("id")), MY).target
    assert as_found(mapped(OLD, MY), after, middle, {"a": "b", "b": "a"}) is None
