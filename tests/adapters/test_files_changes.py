"""Changes into files, without a server: what is written, what counts, and what a kill leaves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streams_engine.adapters.files import change_writer
from streams_engine.adapters.files.change_log import file_name, position_text
from streams_engine.adapters.files.change_writer import FilesChangeWriter
from streams_engine.adapters.files.discovery import discover
from streams_engine.adapters.files.sink import FilesSink
from streams_engine.adapters.files.stores.store import Store
from streams_engine.contracts import ChangeSink, Checkpoint, LogWriter, QuarantinedRow, WritePlan
from streams_engine.errors import ConfigError, ConnectionFailed, FencedOff, TargetConflict
from streams_engine.model import (
    Column,
    Dialect,
    Op,
    RowChanges,
    TableId,
    TableSchema,
    Truncation,
)
from streams_engine.schema.types.files import files_type

sys.path.append(str(Path(__file__).parents[1]))
from tests.support.replay_files import changes, counting, dropped, folder_files, replayed, rows_in

TABLE = TableId("", "t")
PLACE = {"system": "1", "lsn": "0/1A2B3C8"}
INT, TEXT = pa.int64(), pa.string()


def columns(*more: str) -> tuple[Column, ...]:
    kinds = {"id": INT, "v": TEXT, **dict.fromkeys(more, INT)}
    return tuple(Column(n, files_type(a), a, nullable=n != "id") for n, a in kinds.items())


def logged(
    rows: Sequence[tuple[Any, ...]],
    *,
    first: int = 0,
    more: tuple[str, ...] = (),
    missing: Mapping[str, Sequence[bool]] | None = None,
    table: TableId = TABLE,
) -> RowChanges:
    """Changes of rows (op, old id, *new values)."""
    chosen = columns(*more)
    arrays = [pa.array([row[i + 2] for row in rows], c.arrow) for i, c in enumerate(chosen)]
    return RowChanges(
        table,
        chosen,
        ("id",),
        np.array([row[0] for row in rows], np.uint8),
        np.arange(first, first + len(rows)),
        pa.RecordBatch.from_arrays(arrays, [c.name for c in chosen]),
        pa.RecordBatch.from_arrays([pa.array([row[1] for row in rows], INT)], ["id"]),
        {n: np.array(mask) for n, mask in (missing or {}).items()},
    )


def schema() -> TableSchema:
    return TableSchema(id=TABLE, dialect=Dialect.FILES, columns=columns())


def opened(folder: Path, form: str = "jsonl") -> FilesSink:
    sink = FilesSink(Store("file", str(folder)), file_format=form)
    return sink


@pytest.fixture
def sink(tmp_path: Path) -> FilesSink:
    """A sink with the room of one table."""
    sink = opened(tmp_path)
    sink.prepare("s", [schema()], write_mode="append", keep=False)
    return sink


def commit(writer: FilesChangeWriter, *items: RowChanges | Truncation, lsn: str = "0/10") -> None:
    place = {**PLACE, "lsn": lsn}
    writer.append(items, place, 1.5)
    writer.commit({"position": place})


def ids(folder: Path) -> list[str]:
    """The new ids in the log, in order."""
    return [row["id"] for row, _ in changes(folder_files(folder), "t")]


ROWS = [
    (Op.INSERT, None, 1, "a"),
    (Op.UPDATE, 1, 2, None),
    (Op.UPDATE, 2, 2, "c"),
    (Op.DELETE, 2, None, None),
]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_each_change_is_a_row(tmp_path: Path, form: str) -> None:
    sink = opened(tmp_path, form)
    sink.prepare("s", [schema()], write_mode="append", keep=False)
    with sink.change_writer("s", "log") as writer:
        assert isinstance(sink, ChangeSink) and isinstance(writer, LogWriter)
        change = logged(ROWS, first=7, missing={"v": [False, True, False, True]})
        commit(writer, change, Truncation((TABLE,)), logged(ROWS[:1], first=12))
    [path] = counting(folder_files(tmp_path), "t")
    assert path == f"t/_changes/0000000001-e1-00000000-00000010.{form}"
    rows = rows_in(path, (tmp_path / path).read_bytes())
    told = [(r["_op"], r["id"], r["v"], r["_before_id"], r["_missing"], r["_seq"]) for r in rows]
    assert told == [
        ("insert", "1", "a", None, None, "0"),
        ("update", "2", None, "1", '["v"]', "1"),
        ("update", "2", "c", "2", None, "2"),
        ("delete", None, None, "2", None, "3"),
        ("truncate", None, None, None, None, "4"),
        ("insert", "1", "a", None, None, "5"),
    ]
    assert {row["_position"] for row in rows} == {"0/10"}
    assert {row["_committed_at"][:10] for row in rows} == {"1970-01-01"}


def test_an_identity_that_was_kept_is_the_old_one(sink: FilesSink, tmp_path: Path) -> None:
    change = logged([(Op.INSERT, None, 1, "a"), (Op.UPDATE, None, 1, "b")])
    object.__setattr__(change, "before", None)
    with sink.change_writer("s", "log") as writer:
        commit(writer, change)
    told = [row["_before_id"] for row, _ in changes(folder_files(tmp_path), "t")]
    assert told == [None, "1"]


def test_truncations_have_their_place(sink: FilesSink, tmp_path: Path) -> None:
    empty, row = Truncation((TABLE,)), [(Op.INSERT, None, 1, "a")]
    with sink.change_writer("s", "log") as writer:
        writer.append([empty, empty, logged(row, first=2)], {"lsn": "0/1"}, None)
        writer.append([empty], {"lsn": "0/2"}, None)
        writer.append([logged(row), empty, logged(row, first=2)], None, None)
        commit(writer, logged(row, first=9))
    told = [(row["_op"][0], row["_seq"]) for row, _ in changes(folder_files(tmp_path), "t")]
    assert "".join(op for op, _ in told) == "ttititii"
    assert [int(seq) for _, seq in told] == list(range(8))


def test_sets_are_gathered_each_with_its_position(sink: FilesSink, tmp_path: Path) -> None:
    with sink.change_writer("s", "log") as writer:
        for n in range(3):
            writer.append([logged([(Op.INSERT, None, n, "x")])], {"lsn": f"0/{n}"}, float(n))
        assert not writer.full and not counting(folder_files(tmp_path), "t")
        writer.commit({"position": {"lsn": "0/2"}})
        writer.commit({"position": {"lsn": "0/9"}})
        assert writer.document == {"position": {"lsn": "0/9"}}
    files = folder_files(tmp_path)
    assert len(counting(files, "t")) == 1
    assert [row["_position"] for row, _ in changes(files, "t")] == ["0/0", "0/1", "0/2"]
    assert sink.load_state("s")["log"] == {"position": {"lsn": "0/9"}}


def test_a_large_transaction_waits_on_disk(
    sink: FilesSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_writer, "FULL_BYTES", 2000)
    with sink.change_writer("s", "log") as writer:
        writer.append([logged([(Op.INSERT, None, -1, "x")])], {"lsn": "0/1"}, 1.0)
        for n in range(20):
            rows = [(Op.INSERT, None, n * 10 + i, "y" * 20) for i in range(10)]
            writer.append([logged(rows)], None, None)
            assert not writer.full
        writer.append([], {"lsn": "0/2"}, 2.0)
        writer.commit({"position": {"lsn": "0/2"}})
    told = [(row["id"], row["_position"]) for row, _ in changes(folder_files(tmp_path), "t")]
    assert told == [("-1", "0/1"), *((str(n), "0/2") for n in range(200))]


def test_new_columns_begin_a_new_file(sink: FilesSink, tmp_path: Path) -> None:
    with sink.change_writer("s", "log") as writer:
        one = logged([(Op.INSERT, None, 1, "a")])
        other = logged([(Op.INSERT, None, 2, "b", 3)], more=("w",), first=1)
        commit(writer, one, other)
        commit(writer, other, lsn="0/20")
    files = folder_files(tmp_path)
    assert ids(tmp_path) == ["1", "2", "2"]
    told = json.loads(files["t/_manifest.json"])["changes"]
    names = [[c["name"] for c in v["columns"]] for v in told["versions"]]
    assert [len(n) for n in names] == [8, 9] and "w" in names[1]
    assert [n[:10] for n in sorted(p.rsplit("/")[-1] for p in counting(files, "t"))] == [
        "0000000001", "0000000002", "0000000003",
    ]  # fmt: skip


def test_a_table_ends_and_another_one_begins_under_its_name(
    sink: FilesSink, tmp_path: Path
) -> None:
    with sink.change_writer("s", "log") as writer:
        commit(writer, logged([(Op.INSERT, None, 1, "a")]))
        writer.drop(TABLE)
        commit(writer)
        assert dropped(folder_files(tmp_path), "t")
        writer.create(TABLE, columns("w"), ("id",))
        assert writer.column_names(TABLE) >= {"id", "v", "w"}
        commit(writer)
    files = folder_files(tmp_path)
    told = [(row["_op"], row["_position"], "w" in row) for row, _ in changes(files, "t")]
    assert told == [("insert", "0/10", False), ("drop", "0/10", False), ("truncate", "0/10", True)]
    assert not dropped(files, "t") and replayed(files, "t") == []


def test_who_is_fenced_off_writes_nothing_that_counts(sink: FilesSink, tmp_path: Path) -> None:
    row = logged([(Op.INSERT, None, 1, "a")])
    with sink.change_writer("s", "log") as first:
        commit(first, row)
        with opened(tmp_path).change_writer("s", "log") as second:
            first.append([logged([(Op.INSERT, None, 66, "no")])], PLACE, None)
            with pytest.raises(FencedOff) as caught:
                first.commit({"position": PLACE})
            assert caught.value.remedy
            commit(second, logged([(Op.INSERT, None, 2, "b")]), lsn="0/20")
            assert ids(tmp_path) == ["1", "2"]
    assert len(list((tmp_path / "t/_changes").iterdir())) == 3
    with sink.change_writer("s", "log"):
        assert len(list((tmp_path / "t/_changes").iterdir())) == 2
        assert ids(tmp_path) == ["1", "2"]


class Cut(Exception):
    """What ends a process at a point of the test's choice."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``cut(part of a path)``: the next such document is not written."""
    plain = Store.write_json

    def install(name: str, error: Exception | None = None, *, done: bool = False) -> None:
        def write(store: Store, path: str, document: Mapping[str, Any]) -> None:
            if name not in path:
                plain(store, path, document)
                return
            if done:
                plain(store, path, document)
            monkeypatch.setattr(Store, "write_json", plain)
            raise error or Cut

        monkeypatch.setattr(Store, "write_json", write)

    yield install


