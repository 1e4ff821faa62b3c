"""Foreign keys that change rows, in the words of a DDL statement."""

from __future__ import annotations

import pytest

from streams_engine.adapters.mysql.binlog.ddl_columns import DdlContext
from streams_engine.adapters.mysql.binlog.ddl_lexer import UnparsedStatementError
from streams_engine.adapters.mysql.binlog.ddl_parser import schema_of_statement
from streams_engine.model import ForeignKey, TableId, TableSchema

T = TableId("d", "t")
CREATE = "CREATE TABLE t (id INT PRIMARY KEY, p INT, q INT{more})"


def key(
    name: str, columns: tuple[str, ...], table: str, others: tuple[str, ...], *rules: str
) -> ForeignKey:
    schema, _, name_of_table = table.rpartition(".")
    on_delete, on_update = (*rules, "NO ACTION", "NO ACTION")[:2]
    referenced = TableId(schema or "d", name_of_table)
    return ForeignKey(name, columns, referenced, others, on_delete=on_delete, on_update=on_update)


def after(statement: str, before: TableSchema | None = None) -> TableSchema:
    known = {T: before} if before else {}
    (change,) = schema_of_statement(statement, DdlContext("d", known.get, True)).changes
    assert change.after is not None
    return change.after


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (", FOREIGN KEY (p) REFERENCES a (x)", []),
        (", FOREIGN KEY (p) REFERENCES a (x) ON DELETE RESTRICT ON UPDATE NO ACTION", []),
        (", FOREIGN KEY (p) REFERENCES a (x) ON DELETE SET DEFAULT", []),
        (
            ", FOREIGN KEY (p) REFERENCES a (x) ON DELETE CASCADE",
            [key("t_ibfk_1", ("p",), "a", ("x",), "CASCADE")],
        ),
        (
            ", FOREIGN KEY (q) REFERENCES b (y),"
            " FOREIGN KEY (p) REFERENCES a (x) MATCH SIMPLE ON UPDATE SET NULL",
            [key("t_ibfk_2", ("p",), "a", ("x",), "NO ACTION", "SET NULL")],
        ),
        (
            ", CONSTRAINT `k` FOREIGN KEY i (p, q) REFERENCES `o`.`a` (x, `y`) ON UPDATE CASCADE"
            " ON DELETE SET DEFAULT",
            [key("k", ("p", "q"), "o.a", ("x", "y"), "NO ACTION", "CASCADE")],
        ),
        (
            ", r INT DEFAULT (1 + (2)) REFERENCES a (x) ON DELETE CASCADE",
            [key("t_ibfk_1", ("r",), "a", ("x",), "CASCADE")],
        ),
        (", r VARCHAR(9) COMMENT 'REFERENCES a (x) ON DELETE CASCADE'", []),
        (", KEY (p), CHECK (p > 0), UNIQUE KEY u (q)", []),
    ],
)
def test_in_create_table(more: str, expected: list[ForeignKey]) -> None:
    assert list(after(CREATE.format(more=more)).foreign_keys) == expected


def test_in_alter_table() -> None:
    table = after(CREATE.format(more=""))
    one = after(
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES a (x) ON DELETE CASCADE,"
        " ADD INDEX (q), ADD FOREIGN KEY IF NOT EXISTS (q) REFERENCES b (y) ON UPDATE CASCADE",
        table,
    )
    assert [k.name for k in one.foreign_keys] == ["k", "t_ibfk_1"]
    two = after("ALTER TABLE t DROP FOREIGN KEY `k`", one)
    assert [k.name for k in two.foreign_keys] == ["t_ibfk_1"]
    assert after("ALTER TABLE t DROP CONSTRAINT IF EXISTS t_ibfk_1", two).foreign_keys == ()


def test_a_name_that_may_be_of_a_known_key_is_not_guessed_at() -> None:
    table = after(CREATE.format(more=", FOREIGN KEY (p) REFERENCES a (x) ON DELETE CASCADE"))
    with pytest.raises(UnparsedStatementError):
        schema_of_statement(
            "ALTER TABLE t DROP FOREIGN KEY other", DdlContext("d", {T: table}.get, True)
        )


def test_they_are_not_told_where_the_log_carries_what_they_do() -> None:
    sql = CREATE.format(more=", FOREIGN KEY (p) REFERENCES a (x) ON DELETE CASCADE")
    (change,) = schema_of_statement(sql, DdlContext("d", {}.get)).changes
    assert change.after is not None and change.after.foreign_keys == ()
