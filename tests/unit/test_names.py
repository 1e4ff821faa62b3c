"""Names for PostgreSQL: short enough, unique, the same every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import Catalog, Column, Dialect, NativeType, TableId, TableSchema
from streams_engine.schema.ddl.names import MAX_BYTES, Namespace, shorten
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import MappingOptions
from streams_engine.schema.types.postgres import arrow_type

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
long_words = words | st.builds(lambda w, n: w * n, words, st.integers(1, 80))


@given(long_words, st.integers(12, MAX_BYTES))
def test_short_names_stay_and_long_ones_fit(name: str, room: int) -> None:
    short = shorten(name, room)
    assert len(short.encode()) <= room
    assert short == shorten(name, room)
    assert (short == name) == (len(name.encode()) <= room)


def test_long_names_with_one_head_stay_apart() -> None:
    head = "x" * 100
    assert len({shorten(head + str(i)) for i in range(1000)}) == 1000


def test_a_character_is_never_cut_in_two() -> None:
    assert shorten("ü" * 40).startswith("ü" * 27)
    assert "�" not in shorten("a" + "\U0001f680" * 30)


@given(st.lists(st.lists(long_words, min_size=1, max_size=3), max_size=20))
def test_unique_names_are_unique(wanted: list[list[str]]) -> None:
    names = Namespace()
    taken = [names.unique(*candidates) for candidates in wanted]
    assert len(set(taken)) == len(taken)
    assert all(len(name.encode()) <= MAX_BYTES for name in taken)


def test_candidates_then_numbers() -> None:
    names = Namespace()
    names.reserve("t")
    assert [names.unique("t", "s_t") for _ in range(3)] == ["s_t", "s_t_2", "s_t_3"]
    assert names.unique("T") == "T"


def test_columns_of_63_letters_that_differ_in_case_alone_fit_mysql() -> None:
    number = NativeType(Dialect.POSTGRES, "int4", "integer")
    columns = tuple(Column(n * 63, number, arrow_type(number)) for n in "aA")
    table = TableSchema(TableId("public", "t"), Dialect.POSTGRES, columns)
    mapped = map_catalog(Catalog(Dialect.POSTGRES, (table,)), Dialect.MYSQL, MappingOptions())
    names = [column.name for column in mapped.tables[0].target.columns]
    assert len({name.lower() for name in names}) == 2
    assert all(len(name) <= 64 for name in names)
