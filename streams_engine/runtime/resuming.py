"""What an earlier, unfinished run of the same stream left, and what of it can be kept.

The checkpoint lies in the sink: a record ``run`` (source, position, fingerprint), a
record a table with its chunks, and a record a chunk that was committed with its rows.
A killed run's view of the source is gone, so finished chunks are kept only where the
source can be shown not to have changed since; see "What a restart can promise" in
the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

from streams_engine.errors import CheckpointMismatch, TargetConflict
from streams_engine.model import Chunk, Finding, Position, Severity, TableId, TableSchema
from streams_engine.protocols import Sink

__all__ = ["RUN", "Continuation", "Memory", "finished_tables", "may_remain"]

RUN = "run"
_CHUNK = "chunk:"
IDENTITY = ("system", "server")
"""The keys of a position that name the server itself."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What is kept of an earlier run. Empty for a run that begins anew."""

    ours: bool = False
    """The tables on the target are this stream's own work."""
    kept: bool = False
    """Rows that were copied stay; else the tables are emptied and loaded again."""
    chunks: Mapping[TableId, Sequence[Chunk]] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reload: frozenset[TableId] = frozenset()
    """Source tables that must be emptied although others are kept: a cut chunk without a key."""
    findings: tuple[Finding, ...] = ()

    def record(self, table: TableId, chunk: Chunk) -> Mapping[str, Any] | None:
        """What is kept of a chunk; None where it begins."""
        return None if table in self.reload else self.records.get(chunk_key(chunk))

    def remaining(self, table: TableId, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks still to copy, cut ones from where they were cut."""
        left = []
        for chunk in chunks:
            rest = continued(chunk, self.record(table, chunk))
            if rest is not None:
                left.append(rest)
        return left

    def made(self, there: TableSchema | None) -> frozenset[str]:
        """The objects of a table that an earlier run has made already, as statements name them."""
        if there is None:
            return frozenset()
        keys = (there.primary_key, *there.indexes)
        names = [("index", i.name) for i in keys if i is not None]
        names += [("constraint", i.name) for i in keys if i is not None and i.constraint]
        names += [("constraint", fk.name) for fk in there.foreign_keys]
        names += [("constraint", check.name) for check in there.checks]
        names += [("constraint", exclusion.name) for exclusion in there.exclusions]
        parts = there.partitioning.every() if there.partitioning else ()
        of_parts = {f"constraint {fk.name} of {p.id}" for p in parts for fk in p.foreign_keys}
        return frozenset(f"{kind} {name} of {there.id}" for kind, name in names) | of_parts


def positions(position: Position) -> Mapping[str, Mapping[str, Any]]:
    """The positions by alias; a single source's under the empty one."""
    found: Mapping[str, Mapping[str, Any]] = position.get("sources") or {"": position}
    return found


def continued(chunk: Chunk, record: Mapping[str, Any] | None) -> Chunk | None:
    """What its record leaves of a chunk; None where it is done."""
    if record is None:
        return chunk
    if record["done"]:
        return None
    if chunk.ordered:
        return replace(chunk, skip=record["rows"])
    return replace(chunk, low=tuple(record["last"])) if record["last"] else chunk


def chunk_key(chunk: Chunk) -> str:
    """The key of a chunk's checkpoint record."""
    return f"{_CHUNK}{chunk.table}:{chunk.number}"


def is_chunk_of(key: str, tables: Iterable[TableId]) -> bool:
    """Return whether a record is of a chunk of one of the tables, whatever is in their names."""
    name, _, number = key.removeprefix(_CHUNK).rpartition(":")
    chunk = key.startswith(_CHUNK) and number.isdecimal()
    return chunk and any(name == str(table) for table in tables)


class Memory:
    """The checkpoint of one stream, in its sink."""

    def __init__(self, sink: Sink, stream: str) -> None:
        self._sink = sink
        self._stream = stream
        self._records: Mapping[str, Mapping[str, Any]] = {}
        self._start = uuid4().hex
        self.run: Mapping[str, Any] = {}
        """The run's record as it stands: it names this start of the stream."""

    def known(self) -> Mapping[str, Mapping[str, Any]]:
        """All records as they are."""
        self._records = self._sink.load_state(self._stream)
        return self._records

    def claim(self) -> None:
        """Take the run over: what workers of an earlier start still write counts no more."""
        run = self._records.get(RUN)
        if run is not None:
            self._sink.save_state(self._stream, {RUN: {**run, "start": self._start}})
            self.known()  # with what they committed until now

    def recall(
        self,
        fingerprint: str,
        position: Position,
        *,
        on_resume: str,
        write_mode: str,
        fresh: bool,
    ) -> Continuation:
        """What can be kept. Raises `CheckpointMismatch` naming what changed.

        Raises `TargetConflict` where rows would have to be loaded again into tables that
        ``write_mode`` append forbids to empty.
        """
        run = self.known().get(RUN)
        if run is not None and not fresh:
            self._check(run, fingerprint, position)
        self.claim()
        if fresh or run is None:
            return Continuation(ours=run is not None)
        unchanged = _unchanged(run["position"], position)
        if not unchanged and on_resume != "mixed":
            if write_mode == "append" and any(_rows(r) for r in self._records.values()):
                raise self._would_double("the source may have changed since")
            return Continuation(ours=True, findings=(_note(RELOADED),))
        chunks, reload = self._plans(unchanged)
        if write_mode == "append" and reload:
            names = ", ".join(sorted(map(str, reload)))
            raise self._would_double(f"a copy without a key to go on from was cut in {names}")
        notes = () if unchanged else (_note(MIXED),)
        return Continuation(True, True, chunks, self._records, reload, notes)

    def opening(
        self, fingerprint: str, position: Position, going_on: Continuation
    ) -> Mapping[str, Mapping[str, Any] | None]:
        """The records that have to change in one with the tables that are made or emptied."""
        records: dict[str, Mapping[str, Any] | None] = {}
        for key in self._records:
            if is_chunk_of(key, going_on.reload) or not going_on.kept:
                records[key] = None
        records[RUN] = self._run(fingerprint, position)
        return records

    def begin(
        self, fingerprint: str, position: Position, plans: Mapping[TableId, Sequence[Chunk]]
    ) -> None:
        """Write down the run and the chunks of the tables that begin now."""
        records: dict[str, Mapping[str, Any] | None] = {
            key: None for key in self._records if is_chunk_of(key, plans)
        }
        self.run = records[RUN] = self._run(fingerprint, position)
        for table, chunks in plans.items():
            records[f"table:{table}"] = {
                "table": asdict(table),
                "chunks": [asdict(chunk) for chunk in chunks],
            }
        self._sink.save_state(self._stream, records)

    def _run(self, fingerprint: str, position: Position) -> dict[str, Any]:
        return {"fingerprint": fingerprint, "position": dict(position), "start": self._start}

    def forget(self) -> None:
        """The run is finished: its checkpoint goes."""
        self._sink.forget(self._stream)

    def _would_double(self, why: str) -> TargetConflict:
        return TargetConflict(
            f"Stream '{self._stream}' cannot go on: {why}, and rows that an earlier "
            "run appended would be appended twice.",
            remedy="writeMode is append: remove those rows and call start(fresh=True), use "
            "onResume mixed for a changed source, or upsert or truncate_and_load.",
        )

    def _check(self, run: Mapping[str, Any], fingerprint: str, position: Position) -> None:
        changed = []
        if run["fingerprint"] != fingerprint:
            changed.append("the stream's configuration (tables, types or selection)")
        then, now = positions(run["position"]), positions(position)
        if any(
            then.get(alias, {}).get(key) != now.get(alias, {}).get(key)
            for alias in then.keys() | now.keys()
            for key in IDENTITY
        ):
            changed.append("the source server's identity")
        if changed:
            raise CheckpointMismatch(
                f"The checkpoint of stream '{self._stream}' does not fit: {' and '.join(changed)} "
                "changed since.",
                remedy="Restore what changed, or forget the checkpoint with start(fresh=True).",
                changed=changed,
            )

    def _plans(self, unchanged: bool) -> tuple[dict[TableId, list[Chunk]], frozenset[TableId]]:
        chunks: dict[TableId, list[Chunk]] = {}
        reload = set()
        for key, record in self._records.items():
            if key.startswith("table:"):
                table = TableId(**record["table"])
                chunks[table] = [_chunk(document) for document in record["chunks"]]
                for chunk in chunks[table]:
                    part = self._records.get(chunk_key(chunk))
                    if part is None or not _rows(part) or part["done"] or part["last"]:
                        continue
                    if not (chunk.ordered and unchanged):
                        reload.add(table)
                # In a changed heap rows may have moved between finished and unfinished ranges.
                parts = [self._records.get(chunk_key(c)) for c in chunks[table] if c.ordered]
                whole = all(part and part["done"] for part in parts)
                if not unchanged and any(_rows(part) for part in parts) and not whole:
                    reload.add(table)
        return chunks, frozenset(reload)


def finished_tables(records: Mapping[str, Mapping[str, Any]]) -> frozenset[TableId]:
    """The tables all of whose chunks are recorded as done."""
    found = set()
    for key, record in records.items():
        if key.startswith("table:"):
            chunks = [records.get(chunk_key(_chunk(c)), {}) for c in record["chunks"]]
            if all(chunk.get("done") for chunk in chunks):
                found.add(TableId(**record["table"]))
    return frozenset(found)


def _chunk(document: Mapping[str, Any]) -> Chunk:
    def bound(value: Any) -> tuple[Any, ...] | None:
        return None if value is None else tuple(value)

    relation = document["relation"]
    return Chunk(
        TableId(**document["table"]),
        document["number"],
        None if relation is None else TableId(**relation),
        tuple(document["key"]),
        bound(document["low"]),
        bound(document["high"]),
        document["estimated_rows"],
        document.get("ordered", False),
    )


def _rows(record: Mapping[str, Any] | None) -> int:
    """How many rows a chunk's record stands for; 0 for any other record."""
    return 0 if record is None else int(record.get("rows", 0))


def _unchanged(then: Position, now: Position) -> bool:
    """True only where the positions prove that no captured table of any source was written to."""
    before, after = positions(then), positions(now)
    return before.keys() == after.keys() and all(
        _still(before[alias], after[alias]) for alias in before
    )


def _still(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """True only where two positions of a source prove that no captured table changed between.

    ``writes`` counts the writes to the captured tables where the log's position moves
    without them (PostgreSQL).
    """
    if "writes" in then or "writes" in now:
        keys = ("writes", "storage")
        return all(then.get(k) is not None and then.get(k) == now.get(k) for k in keys)
    marks = [key for key in ("gtid", "file", "pos") if then.get(key) or now.get(key)]
    return bool(marks) and all(then.get(key) == now.get(key) for key in marks)


RELOADED = (
    "reloaded",
    "The source may have changed since the earlier run's view, which is gone: every table is "
    "loaded again (onResume: reload).",
)
MIXED = (
    "mixed-views",
    "The source changed since the earlier run's view: finished chunks are of that view, the "
    "others of a newer one (onResume: mixed).",
)


def may_remain(table: TableId) -> Finding:
    """Return what is to be said of a table that is merged again, in another view, into rows that
    are not the stream's own: it cannot be emptied."""
    return Finding(
        Severity.WARNING,
        "rows-may-remain",
        str(table),
        "Its load was cut and begins again in a newer view, into a table that had rows of its own: "
        "rows that were loaded before and that the source has deleted since stay on the target.",
        "Run verify(); where rows are left over, delete them, or empty the table and start with "
        "fresh=True.",
    )


def _note(text: tuple[str, str]) -> Finding:
    return Finding(Severity.WARNING, text[0], "stream", text[1])
