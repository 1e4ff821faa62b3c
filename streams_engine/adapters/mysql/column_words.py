"""A column's definition in DDL as the column that the catalog would describe."""

from __future__ import annotations

from collections.abc import Mapping

from streams_engine.adapters.mysql.catalog_types import native_type
from streams_engine.adapters.mysql.sqlwords import NotUnderstoodError, Word, Words
from streams_engine.model import Column, Dialect, Expression, Identity
from streams_engine.schema.mysql import arrow_type

__all__ = ["column_of", "default_of"]

SYNONYMS: Mapping[str, str] = {
    "INTEGER": "int", "INT1": "tinyint", "INT2": "smallint", "INT3": "mediumint",
    "MIDDLEINT": "mediumint", "INT4": "int", "INT8": "bigint", "DEC": "decimal",
    "NUMERIC": "decimal", "FIXED": "decimal", "NUMBER": "decimal", "REAL": "double",
    "FLOAT8": "double", "FLOAT4": "float", "CHARACTER": "char", "NCHAR": "char",
    "NVARCHAR": "varchar", "VARCHARACTER": "varchar", "VARCHAR2": "varchar", "LONG": "mediumtext",
    "GEOMCOLLECTION": "geometrycollection",
}  # fmt: skip
PLAIN = {
    "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit",
    "date", "datetime", "timestamp", "time", "year", "char", "varchar", "binary", "varbinary",
    "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob",
    "enum", "set", "json", "geometry", "point", "linestring", "polygon", "multipoint",
    "multilinestring", "multipolygon", "geometrycollection", "uuid", "inet4", "inet6", "vector",
}  # fmt: skip
TEXTUAL = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
AS_BYTES = {"char": "binary", "varchar": "varbinary", "tinytext": "tinyblob", "text": "blob",
            "mediumtext": "mediumblob", "longtext": "longblob"}  # fmt: skip
DEFAULT_ARGUMENTS = {"bit": "(1)", "char": "(1)", "binary": "(1)", "decimal": "(10,0)"}


def column_of(words: Words, collation: str | None) -> tuple[Column, set[str]]:
    """(the column, ``primary`` and ``unique`` where it says so), up to FIRST or AFTER.

    ``collation`` is the table's default. Raises `NotUnderstoodError`.
    """
    name = words.name()
    kind, text, extra = _type(words)
    found = _Attributes(words, extra)
    charset = _charset(kind, found, collation)
    if charset == "binary" and kind in AS_BYTES:
        kind, text, charset = AS_BYTES[kind], text.replace(kind, AS_BYTES[kind], 1), None
    native = native_type(kind, text)
    textual = kind in TEXTUAL
    return Column(
        name=name,
        type=native,
        arrow=arrow_type(native),
        nullable=found.nullable and "primary" not in found.extra,
        default=found.default,
        identity=Identity() if found.counts else None,
        generated=found.generated,
        stored=found.stored,
        on_update=found.on_update,
        charset=charset if textual else None,
        collation=(found.collation or _whole(collation)) if textual else None,
        comment=found.comment,
        invisible=found.invisible,
    ), found.extra


def _whole(collation: str | None) -> str | None:
    return None if collation is None or collation.endswith("_") else collation


def _charset(kind: str, found: _Attributes, collation: str | None) -> str | None:
    if kind not in TEXTUAL:
        return None
    named = found.charset
    if named is None and (text := found.collation or collation):
        named = text.split("_")[0]
        if named in ("uca1400", "uca0900"):  # of any character set: the log says which
            named = None
    return {"utf8": "utf8mb3"}.get(named.lower(), named.lower()) if named else None


def _type(words: Words) -> tuple[str, str, set[str]]:
    """(name, text as the catalog writes it, what SERIAL implies)."""
    words.any("NATIONAL")
    word = words.next()
    if word.kind != "word":
        raise NotUnderstoodError
    upper = word.text.upper()
    if upper in ("BOOL", "BOOLEAN"):
        return "tinyint", "tinyint(1)", set()
    if upper == "SERIAL":
        return "bigint", "bigint unsigned", {"serial", "unique"}
    if upper in ("CHARACTER", "CHAR", "NCHAR") and words.any("VARYING"):
        upper = "VARCHAR"
    if upper == "LONG" and words.any("VARBINARY"):
        upper = "MEDIUMBLOB"
    if upper == "LONG":
        words.accept("CHARACTER", "VARYING")
        words.any("VARCHAR", "VARCHARACTER")
    if upper == "DOUBLE":
        words.any("PRECISION")
    kind = SYNONYMS.get(upper, upper.lower())
    if kind not in PLAIN:
        raise NotUnderstoodError
    arguments = words.brackets() if words.peek() == "(" else []
    kind, text = _typed(kind, arguments)
    while flag := words.any("UNSIGNED", "SIGNED", "ZEROFILL"):
        if flag != "SIGNED":
            text += " unsigned" if "unsigned" not in text else ""
        if flag == "ZEROFILL":
            text += " zerofill"
    return kind, text, set()


