"""Decide what of an unfinished run is kept. Pure.

A killed run's snapshot is gone, so finished chunks are kept only where the positions prove that the
source did not change since; see "What a restart can promise" in the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streams_engine.errors import CheckpointMismatch, TargetConflict
from streams_engine.model import (
    Chunk,
    Finding,
    ObjectKind,
    ObjectRef,
    Position,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.checkpoint_records import ChunkRecord, Records, RunRecord

__all__ = [
    "BY_NUMBER",
    "Change",
    "ResumePlan",
    "ResumeRequest",
    "changed_settings",
    "made_objects",
    "may_remain",
    "mismatch",
    "moved_unproven",
    "plan_resume",
    "positions_by_source",
    "remaining_chunk",
    "server_of",
]

IDENTITY = ("system", "server")
"""The keys of a position that name the server itself."""

BY_NUMBER = "server_id "
"""How a position begins to name a server without a UUID."""

ADDRESS = "address"
"""The part of the settings with the addresses of the sources, which are not compared."""

UNKNOWN = "the configuration"
"""What changed, if the checkpoint does not say it by part."""

Change = dict[str, Any]
"""A part of the settings ``before`` and ``after``."""

RELOADED = Finding(
    Severity.WARNING,
    "reloaded",
    "stream",
    "The source may have changed since the snapshot of the earlier run, which no longer exists: "
    "every table is loaded again (onResume: reload).",
)
MIXED = Finding(
    Severity.WARNING,
    "mixed-views",
    "stream",
    "The source changed since the snapshot of the earlier run: finished chunks show that "
    "snapshot, the others a newer one (onResume: mixed).",
)


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """Work of an earlier run that is kept; empty for a run that begins anew."""

    ours: bool = False
    """Tables on the target are this stream's own work: those in ``own``, or all if that is None."""
    kept: bool = False
    """Rows that were copied stay; else the tables are emptied and loaded again."""
    chunks: Mapping[TableId, Sequence[Chunk]] = field(default_factory=dict)
    """The recorded chunks of each table that was begun."""
    records: Records = field(default_factory=Records)
    reload: frozenset[TableId] = frozenset()
    """Source tables that must be emptied although others are kept: a cut chunk without a key."""
    findings: tuple[Finding, ...] = ()
    own: frozenset[TableId] | None = None
    """The target's tables that the earlier run made or took; None: all that are there."""
    taken: frozenset[TableId] = frozenset()
    """Those of ``own`` that were there before: their structure is left as it is."""

    def owns(self, target: TableId) -> bool:
        """Return whether a table of the target is this stream's own work."""
        return self.ours and (self.own is None or target in self.own)

    def made(self, target: TableId) -> bool:
        """Return whether a table of the target was made by this stream."""
        return self.owns(target) and target not in self.taken

    def record(self, chunk: Chunk) -> ChunkRecord | None:
        """Return the kept record of a chunk; None if it begins."""
        return None if chunk.table in self.reload else self.records.chunk(chunk)

    def remaining(self, chunks: Sequence[Chunk]) -> list[tuple[Chunk, ChunkRecord | None]]:
        """Return the chunks still to copy with their records, cut ones from where they were cut."""
        left = []
        for chunk in chunks:
            record = self.record(chunk)
            rest = remaining_chunk(chunk, record)
            if rest is not None:
                left.append((rest, record))
        return left


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Settings and position of a run that starts, to compare with its checkpoint."""

    stream: str
    fingerprint: str
    position: Position
    """Of the new snapshot."""
    on_resume: str
    """``reload`` or ``mixed``: what happens where the source may have changed."""
    write_mode: str
    fresh: bool = False
    """Keep nothing."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the fingerprint is of, by part."""