@pytest.mark.parametrize("place", ["logs/s/log.json", "t/_manifest.json"])
def test_killed_before_the_commit_nothing_counts(
    sink: FilesSink, tmp_path: Path, cut: Any, place: str
) -> None:
    with sink.change_writer("s", "log") as writer:
        cut(place)
        with pytest.raises(Cut):
            commit(writer, logged([(Op.INSERT, None, 1, "a")]))
    assert not ids(tmp_path)
    again = opened(tmp_path)
    with again.change_writer("s", "log") as writer:
        assert writer.document is None
        assert not list(tmp_path.glob("t/_changes/*"))
        commit(writer, logged([(Op.INSERT, None, 1, "a")]))
    assert ids(tmp_path) == ["1"]


@pytest.mark.parametrize("done", [True, False])
def test_a_commit_without_an_answer_is_settled_by_looking(
    sink: FilesSink, tmp_path: Path, cut: Any, done: bool
) -> None:
    with sink.change_writer("s", "log") as writer:
        cut("logs/s/log.json", ConnectionFailed("no answer"), done=done)
        if done:
            commit(writer, logged([(Op.INSERT, None, 1, "a")]))
        else:
            with pytest.raises(ConnectionFailed):
                commit(writer, logged([(Op.INSERT, None, 1, "a")]))
    assert ids(tmp_path) == (["1"] if done else [])