def _typed(kind: str, arguments: list[Word]) -> tuple[str, str]:
    if kind in ("enum", "set"):
        labels = [word.text for word in arguments if word.kind == "text"]
        if len(labels) * 2 - 1 != len(arguments):
            raise NotUnderstoodError
        quoted = ["'" + _label(label) + "'" for label in labels]
        return kind, f"{kind}({','.join(quoted)})"
    numbers = [word.text for word in arguments if word.upper != ","]
    if kind == "float" and len(numbers) == 1:  # a precision chooses the type
        return ("double", "double") if int(numbers[0]) > 24 else ("float", "float")
    if kind == "decimal" and len(numbers) == 1:
        numbers.append("0")
    if kind in ("text", "blob") and numbers:
        return _sized(kind, int(numbers[0])), _sized(kind, int(numbers[0]))
    if kind == "year":
        numbers = []
    if kind in ("time", "datetime", "timestamp") and numbers == ["0"]:
        numbers = []
    listed = f"({','.join(numbers)})" if numbers else DEFAULT_ARGUMENTS.get(kind, "")
    return kind, kind + listed


def _label(label: str) -> str:
    """A label as the catalog writes it; trailing blanks are not part of it."""
    return label.rstrip(" ").replace("\\", "\\\\").replace("'", "''")


def _sized(kind: str, size: int) -> str:
    """TEXT(n) is the smallest type that holds n."""
    for limit, prefix in ((1 << 8, "tiny"), (1 << 16, ""), (1 << 24, "medium")):
        if size < limit:
            return prefix + kind
    return "long" + kind


class _Attributes:
    """What follows a column's type."""

    def __init__(self, words: Words, implied: set[str]) -> None:
        self.extra = implied - {"serial"}
        self.nullable = "serial" not in implied
        self.counts = "serial" in implied
        self.default: Expression | None = None
        self.generated: Expression | None = None
        self.on_update: Expression | None = None
        self.stored = True
        self.invisible = False
        self.charset: str | None = None
        self.collation: str | None = None
        self.comment: str | None = None
        while words and words.peek() not in ("FIRST", "AFTER"):
            self._one(words)

    def _one(self, words: Words) -> None:
        if words.accept("NOT", "NULL"):
            self.nullable = False
        elif words.accept("DEFAULT"):
            self.default = default_of(words)
        elif words.accept("ON", "UPDATE"):
            self.on_update = default_of(words)
        elif words.accept("PRIMARY", "KEY") or words.accept("PRIMARY"):
            self.extra.add("primary")
        elif words.accept("UNIQUE"):
            words.accept("KEY")
            self.extra.add("unique")
        elif words.accept("KEY"):
            self.extra.add("primary")
        elif words.accept("AUTO_INCREMENT"):
            self.counts, self.nullable = True, False
        elif words.accept("COMMENT"):
            self.comment = words.next().text or None
        elif words.accept("COLLATE"):
            self.collation = words.next().text
        elif words.accept("CHARSET") or words.accept("CHARACTER", "SET"):
            self.charset = words.next().text
        elif words.accept("GENERATED", "ALWAYS", "AS") or words.accept("AS"):
            self._expression(words)
        elif words.accept("INVISIBLE"):
            self.invisible = True
        elif words.peek() == "(":
            words.brackets()
        else:  # REFERENCES, CHECK, SRID, COLUMN_FORMAT, ...: no row image shows them
            words.next()

    def _expression(self, words: Words) -> None:
        if words.accept("ROW"):  # START or END, of system versioning
            self.generated = Expression(f"ROW {words.next().upper}", Dialect.MYSQL)
            self.nullable = False
            return
        if words.peek() != "(":
            return
        inner = " ".join(word.raw for word in words.brackets())
        self.generated = Expression(inner, Dialect.MYSQL)
        self.stored = words.any("VIRTUAL", "STORED", "PERSISTENT") in ("STORED", "PERSISTENT")


def default_of(words: Words) -> Expression | None:
    """Return the expression behind DEFAULT or ON UPDATE; None for NULL."""
    if words.peek() == "(":
        inner = " ".join(word.raw for word in words.brackets())
        return Expression(f"({inner})", Dialect.MYSQL)
    text = words.next().raw
    if text in ("-", "+"):
        text += words.next().raw
    elif text.startswith("_") or text.lower() in ("b", "x", "n", "date", "time", "timestamp"):
        text += words.next().raw  # an introducer, or the letter before a literal
    elif words.peek() == "(":
        text += "(" + " ".join(word.raw for word in words.brackets()) + ")"
    return None if text.upper() == "NULL" else Expression(text, Dialect.MYSQL)
