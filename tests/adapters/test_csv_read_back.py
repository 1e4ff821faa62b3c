"""CSV of our own is read back exactly: single columns, any delimiter in values, no manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.files.formats import csv
from streams_engine.adapters.files.formats.options import CsvOptions
from streams_engine.adapters.files.stores.store import Store
from streams_engine.model import Column
from streams_engine.schema.types.files import files_type

words = st.one_of(
    st.none(),
    st.sampled_from(["", " ", ",", ";", "|", "\t", '"', "'", "a;b", "a,b", "a|b", "a\tb", "\r\n",
                     "\n", "\r", "\ufeff", "NULL", "0", "~", "\\", "a\n\nb", '";"']),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=5),
)  # fmt: skip
names = st.lists(
    st.one_of(
        st.sampled_from(["a", "a;b", "a,b", "|", "\t", '"', " "]), st.text("ab ;,", min_size=1)
    ),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip


@st.composite
def tables(draw: Any) -> tuple[list[str], list[tuple[str | None, ...]]]:
    columns = draw(names)
    return columns, draw(st.lists(st.tuples(*[words] * len(columns)), max_size=8))


def columns_of(named: list[str]) -> list[Column]:
    return [Column(name, files_type(pa.string()), pa.string()) for name in named]


def read(folder: Path, options: CsvOptions) -> tuple[list[str], list[tuple[Any, ...]]]:
    found: list[tuple[Any, ...]] = []
    named: list[str] = []
    for batch, _ in csv.read_texts(Store(root=str(folder)), "t.csv", None, options):
        named = batch.schema.names
        found += list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return named, found


@pytest.mark.parametrize("delimiter", ["", ",", ";", "\t", "|", "~", " "])
@pytest.mark.parametrize("header", [True, False])
def test_what_was_written_is_read(tmp_path: Path, delimiter: str, header: bool) -> None:
    written = CsvOptions(delimiter, header=header)
    usual = delimiter in ("", ",", ";", "\t", "|")
    # Without the manifest nobody says the delimiter: a usual one is found, where rows show it.
    untold = [CsvOptions("", header=header)] if usual else []

    @settings(
        max_examples=150, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @example((["a"], [(None,), ("",), ("a;b",), (None,)]))
    @example((["a"], [("a;b",), ("c;d",)]))
    @example((["a;b"], [("c;d",)]))
    @example((["a", "b"], [(None, None), (None, "x")]))
    @given(tables())
    def back(table: tuple[list[str], list[tuple[str | None, ...]]]) -> None:
        named, rows = table
        columns = columns_of(named)
        arrays = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(named))]
        batch = pa.RecordBatch.from_arrays(arrays, [str(i) for i in range(len(named))])
        content = csv.header(columns, written) + bytes(csv.encode(batch, columns, written))
        (tmp_path / "t.csv").write_bytes(content)
        if not content:
            return
        expected = named if header else [f"c{i + 1}" for i in range(len(named))]
        for options in (written if delimiter else CsvOptions(",", header=header), *untold):
            assert read(tmp_path, options) == (expected, rows), (content, options)

    back()