def test_records_of_a_commit(sink: FilesSink, cut: Any) -> None:
    sink.save_state("s", {"a": {"n": 1}, "b": {"n": 1}, "log": {"position": {"lsn": "0/1"}}})
    with sink.change_writer("s", "log") as writer:
        assert writer.document == {"position": {"lsn": "0/1"}}
        writer.commit({"position": PLACE}, {"a": None, "b": {"n": 2}, "c": {"n": 3}})
        wanted = {"b": {"n": 2}, "c": {"n": 3}, "log": {"position": PLACE}}
        assert sink.load_state("s") == wanted
    cut("_streams_engine/s.json")
    with pytest.raises(Cut):
        sink.save_state("s", {"d": {"n": 4}})
    assert sink.load_state("s") == wanted
    sink.save_state("s", {"b": {"n": 5}, "c": None})
    assert sink.load_state("s") == {"b": {"n": 5}, "log": {"position": PLACE}}
    sink.forget("s")
    assert sink.load_state("s") == {}


def test_the_rows_of_a_whole_table_stay_without_their_records(
    sink: FilesSink, tmp_path: Path
) -> None:
    rows = pa.RecordBatch.from_pydict({"id": pa.array([1]), "v": ["a"]})
    load = WritePlan(TABLE, columns())
    sink.write_rows("s", load, iter([rows]), lambda: Checkpoint("chunk:t:0", {"done": True}))
    sink.finish("s", [TABLE])
    sink.save_state("s", {"chunk:t:0": None, "followed:t": {"loaded": True}})
    assert sink.load_state("s") == {"followed:t": {"loaded": True}}
    [part] = json.loads((tmp_path / "t/_manifest.json").read_text())["parts"]
    assert part["rows"] == 1 and (tmp_path / "t" / part["path"]).exists()
    with sink.change_writer("s", "log") as writer:
        commit(writer, logged([(Op.INSERT, None, 2, "b")]))
    [found] = discover(sink.store, (), None)
    assert [file.info.path for file in found.files] == [f"t/{part['path']}"]


