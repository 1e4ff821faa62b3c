"""What is kept of an unfinished load: decided by its records alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streams_engine.errors import CheckpointMismatch, FencedOff, TargetConflict
from streams_engine.model import Chunk, TableId
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import (
    ChunkRecord,
    Records,
    RunRecord,
    TablePlanRecord,
)
from streams_engine.pipeline.resume import ResumePlan, ResumeRequest, plan_resume

PLAIN, ODD = TableId("s", "t"), TableId("s", "t:x")
HERE = {"server": "a", "gtid": "x:1"}
LATER = {"server": "a", "gtid": "x:2"}


class Sink:
    """A sink that keeps records alone."""

    def __init__(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        self.records = dict(records)

    def load_state(self, _: str) -> Mapping[str, Mapping[str, Any]]:
        """All of them."""
        return dict(self.records)

    def save_state(self, _: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records."""
        for key, record in records.items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record


def request(position: Mapping[str, Any] = HERE, **changes: Any) -> ResumeRequest:
    """A start of the same stream."""
    given = {"on_resume": "reload", "write_mode": "truncate_and_load", "fresh": False, **changes}
    return ResumeRequest("stream", given.pop("fingerprint", "f"), position, **given)


def chunk(number: int, *, table: TableId = PLAIN, ordered: bool = False) -> Chunk:
    """A chunk of a table."""
    return Chunk(table, number, key=("id",), ordered=ordered)


def records(*chunks: Chunk, done: Mapping[int, ChunkRecord] | None = None) -> Records:
    """A run whose table has these chunks, with the records of some of them by number."""
    run = RunRecord("f", HERE, "first")
    documents: dict[str, Any] = {run.key: run.to_json()}
    for table in {one.table for one in chunks}:
        plan = TablePlanRecord(table, tuple(one for one in chunks if one.table == table))
        documents[plan.key] = plan.to_json()
    documents |= {record.key: record.to_json() for record in (done or {}).values()}
    return Records(documents)


def at(number: int, rows: int, last: Any = None, *, done: bool = False) -> ChunkRecord:
    """The record of a chunk."""
    return ChunkRecord(PLAIN, number, done, rows, last)


def test_a_first_start_keeps_nothing() -> None:
    assert plan_resume(request(), Records()) == ResumePlan()


def test_finished_chunks_stay_and_cut_ones_go_on_from_their_last_row() -> None:
    chunks = (chunk(0), chunk(1), chunk(2))
    done = {0: at(0, 5, done=True), 1: at(1, 3, (7,))}
    plan = plan_resume(request(), records(*chunks, done=done))
    assert plan.ours and plan.kept and not plan.reload and not plan.findings
    left = plan.remaining(plan.chunks[PLAIN])
    assert [(one.number, one.low, record and record.rows) for one, record in left] == [
        (1, (7,), 3),
        (2, None, None),
    ]


def test_an_ordered_chunk_skips_the_rows_that_it_has() -> None:
    plan = plan_resume(request(), records(chunk(0, ordered=True), done={0: at(0, 4)}))
    [(rest, _)] = plan.remaining(plan.chunks[PLAIN])
    assert rest.skip == 4 and not plan.reload


def test_a_cut_chunk_without_a_place_to_go_on_from_is_loaded_again() -> None:
    plan = plan_resume(request(), records(chunk(0), chunk(1), done={0: at(0, 4)}))
    assert plan.kept and plan.reload == {PLAIN}
    assert [one.number for one, record in plan.remaining(plan.chunks[PLAIN])] == [0, 1]


@pytest.mark.parametrize(
    ("on_resume", "kept", "codes"),
    [("reload", False, ["reloaded"]), ("mixed", True, ["mixed-views"])],
)
def test_a_source_that_may_have_changed_is_loaded_again_unless_mixed(
    on_resume: str, kept: bool, codes: list[str]
) -> None:
    found = records(chunk(0), done={0: at(0, 5, done=True)})
    plan = plan_resume(request(LATER, on_resume=on_resume), found)
    assert plan.ours and plan.kept is kept
    assert [finding.code for finding in plan.findings] == codes


def test_ranges_of_a_heap_that_changed_are_loaded_again_together() -> None:
    chunks = (chunk(0, ordered=True), chunk(1, ordered=True))
    found = records(*chunks, done={0: at(0, 5, done=True)})
    assert plan_resume(request(LATER, on_resume="mixed"), found).reload == {PLAIN}


