"""Parse the column definitions of a DDL statement. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streams_engine.adapters.mysql.binlog.ddl_lexer import (
    Token,
    TokenStream,
    UnparsedStatementError,
    sql_of,
)
from streams_engine.adapters.mysql.binlog.events import ORACLE, PIPES_AS_CONCAT, REAL_AS_FLOAT
from streams_engine.adapters.mysql.binlog.server_defaults import (
    ServerDefaults,
    charset_name,
    charset_of,
)
from streams_engine.adapters.mysql.catalog.types import native_type
from streams_engine.model import (
    Column,
    Dialect,
    Expression,
    Identity,
    NativeType,
    TableId,
    TableSchema,
)
from streams_engine.schema.ddl.mysql import literal, quote
from streams_engine.schema.types.mysql import COMPRESSED, arrow_type

__all__ = [
    "DdlContext",
    "Known",
    "TextDefaults",
    "column_of",
    "converted",
    "default_of",
    "names_charset",
    "text_defaults",
    "with_plain_default",
]


Known = Callable[[TableId], "TableSchema | None"]
"""A table's structure at the statement's place in the log; None: unknown."""

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
BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
DATES = {"date", "datetime", "timestamp"}
NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
_DIGITS = re.compile(
    r"(?:0b|b(?='))'?(?P<bits>[01]+)'?|(?:0x|x(?='))'?(?P<hex>[0-9a-f]+)'?", re.IGNORECASE
)
LONGER = {"varchar": "mediumtext", "varbinary": "mediumblob"}
ROW_BYTES = 65_535
"""VARCHAR and VARBINARY of more bytes become TEXT and BLOB types."""
ORACLE_TYPES: Mapping[str, str] = {"RAW": "VARBINARY", "CLOB": "LONGTEXT", "BLOB": "LONGBLOB",
                                   "DATE": "DATETIME"}  # fmt: skip
"""Types that MariaDB's sql_mode ORACLE takes for others."""
BY_ATTRIBUTE: Mapping[str, str] = {"ASCII": "latin1", "UNICODE": "ucs2"}
CODECS: Mapping[str, str] = {
    "ascii": "ascii", "latin1": "cp1252", "latin2": "iso8859-2", "latin5": "iso8859-9",
    "latin7": "iso8859-13", "greek": "iso8859-7", "hebrew": "iso8859-8", "koi8r": "koi8-r",
    "koi8u": "koi8-u", "tis620": "tis-620", "ucs2": "utf-16-be", "utf16": "utf-16-be",
    "utf16le": "utf-16-le", "utf32": "utf-32-be", "utf8": "utf-8", "utf8mb3": "utf-8",
    "utf8mb4": "utf-8", "sjis": "shift_jis", "ujis": "euc_jp", "euckr": "euc_kr",
    **{name: name for name in ("big5", "gbk", "gb2312", "gb18030", "cp932", "cp850", "cp852",
                               "cp866", "cp1250", "cp1251", "cp1256", "cp1257")},
}  # fmt: skip
"""Python's codec by character set, of what an introducer may name."""
DEFAULT_ARGUMENTS = {"bit": "(1)", "char": "(1)", "binary": "(1)", "decimal": "(10,0)"}


@dataclass(frozen=True, slots=True)
class DdlContext:
    """What the meaning of a statement depends on besides its text."""

    schema: str
    """The session's database."""
    known: Known
    foreign_keys: bool = False
    """Foreign keys with referential actions are parsed too."""
    sql_mode: int = 0
    time_zone: str = ""
    codec: str = "utf-8"
    defaults: ServerDefaults = field(default_factory=ServerDefaults)


@dataclass(frozen=True, slots=True)
class TextDefaults:
    """The character set and collation of a table's texts that name none."""

    charset: str | None = None
    collation: str | None = None


def text_defaults(
    charset: str | None, collation: str | None, within: str | None, context: DdlContext
) -> TextDefaults:
    """Return what CHARACTER SET and COLLATE give. ``within``: the character set around them."""
    name = charset_name(charset) if charset else None
    if collation is None:
        return TextDefaults(name, context.defaults.collation(name))
    name = name or charset_of(collation, within)
    if collation.lower().startswith("uca1400") and name:
        collation = f"{name}_{collation}"
    return TextDefaults(name, collation.lower())


