"""Checkpoint records: their stored form is read whoever wrote it, and none is taken for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams_engine.errors import CheckpointMismatch
from streams_engine.model import (
    Chunk,
    Dialect,
    EqualRange,
    TableId,
    TableSchema,
    VerificationProgress,
)
from streams_engine.pipeline.checkpoint_records import (
    VERSION,
    ChunkRecord,
    DdlIntentRecord,
    LogRecord,
    MadeTableRecord,
    OwnTableRecord,
    PendingDdlRecord,
    Record,
    Records,
    RunRecord,
    TablePlanRecord,
    TableRecord,
    VerifyRecord,
)

WRITTEN = Path(__file__).parent / "checkpoints"
"""Checkpoints that version 0.1.0 left in each kind of target: of a load that was stopped in the
middle, and of a log after a schema change."""

A, ODD, NO_KEY = TableId("src", "a"), TableId("src", "b:c"), TableId("src", "nokey")


def written(name: str) -> dict[str, dict[str, Any]]:
    """The documents of a checkpoint by key."""
    documents: dict[str, dict[str, Any]] = json.loads((WRITTEN / f"{name}.json").read_text())
    return documents


def stored(record: Record) -> Any:
    """The document as a sink gives it back."""
    return json.loads(json.dumps(record.to_json()))


@pytest.mark.parametrize("target", ["postgres", "mysql", "files"])
def test_the_checkpoint_of_a_stopped_load_is_read(target: str) -> None:
    documents = written(f"{target}-convert")
    records = Records(documents)
    assert records.run is not None and records.run.version == 1 and records.run.start
    assert stored(records.run) == {**documents["run"], "version": VERSION}
    plans = {plan.table: plan for plan in records.plans()}
    assert set(plans) == {A, ODD, NO_KEY}
    chunks = [(chunk, records.chunk(chunk)) for plan in plans.values() for chunk in plan.chunks]
    begun = [record for _, record in chunks if record is not None]
    for record in (*plans.values(), *begun):
        assert stored(record) == documents[record.key]
    assert {"run", *(p.key for p in plans.values()), *(r.key for r in begun)} == set(documents)
    assert records.rows_loaded() and begun
    assert set(records.load_keys()) == set(documents) - {"run"}


@pytest.mark.parametrize("target", ["postgres", "mysql", "files"])
def test_the_checkpoint_of_a_followed_log_is_read(target: str) -> None:
    documents = written(f"{target}-cdc")
    records = Records(documents)
    assert not list(records.plans()) and not records.has_pending_ddl("")
    tables = {record.table: record for record in records.tables()}
    assert set(tables) == {A, ODD, NO_KEY} and all(r.loaded for r in tables.values())
    for record in tables.values():
        assert stored(record) == documents[record.key]
    assert [column.name for column in tables[A].schema.columns][:3] == ["id", "s", "d"]
    log = records.log("")
    assert log is not None and log.position == documents["log"]["position"]
    assert records.log("other") is None


def test_a_checkpoint_of_a_newer_format_is_refused() -> None:
    document = {"fingerprint": "f", "position": {}, "version": VERSION + 1}
    with pytest.raises(CheckpointMismatch, match=f"format {VERSION + 1}"):
        assert Records({"run": document}).run


def test_records_of_every_kind_come_back_as_they_were_put() -> None:
    schema = TableSchema(A, Dialect.MYSQL, ())
    chunk = Chunk(A, 3, None, ("id",), (1,), None, 10)
    kinds: list[Record] = [
        RunRecord("f", {"gtid": "x"}, "s", settings={"mode": "cdc"}),
        TablePlanRecord(A, (chunk,)),
        ChunkRecord(A, 3, False, 7, (1, "x")),
        TableRecord(A, schema, {"gtid": "x"}, "upsert", False, early=True),
        LogRecord("shop", {"gtid": "x"}),
        PendingDdlRecord("shop"),
        DdlIntentRecord(A, (A, ODD), ("p",)),
        MadeTableRecord(A, A),
        OwnTableRecord(A),
        VerifyRecord(
            VerificationProgress(
                A, "digest", 17.5, (EqualRange(1, 9, 4),), ("b",), 2, None, ("told",)
            )
        ),
    ]
    records = Records({record.key: stored(record) for record in kinds})
    assert len(records.documents) == len(kinds)
    assert records.run == kinds[0]
    assert list(records.plans()) == [kinds[1]]
    assert records.chunk(chunk) == kinds[2]
    assert records.tables() == [kinds[3]]
    assert records.log("shop") == kinds[4]
    assert records.has_pending_ddl("shop") and not records.has_pending_ddl("")
    assert records.intended() == {str(A)}
    assert records.renames() == {str(A): (A, ODD)}
    assert records.columns_added() == {str(A): ("p",)}
    assert records.emptied() == {}
    assert records.made() == [kinds[7]]
    assert records.own() == {A}
    assert [VerifyRecord(progress) for progress in records.verified()] == [kinds[9]]
    assert records.verify_keys() == [kinds[9].key]


def test_of_tables_that_were_emptied_it_is_known_which_get_another_name_with_that() -> None:
    intent = DdlIntentRecord(A, emptied=True)
    assert Records({intent.key: stored(intent)}).emptied() == {str(A): False}
    renamed = DdlIntentRecord(A, (A, ODD), emptied=True)
    assert Records({renamed.key: stored(renamed)}).emptied() == {str(A): True}


def test_a_verification_that_another_version_recorded_is_begun_anew() -> None:
    record = VerifyRecord(VerificationProgress(A, "digest", 17.5))
    for version in (VERSION + 1, None):
        records = Records({record.key: {**stored(record), "version": version}})
        assert records.verified() == [] and records.verify_keys() == [record.key]


def test_chunks_of_a_table_are_not_those_of_one_whose_name_begins_so() -> None:
    begins_so = TableId("src", "b")
    keys = [ChunkRecord.key_of(Chunk(table, 0)) for table in (begins_so, ODD)]
    records = Records({key: {"done": True, "rows": 1, "last": None} for key in keys})
    assert list(records.chunk_keys([begins_so])) == keys[:1]
    assert list(records.chunk_keys([ODD])) == keys[1:]


def test_a_fence_that_nothing_was_written_behind_is_no_progress() -> None:
    chunk = Chunk(A, 0)
    records = Records(
        {ChunkRecord.key_of(chunk): {}, "table:src.a": stored(TablePlanRecord(A, (chunk,)))}
    )
    assert records.chunk(chunk) is None
    assert not records.finished_tables() and not records.rows_loaded()


def test_a_table_is_finished_once_all_of_its_chunks_are_done() -> None:
    chunks = (Chunk(A, 0), Chunk(A, 1))
    documents = {"table:src.a": stored(TablePlanRecord(A, chunks))}
    for number, done in enumerate((True, True)):
        assert not Records(documents).finished_tables()
        record = ChunkRecord(A, number, done, 1, None)
        documents[record.key] = stored(record)
    assert Records(documents).finished_tables() == {A}