def plan_resume(request: ResumeRequest, records: Records) -> ResumePlan:
    """Decide what is kept of a load.

    Raises `CheckpointMismatch` naming what changed, and `TargetConflict` if rows would have to
    be loaded again into tables that write mode append forbids to empty.
    """
    run = records.run
    if run is None or run.discarded:
        return ResumePlan()
    if request.fresh:
        return ResumePlan(ours=True, own=records.own(), taken=records.taken())
    _demand_same(request, run)
    unchanged = _unchanged(run.position, request.position)
    appends = request.write_mode == "append"
    if not unchanged and request.on_resume != "mixed":
        if appends and records.rows_loaded():
            raise _would_double(request.stream, "the source may have changed since")
        own, taken = records.own(), records.taken()
        return ResumePlan(ours=True, own=own, taken=taken, findings=(RELOADED,))
    chunks = {plan.table: plan.chunks for plan in records.plans()}
    reload = frozenset(t for t in chunks if _must_reload(records, chunks[t], unchanged))
    if appends and reload:
        names = ", ".join(sorted(map(str, reload)))
        why = f"the copy of tables without a key was interrupted ({names})"
        raise _would_double(request.stream, why)
    findings = () if unchanged else (MIXED,)
    own, taken = records.own(), records.taken()
    return ResumePlan(True, True, chunks, records, reload, findings, own, taken)


def remaining_chunk(chunk: Chunk, record: ChunkRecord | None) -> Chunk | None:
    """Return what its record leaves of a chunk; None if it is done."""
    if record is None:
        return chunk
    if record.done:
        return None
    if chunk.ordered:
        return replace(chunk, skip=record.rows)
    return replace(chunk, low=record.last) if record.last else chunk


def made_objects(there: TableSchema | None) -> frozenset[ObjectRef]:
    """Return the objects of a table that an earlier run created."""
    if there is None:
        return frozenset()
    keys = (there.primary_key, *there.indexes)
    names = [(ObjectKind.INDEX, i.name) for i in keys if i is not None]
    names += [(ObjectKind.CONSTRAINT, i.name) for i in keys if i is not None and i.constraint]
    names += [(ObjectKind.CONSTRAINT, fk.name) for fk in there.foreign_keys]
    names += [(ObjectKind.CONSTRAINT, check.name) for check in there.checks]
    names += [(ObjectKind.CONSTRAINT, exclusion.name) for exclusion in there.exclusions]
    parts = there.partitioning.every() if there.partitioning else ()
    of_parts = {
        ObjectRef(ObjectKind.CONSTRAINT, fk.name, p.id) for p in parts for fk in p.foreign_keys
    }
    return frozenset(ObjectRef(kind, name, there.id) for kind, name in names) | of_parts


def may_remain(table: TableId) -> Finding:
    """Return the finding for a table that is merged again, in another snapshot, into rows that are
    not the stream's own: it cannot be emptied."""
    return Finding(
        Severity.WARNING,
        "rows-may-remain",
        str(table),
        "Its load was interrupted and begins again in a newer snapshot, into a table that had "
        "rows before: rows that were loaded and that the source has deleted since stay on the "
        "target.",
        "Run verify(). If rows are left over, delete them, or empty the table and start with "
        "fresh=True.",
    )


def _must_reload(records: Records, chunks: Sequence[Chunk], unchanged: bool) -> bool:
    """Return True if an interrupted chunk of a table cannot be continued."""
    progress = [(chunk, records.chunk(chunk)) for chunk in chunks]
    for chunk, record in progress:
        cut = record is not None and record.rows and not record.done and not record.last
        if cut and not (chunk.ordered and unchanged):
            return True
    # In a changed heap rows may have moved between finished and unfinished ranges.
    ordered = [record for chunk, record in progress if chunk.ordered]
    whole = all(record is not None and record.done for record in ordered)
    begun = any(record is not None and record.rows for record in ordered)
    return not unchanged and begun and not whole


def _demand_same(request: ResumeRequest, run: RunRecord) -> None:
    """Raise `CheckpointMismatch` if the run is of another configuration or another server."""
    changed = changed_settings(run, request.fingerprint, request.settings)
    then, now = (
        positions_by_source(run.position),
        positions_by_source(request.position),
    )
    for alias in sorted(then.keys() | now.keys()):
        before, after = server_of(then.get(alias, {})), server_of(now.get(alias, {}))
        moved = moved_unproven(run, request.settings, now.get(alias, {}))
        if moved is not None and "source" not in changed:
            changed["source"] = moved
        if before != after:
            changed["source" + (f" {alias}" if alias else "")] = {"before": before, "after": after}
    if changed:
        raise mismatch(request.stream, changed)