def column_of(
    words: TokenStream, texts: TextDefaults, context: DdlContext
) -> tuple[Column, set[str]]:
    """Parse a column up to FIRST or AFTER; return it, with ``primary`` and ``unique`` if it
    declares them.

    ``texts`` are the table's defaults. Raises `UnparsedStatementError`.
    """
    name = words.name()
    kind, arguments, flags, implied = _type(words, context)
    attributes = _Attributes(words, implied, context)
    own = _texts(kind, attributes, texts, context)
    width = context.defaults.width(own.charset) if kind in TEXTUAL else 1
    kind, text = _typed(kind, arguments, width)
    if own.charset == "binary" and kind in AS_BYTES:
        kind, text, own = AS_BYTES[kind], text.replace(kind, AS_BYTES[kind], 1), TextDefaults()
    native = native_type(kind, text + flags + attributes.compressed)
    _demand_utc(native, attributes, context)
    textual = kind in TEXTUAL
    column = Column(
        name=name,
        type=native,
        arrow=arrow_type(native),
        nullable=attributes.nullable and "primary" not in attributes.extra,
        default=attributes.default,
        identity=Identity() if attributes.counts else None,
        generated=attributes.generated,
        stored=attributes.stored,
        on_update=attributes.on_update,
        charset=own.charset if textual else None,
        collation=own.collation if textual else None,
        comment=attributes.comment,
        invisible=attributes.invisible,
    )
    return with_plain_default(column), attributes.extra


def with_plain_default(column: Column) -> Column:
    """Return a column whose default of bits or hex digits is written as the catalog writes it: as a
    text, a number, bits or bytes.

    So is the number 0 of a date. A text in a character set that is not known here stays.
    """
    if column.type.name in DATES and column.default and column.default.sql in ("0", "'0'"):
        zero = "0000-00-00" if column.type.name == "date" else "0000-00-00 00:00:00"
        return replace(column, default=Expression(literal(zero), Dialect.MYSQL))
    raw = column.default and _bytes_of(column.default.sql)
    if not raw:
        return column
    number = int.from_bytes(raw, "big")
    if column.type.name in BINARY:
        plain = f"0x{raw.hex().upper()}"
    elif column.type.name == "bit":
        plain = f"b'{number:b}'"
    elif column.type.name in NUMBERS:
        plain = str(number)
    else:
        try:
            plain = literal(raw.decode(CODECS[column.charset or ""]))
        except (KeyError, ValueError):
            return column
    return replace(column, default=Expression(plain, Dialect.MYSQL))