def test_rows_that_were_set_aside_lie_in_the_quarantine(sink: FilesSink, tmp_path: Path) -> None:
    with sink.change_writer("s", "log") as writer:
        writer.append([], PLACE, None)
        writer.commit(
            {"position": PLACE}, {}, [QuarantinedRow(TABLE, "why", "POLICY", {"id": "1"})]
        )
    [path] = tmp_path.glob("_streams_engine/quarantine/s/*.jsonl")
    assert json.loads(path.read_text())["row"] == {"id": "1"}


def test_a_column_called_like_one_of_ours(sink: FilesSink) -> None:
    change = logged([(Op.INSERT, None, 1, "a", 1)], more=("_seq",))
    with (
        sink.change_writer("s", "log") as writer,
        pytest.raises(ConfigError, match="_seq") as caught,
    ):
        writer.append([change], PLACE, None)
    assert caught.value.remedy


def test_the_folder_of_another_stream(sink: FilesSink) -> None:
    with sink.change_writer("other", "log") as writer, pytest.raises(TargetConflict) as caught:
        commit(writer, logged([(Op.INSERT, None, 1, "a")]))
    assert caught.value.remedy


def test_a_table_that_the_log_made_has_a_manifest(sink: FilesSink, tmp_path: Path) -> None:
    new = TableId("", "new")
    with sink.change_writer("s", "log") as writer:
        commit(writer, logged([(Op.INSERT, None, 1, "a")], table=new))
    files = folder_files(tmp_path)
    assert [row["id"] for row, _ in changes(files, "new")] == ["1"]
    assert json.loads(files["new/_manifest.json"])["complete"]


def test_names_tell_positions() -> None:
    binlog = {"server": "u", "file": "mysql-bin.000012", "pos": 345, "gtid": "a:1"}
    assert position_text(PLACE) == "0/1A2B3C8"
    assert position_text(binlog) == "mysql-bin.000012:345"
    assert file_name(3, 2, PLACE) == "0000000003-e2-00000000-01A2B3C8"
    assert file_name(3, 2, binlog) == "0000000003-e2-mysql-bin.000012-0000000345"
    gtid = {"gtid": "3e11fa47-71ca:1-5,0/\\" + "x" * 500}
    name = file_name(10, 11, gtid)
    assert name.startswith("0000000010-e11-3e11fa47-71ca_1-5_0__") and len(name) < 120