def changed_settings(
    run: RunRecord, fingerprint: str, settings: Mapping[str, Any]
) -> dict[str, Change]:
    """Return by name the parts of the configuration that differ from the run's.

    The address of a server is none of them: the server itself says which one it is.
    """
    if run.fingerprint == fingerprint:
        return {}
    if run.settings is None:
        return {UNKNOWN: {"before": None, "after": None}}
    then = run.settings
    now = json.loads(json.dumps(settings))  # as the sink gives it back
    return {
        part: {"before": then.get(part), "after": now.get(part)}
        for part in sorted(then.keys() | now.keys())
        if part != ADDRESS and then.get(part) != now.get(part)
    }


def server_of(position: Position) -> str | None:
    """Return what a server says of itself in a position; None if it does not."""
    named = [position[key] for key in IDENTITY if position.get(key)]
    # of several servers that a query reads, a mapping whose order a target need not keep
    return (
        " ".join(n if isinstance(n, str) else json.dumps(n, sort_keys=True) for n in named) or None
    )


def moved_unproven(
    run: RunRecord, settings: Mapping[str, Any], position: Position
) -> Change | None:
    """Return the change of addresses, if there is one and the server has no identity of its own: a
    MariaDB has only a server id, which is 1 on most."""
    server = server_of(position)
    then, now = (run.settings or {}).get(ADDRESS), settings.get(ADDRESS)
    if then == now or server is None or BY_NUMBER not in server:
        return None
    return {"before": then, "after": now}


def mismatch(stream: str, changed: Mapping[str, Change]) -> CheckpointMismatch:
    """Return the error that names what changed since the checkpoint."""
    named = ", ".join(_described(part, change) for part, change in changed.items())
    ways = "Undo that change, or discard the checkpoint with start(fresh=True)."
    if UNKNOWN in changed:
        ways = (
            "If only an address changed, start once at the former one: that start records what "
            "later ones compare. Else undo the change, or discard the checkpoint with "
            "start(fresh=True)."
        )
    return CheckpointMismatch(
        f"The checkpoint of stream '{stream}' does not fit. Changed since: {named}.",
        remedy=ways,
        changed=dict(changed),
    )


def _described(part: str, change: Change) -> str:
    if part == UNKNOWN:
        return f"{part} (an earlier version wrote the checkpoint, and kept only a digest)"
    if part == "selection":  # a digest
        return part
    return f"{part} ({_plain(change['before'])}, now {_plain(change['after'])})"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {one}" for key, one in value.items() if one is not None)
    if isinstance(value, list):
        return "; ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _would_double(stream: str, why: str) -> TargetConflict:
    return TargetConflict(
        f"Stream '{stream}' cannot resume: {why}, and rows that an earlier run appended would be "
        "appended twice.",
        remedy=(
            "writeMode is append: remove those rows and call start(fresh=True), use onResume "
            "mixed for a changed source, or upsert or truncate_and_load."
        ),
    )


def positions_by_source(position: Position) -> Mapping[str, Mapping[str, Any]]:
    """Return the positions by alias; a single source's under the empty one."""
    positions: Mapping[str, Mapping[str, Any]] = position.get("sources") or {"": position}
    return positions


def _unchanged(then: Position, now: Position) -> bool:
    """Return True only if the positions prove that no captured table of any source was changed."""
    before, after = positions_by_source(then), positions_by_source(now)
    return before.keys() == after.keys() and all(
        _source_unchanged(before[alias], after[alias]) for alias in before
    )


def _source_unchanged(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return True only if two positions of a source prove that no captured table changed between.

    ``writes`` counts the writes to the captured tables, for PostgreSQL, whose log position also
    moves without them.
    """
    if "writes" in then or "writes" in now:
        keys = ("writes", "storage")
        return all(then.get(k) is not None and then.get(k) == now.get(k) for k in keys)
    marks = [key for key in ("gtid", "file", "pos") if then.get(key) or now.get(key)]
    return bool(marks) and all(then.get(key) == now.get(key) for key in marks)