def test_append_never_doubles_rows() -> None:
    found = records(chunk(0), done={0: at(0, 4)})
    for changed in (request(LATER, write_mode="append"), request(write_mode="append")):
        with pytest.raises(TargetConflict, match="twice"):
            plan_resume(changed, found)
    assert plan_resume(request(write_mode="append", fresh=True), found).ours


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fingerprint": "g"}, "configuration"),
        ({"position": {**HERE, "server": "b"}}, "source .a, now b."),
    ],
)
def test_a_checkpoint_of_another_stream_or_server_is_refused(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(CheckpointMismatch, match=named):
        plan_resume(request(**changes), records(chunk(0)))


def test_what_does_not_fit_is_refused_before_it_is_taken_over() -> None:
    sink = Sink(records(chunk(0)).documents)
    before = dict(sink.records)
    with pytest.raises(CheckpointMismatch):
        CheckpointStore(sink, "stream").plan_resume(request(fingerprint="g"))  # type: ignore[arg-type]
    assert sink.records == before


def test_a_start_takes_the_run_over_and_fences_the_one_before_off() -> None:
    sink = Sink({})
    first, second = (CheckpointStore(sink, "stream") for _ in range(2))  # type: ignore[arg-type]
    first.begin("f", HERE, {PLAIN: [chunk(0)]})
    first.check_fence()
    second.plan_resume(request())
    second.check_fence()
    with pytest.raises(FencedOff, match="Another process"):
        first.check_fence()
    with pytest.raises(FencedOff):
        first.begin("f", HERE, {})


def test_a_table_that_begins_keeps_the_chunks_of_one_whose_name_begins_so() -> None:
    own, others = chunk(0), [chunk(n, table=ODD) for n in (0, 1)]
    keys = [ChunkRecord.key_of(one) for one in (own, *others)]
    sink = Sink({key: {"done": True, "rows": 5, "last": None} for key in keys})
    CheckpointStore(sink, "stream").begin("f", HERE, {PLAIN: [own]})  # type: ignore[arg-type]
    assert keys[0] not in sink.records and set(keys[1:]) <= sink.records.keys()


def test_a_table_that_is_loaded_again_forgets_its_own_chunks_alone() -> None:
    keys = [ChunkRecord.key_of(one) for one in (chunk(0), chunk(0, table=ODD))]
    found = Records({key: {"done": True, "rows": 5, "last": None} for key in keys})
    store = CheckpointStore(Sink({}), "stream")  # type: ignore[arg-type]
    opening = store.opening(found, "f", HERE, ResumePlan(True, True, reload=frozenset({PLAIN})))
    assert [key for key, document in opening.items() if document is None] == keys[:1]


@pytest.mark.parametrize("name", ["t", "t:x", "t:1", "chunk:t:1", "", ":", "täble"])
def test_each_chunk_is_of_its_own_table(name: str) -> None:
    others = [TableId("s", other) for other in ("t", "t:x", "t:1", "chunk:t:1", "", ":", "täble")]
    key = ChunkRecord.key_of(Chunk(TableId("s", name), 1))
    found = Records({key: {"done": True, "rows": 1, "last": None}})
    assert [t.name for t in others if list(found.chunk_keys([t]))] == [name]


@pytest.mark.parametrize("fresh", [False, True])
def test_what_a_fresh_start_gave_up_is_not_the_streams_own(fresh: bool) -> None:
    """It ended amid its DROPs: what is left must be dropped too, not resumed."""
    first = records(chunk(1), done={1: at(1, 10, done=True)})
    sink = Sink(first.documents)
    store = CheckpointStore(sink, "stream")  # type: ignore[arg-type]
    store.discard(store.take_over())
    assert plan_resume(request(fresh=fresh), store.load()) == ResumePlan()
    with pytest.raises(FencedOff):
        CheckpointStore(sink, "stream").check_fence()  # type: ignore[arg-type]


SETTINGS = {
    "mode": "cdc",
    "source": [{"type": "mysql", "database": "shop", "schema": None}],
    "typeOverrides": [],
    "address": ["db1:3306"],
}
MOVED = {**SETTINGS, "address": ["db2:3306"]}


def run_of(settings: Mapping[str, Any] | None, position: Mapping[str, Any] = HERE) -> Records:
    """The records of a run that was started with these settings."""
    run = RunRecord("f", position, "first", settings=settings)
    return Records({run.key: run.to_json()})


def test_another_address_of_the_same_server_is_no_change() -> None:
    plan = plan_resume(request(fingerprint="g", settings=MOVED), run_of(SETTINGS))
    assert plan.kept and not plan.findings


def test_a_checkpoint_that_has_a_digest_alone_is_read_at_its_address() -> None:
    assert plan_resume(request(settings=SETTINGS), run_of(None)).kept
    with pytest.raises(CheckpointMismatch, match="start once at the former one"):
        plan_resume(request(fingerprint="g", settings=MOVED), run_of(None))


def test_a_server_without_an_identity_of_its_own_is_known_by_its_address() -> None:
    position = {**HERE, "server": "server_id 1"}
    found = run_of(SETTINGS, position)
    assert plan_resume(request(position, settings=SETTINGS), found).kept
    with pytest.raises(CheckpointMismatch) as caught:
        plan_resume(request(position, fingerprint="g", settings=MOVED), found)
    change = {"before": ["db1:3306"], "after": ["db2:3306"]}
    assert caught.value.details["changed"] == {"source": change}


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("mode", "convert", "mode (cdc, now convert)"),
        ("source", [{"type": "mysql", "database": "other"}], "database shop, now type mysql"),
        ("typeOverrides", [{"column": "t.v", "type": "text"}], "none, now column t.v type text"),
    ],
)
def test_the_error_names_what_changed(part: str, value: Any, said: str) -> None:
    settings = {**MOVED, part: value}
    with pytest.raises(CheckpointMismatch) as caught:
        plan_resume(request(fingerprint="g", settings=settings), run_of(SETTINGS))
    assert said in str(caught.value)
    change = {"before": SETTINGS[part], "after": value}
    assert caught.value.details["changed"] == {part: change}
