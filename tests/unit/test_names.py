"""Names for PostgreSQL: short enough, unique, the same every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams_engine.schema.ddl.names import MAX_BYTES, Namespace, shorten

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