def _bytes_of(sql: str) -> bytes | None:
    """Return the bytes of a literal of bits or hex digits; None of any other expression."""
    digits = _DIGITS.fullmatch(sql)
    if digits is None:
        return None
    if bits := digits["bits"]:
        return int(bits, 2).to_bytes(-(-len(bits) // 8), "big")
    hexes = digits["hex"]
    return bytes.fromhex(hexes if len(hexes) % 2 == 0 else f"0{hexes}")


def _texts(
    kind: str, attributes: _Attributes, table: TextDefaults, context: DdlContext
) -> TextDefaults:
    """Return a column's character set and collation, by its attributes or its table's defaults."""
    if kind not in TEXTUAL:
        return TextDefaults()
    charset, collation = attributes.charset, attributes.collation
    own = table
    if charset or collation:
        own = text_defaults(charset, collation, table.charset, context)
    if attributes.binary and not collation and own.charset:
        return TextDefaults(own.charset, f"{own.charset}_bin")
    return own


def _demand_utc(native: NativeType, attributes: _Attributes, context: DdlContext) -> None:
    """Raise `UnparsedStatementError` if a default is a moment in a time zone that is not UTC: the
    server keeps it as an instant."""
    default = attributes.default
    if native.name != "timestamp" or default is None or default.sql == "0":
        return
    start = default.sql.partition("'")[0]  # a literal, as timestamp'...' or 20200101000000
    if "(" in start or start.startswith("CURRENT_TIMESTAMP"):
        return
    if not context.defaults.is_utc(context.time_zone):
        raise UnparsedStatementError


def _type(words: TokenStream, context: DdlContext) -> tuple[str, list[Token], str, set[str]]:
    """Parse a type; return its name, its arguments, its flags as the catalog writes them, and what
    the type's name implies."""
    implied = {"national"} if words.any("NATIONAL") else set()
    word = words.next()
    if word.kind != "word":
        raise UnparsedStatementError
    upper = word.text.upper()
    implied |= {"national"} & {"national" if upper in ("NCHAR", "NVARCHAR") else ""}
    if upper in ("BOOL", "BOOLEAN"):
        return "tinyint", [Token("number", "1", "1")], "", implied
    if upper == "SERIAL":
        return "bigint", [], " unsigned", {"serial", "unique"}
    if upper in ("CHARACTER", "CHAR", "NCHAR") and words.any("VARYING", "VARCHAR", "VARCHARACTER"):
        upper = "VARCHAR"
    if upper == "LONG" and words.any("VARBINARY"):
        upper = "MEDIUMBLOB"
    if upper == "LONG":
        words.accept("CHARACTER", "VARYING")
        words.any("VARCHAR", "VARCHARACTER")
    if upper == "DOUBLE":
        words.any("PRECISION")
    arguments = words.brackets() if words.peek() == "(" else []
    kind = _name_of_type(upper, arguments, context)
    flags = ""
    while flag := words.any("UNSIGNED", "SIGNED", "ZEROFILL"):
        if flag != "SIGNED":
            flags += " unsigned" if "unsigned" not in flags else ""
        if flag == "ZEROFILL":
            flags += " zerofill"
    return kind, arguments, flags, implied


def _name_of_type(upper: str, arguments: list[Token], context: DdlContext) -> str:
    """Return the catalog's name of a type, which depends on sql_mode."""
    if upper == "REAL" and context.sql_mode & REAL_AS_FLOAT:
        return "float"
    if context.sql_mode & ORACLE:
        if upper == "NUMBER" and not arguments:
            return "double"
        upper = ORACLE_TYPES.get(upper, upper)
    kind = SYNONYMS.get(upper, upper.lower())
    if kind not in PLAIN:
        raise UnparsedStatementError
    return kind


def _typed(kind: str, arguments: list[Token], width: int) -> tuple[str, str]:
    """Return a type's name and its text as the catalog writes it. ``width``: the bytes of a
    character."""
    if kind in ("enum", "set"):
        labels = [word.text for word in arguments if word.kind == "text"]
        if len(labels) * 2 - 1 != len(arguments):
            raise UnparsedStatementError
        quoted = ["'" + _label(label) + "'" for label in labels]
        return kind, f"{kind}({','.join(quoted)})"
    # Of a length the server reads the whole number.
    numbers = [word.text.partition(".")[0] for word in arguments if word.upper != ","]
    if kind == "float" and len(numbers) == 1:  # a precision chooses the type
        return ("double", "double") if int(numbers[0]) > 24 else ("float", "float")
    if kind == "decimal" and len(numbers) == 1:
        numbers.append("0")
    if kind == "decimal" and numbers == ["0", "0"]:
        numbers = []  # which stands for the type's own
    if kind in ("text", "blob") and numbers:
        kind = _sized(kind, int(numbers[0]) * width)
        return kind, kind
    if kind in LONGER and numbers and int(numbers[0]) * width > ROW_BYTES:
        kind = LONGER[kind]  # as the server does where sql_mode is not strict
        return kind, kind
    if kind == "year":
        numbers = []
    if kind in ("time", "datetime", "timestamp") and numbers == ["0"]:
        numbers = []
    listed = f"({','.join(numbers)})" if numbers else DEFAULT_ARGUMENTS.get(kind, "")
    return kind, kind + listed


def _label(label: str) -> str:
    """Return a label as the catalog writes it, without trailing spaces."""
    return label.rstrip(" ").replace("\\", "\\\\").replace("'", "''")


def _sized(kind: str, size: int) -> str:
    """Return the smallest TEXT or BLOB that holds so many bytes."""
    for limit, prefix in ((1 << 8, "tiny"), (1 << 16, ""), (1 << 24, "medium")):
        if size < limit:
            return prefix + kind
    return "long" + kind


class _Attributes:
    """The attributes after a column's type."""

    def __init__(self, words: TokenStream, implied: set[str], context: DdlContext) -> None:
        self._context = context
        self.extra = implied - {"serial", "national"}
        self.nullable = "serial" not in implied
        self.counts = "serial" in implied
        self.default: Expression | None = None
        self.generated: Expression | None = None
        self.on_update: Expression | None = None
        self.stored = True
        self.invisible = False
        self.charset: str | None = "utf8mb3" if "national" in implied else None
        self.collation: str | None = None
        self.binary = False
        self.compressed = ""
        self.comment: str | None = None
        while words and words.peek() not in ("FIRST", "AFTER"):
            self._one(words)

    def _one(self, words: TokenStream) -> None:
        if words.accept("NOT", "NULL"):
            self.nullable = False
        elif words.accept("NULL"):  # the last of several is what the server takes
            self.nullable = True
        elif words.accept("SERIAL", "DEFAULT", "VALUE"):
            self.counts, self.nullable = True, False
            self.extra.add("unique")
        elif words.accept("REFERENCES"):
            _skip_reference(words)
        elif words.accept("DEFAULT"):
            self.default = default_of(words, self._context)
        elif words.accept("ON", "UPDATE"):
            self.on_update = default_of(words, self._context)
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
        elif (
            words.accept("CHARSET")
            or words.accept("CHARACTER", "SET")
            or words.accept("CHAR", "SET")
        ):
            self.charset = words.next().text
        elif words.peek() in BY_ATTRIBUTE:
            self.charset = BY_ATTRIBUTE[words.next().upper]
        elif words.accept("BYTE"):
            self.charset = "binary"
        elif words.accept("BINARY"):
            self.binary = True
        elif words.accept("GENERATED", "ALWAYS", "AS") or words.accept("AS"):
            self._expression(words)
        elif words.accept("INVISIBLE"):
            self.invisible = True
        elif words.accept("COMPRESSED"):
            self.compressed = COMPRESSED
        elif words.peek() == "(":
            words.brackets()
        else:  # CHECK, SRID, COLUMN_FORMAT, ...: no row image shows them
            words.next()

    def _expression(self, words: TokenStream) -> None:
        if words.accept("ROW"):  # START or END, of system versioning
            self.generated = Expression(f"ROW {words.next().upper}", Dialect.MYSQL)
            self.nullable = False
            return
        if words.peek() != "(":
            return
        self.generated = _expression(words.brackets(), self._context)
        self.stored = words.any("VIRTUAL", "STORED", "PERSISTENT") in ("STORED", "PERSISTENT")


def names_charset(words: TokenStream) -> bool:
    """Take CHARACTER SET, in one of its spellings, if it comes next."""
    one = words.accept("CHARSET") or words.accept("CHARACTER", "SET")
    return one or words.accept("CHAR", "SET")


def _skip_reference(words: TokenStream) -> None:
    """Skip what follows REFERENCES: its ON UPDATE and SET DEFAULT are not the column's."""
    words.table("")
    if words.peek() == "(":
        words.brackets()
    while words.any("MATCH", "ON"):
        words.next()
        if words.any("SET", "NO", "RESTRICT", "CASCADE") in ("SET", "NO"):
            words.next()


def default_of(words: TokenStream, context: DdlContext) -> Expression | None:
    """Return the expression behind DEFAULT or ON UPDATE; None for NULL.

    Raises `UnparsedStatementError` if a text is in a character set that is not known here.
    """
    if words.peek() == "(":
        inner = _expression(words.brackets(), context)
        return replace(inner, sql=f"({inner.sql})")
    word = words.next()
    if word.kind == "text":
        return Expression(literal(word.text), Dialect.MYSQL)
    if word.text in ("-", "+"):
        return Expression(word.raw + words.next().raw, Dialect.MYSQL)
    if word.text.startswith("_") and word.kind == "word":
        return _introduced(word.text[1:].lower(), words.next(), context)
    if word.upper == "NEXT" and words.accept("VALUE", "FOR"):
        return Expression(f"nextval({_sequence(words)})", Dialect.MYSQL)
    if word.text.lower() in LITERAL_LETTERS:
        letter = "" if word.upper == "N" else word.raw
        return Expression(letter + literal(words.next().text), Dialect.MYSQL)
    call = _expression(words.brackets(), context).sql if words.peek() == "(" else None
    if word.upper in NOW:
        digits = f"({call})" if call else ""
        return Expression(f"CURRENT_TIMESTAMP{digits}", Dialect.MYSQL)
    if call is not None:
        return Expression(f"{word.raw}({call})", Dialect.MYSQL)
    return None if word.upper == "NULL" else Expression(word.raw, Dialect.MYSQL)


NOW = {"CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"}
"""One function."""
LITERAL_LETTERS = {"b", "x", "n", "date", "time", "timestamp"}


def _sequence(words: TokenStream) -> str:
    name = quote(words.name())
    return f"{name}.{quote(words.name())}" if words.accept(".") else name


def _introduced(charset: str, word: Token, context: DdlContext) -> Expression:
    """Return the text of a literal whose bytes are of another character set than the statement."""
    try:
        if word.kind == "text":
            raw = word.text.encode(context.codec)
        elif word.text.lower() in ("x", "b"):
            raise UnparsedStatementError
        else:
            raw = bytes.fromhex(word.text.lower().removeprefix("0x"))
        text = raw.decode(CODECS[charset])
    except (KeyError, ValueError):
        raise UnparsedStatementError from None
    return Expression(literal(text), Dialect.MYSQL)


def _expression(words: Sequence[Token], context: DdlContext) -> Expression:
    """Return an expression for a session of another sql_mode.

    Raises `UnparsedStatementError` if it means something else there.
    """
    if context.sql_mode & PIPES_AS_CONCAT and any(word.upper == "||" for word in words):
        raise UnparsedStatementError
    return Expression(sql_of(words), Dialect.MYSQL)


LIMITS: Mapping[str, int] = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215}


def converted(column: Column, texts: TextDefaults, context: DdlContext) -> Column:
    """Return a text column in another character set: one that holds as many characters."""
    old, new = context.defaults.width(column.charset), context.defaults.width(texts.charset)
    native = column.type
    if new > old and native.name in LIMITS:
        name = _sized("text", LIMITS[native.name] // old * new)
        compressed = COMPRESSED if native.text.endswith(COMPRESSED) else ""
        native = native_type(name, name + compressed)
    return replace(column, type=native, charset=texts.charset, collation=texts.collation)
