"""Assemble binlog events to transactions. No I/O: events in, the parts of change sets out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from streams_engine.adapters.mysql.binlog import events as e
from streams_engine.adapters.mysql.binlog.change_set import ChangeSetBuilder, Part
from streams_engine.adapters.mysql.binlog.compression import decompress_payload
from streams_engine.adapters.mysql.binlog.gtid import MariadbGtids, MysqlGtids
from streams_engine.adapters.mysql.binlog.short_run import ShortRun
from streams_engine.adapters.mysql.binlog.short_transaction import ShortTransaction
from streams_engine.adapters.mysql.binlog.statements import StatementJudge, rows_not_logged
from streams_engine.adapters.mysql.binlog.table_id_map import KnownRows, Place, TableIdMap
from streams_engine.arrow.buffers import RAW, violation
from streams_engine.errors import InternalError, LogLost, ServerError, StreamsError
from streams_engine.model import TableId

__all__ = ["TRANSITIONS", "Assembled", "Phase", "Step", "TransactionAssembler"]


TYPE_BEFORE = e.HEADER - 4
"""How many bytes before the body of an event its type is."""


class Phase(Enum):
    """Phase of the log within a transaction."""

    OUTSIDE = "outside of a transaction"
    """The log can be read again from here."""
    ANNOUNCED = "after a GTID"
    """BEGIN follows, or a statement of its own."""
    OPEN = "within a transaction"
    PARTED = "within a transaction of which a part was given"
    """As `OPEN`, but its changes can no longer be undone."""
    REPLAYED = "after a replay"
    """The XA PREPARE has come, up to which a transaction was read again. Takes nothing more."""


class Step(Enum):
    """Result of taking an event."""

    WITHIN = "within"
    ADDED = "added"
    """As `WITHIN`, and changes may have been added."""
    BOUNDARY = "boundary"
    """Outside of transactions: what was assembled is complete."""
    HELD = "held"
    """The event was not taken: give what was assembled, then take it again."""


OUTSIDE, ANNOUNCED, OPEN, PARTED = Phase.OUTSIDE, Phase.ANNOUNCED, Phase.OPEN, Phase.PARTED
REPLAYED = Phase.REPLAYED
WITHIN, ADDED, BOUNDARY, HELD = Step.WITHIN, Step.ADDED, Step.BOUNDARY, Step.HELD

TRANSITIONS: Mapping[type[e.Event], tuple[Phase | None, Phase | None, Phase | None, Phase | None]]
TRANSITIONS = {
    # in the phase:          OUTSIDE    ANNOUNCED  OPEN       PARTED
    e.Passed:               (OUTSIDE,   ANNOUNCED, OPEN,      PARTED),
    e.Format:               (OUTSIDE,   ANNOUNCED, OPEN,      PARTED),
    e.Rotate:               (OUTSIDE,   ANNOUNCED, OPEN,      PARTED),
    e.ServerStart:          (OUTSIDE,   OUTSIDE,   OUTSIDE,   None),
    e.Gtid:                 (ANNOUNCED, ANNOUNCED, ANNOUNCED, None),
    e.GtidBegin:            (OPEN,      OPEN,      OPEN,      None),
    e.Begin:                (OPEN,      OPEN,      OPEN,      None),
    e.XaStart:              (OPEN,      OPEN,      OPEN,      None),
    e.TableMapEvent:        (None,      None,      OPEN,      PARTED),
    e.Rows:                 (None,      None,      OPEN,      PARTED),
    e.PartialUpdate:        (None,      None,      OPEN,      PARTED),
    e.Query:                (OUTSIDE,   OUTSIDE,   OPEN,      PARTED),
    e.Savepoint:            (OUTSIDE,   ANNOUNCED, OPEN,      PARTED),
    e.RollbackToSavepoint:  (OUTSIDE,   ANNOUNCED, OPEN,      None),
    e.Rollback:             (OUTSIDE,   OUTSIDE,   OUTSIDE,   None),
    e.Commit:               (OUTSIDE,   OUTSIDE,   OUTSIDE,   OUTSIDE),
    e.XaEnd:                (OUTSIDE,   ANNOUNCED, OPEN,      PARTED),
    e.XaPrepare:            (OUTSIDE,   OUTSIDE,   OUTSIDE,   None),
    e.XaCommit:             (OUTSIDE,   OUTSIDE,   OUTSIDE,   None),
    e.XaRollback:           (OUTSIDE,   OUTSIDE,   OUTSIDE,   None),
    e.Payload:              (OUTSIDE,   OUTSIDE,   OUTSIDE,   OUTSIDE),
    e.ExecuteLoad:          (None,      None,      None,      None),
    e.Incident:             (None,      None,      None,      None),
}  # fmt: skip
"""The phase to which an event leads from each phase; None: it is refused there. In `REPLAYED` every
event is. A GTID, BEGIN or XA START within a transaction is refused too if that has changes."""

REPLAY = {**TRANSITIONS, e.XaPrepare: (REPLAYED,) * 4}
"""The transitions of a replay, which ends at XA PREPARE with the rows before it."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """The parts of a change set, in the order of the log."""

    parts: tuple[Part, ...]
    transactions: int
    """Transactions that ended in it."""
    committed_at: float
    """When the last of them was committed, in seconds since 1970."""
    committed: tuple[str, Place] | None = None
    """(the name of a prepared transaction, where it begins): its rows come before the parts."""


Move = tuple[Callable[[Any], "Step | None"] | None, Phase, Step]


class TransactionAssembler:
    """Take the events of a log in their order, and assemble the changes of whole transactions.

    `TRANSITIONS` says which event may come when; what an event does is its method.
    """

    def __init__(
        self,
        what: str,
        tables: TableIdMap,
        statements: StatementJudge,
        gtids: MysqlGtids | MariadbGtids,
        prepared: Mapping[str, Any] | None = None,
        *,
        mariadb: bool = False,
        replay: bool = False,
    ) -> None:
        self.phase = Phase.OUTSIDE
        self.tables, self.gtids = tables, gtids
        """GTIDs: of the transactions that have ended."""
        self.prepared: dict[str, Any] = dict(prepared or {})
        """Where prepared transactions with rows of followed tables begin, by name."""
        self.changes = ChangeSetBuilder(what)
        self.complete = False
        """What was assembled must be given before more is taken."""
        self._what, self._statements = what, statements
        self._mariadb, self._replay = mariadb, replay
        self._gtid: e.Gtid | e.GtidBegin | None = None
        self._place: Place = (None, 0)
        self._begin: Place = (None, 0)
        self._micros = self._committed_at = 0
        self._transactions = 0
        self._committed: tuple[str, Place] | None = None
        self._rest: bytes | None = None
        """Events of a payload, to be taken once what is before them was given."""
        self._moves_of = self._bind(REPLAY if replay else TRANSITIONS)
        self._moves = self._moves_of[OUTSIDE]

    def _bind(self, transitions: Mapping[type[e.Event], Any]) -> dict[Phase, dict[type, Move]]:
        actions: dict[type, Callable[[Any], Step | None]] = {
            e.ServerStart: self._server_start,
            e.Gtid: self._announce,
            e.GtidBegin: self._announce,
            e.Begin: self._begin_again,
            e.XaStart: self._begin_again,
            e.TableMapEvent: self._map_table,
            e.Rows: self._add_rows,
            e.PartialUpdate: self._partial_update,
            e.Query: self._statement,
            e.RollbackToSavepoint: self._rollback_to_savepoint,
            e.Rollback: self._rollback,
            e.Commit: self._commit,
            e.XaPrepare: self._xa_prepare,
            e.XaCommit: self._xa_commit,
            e.XaRollback: self._xa_rollback,
            e.Payload: self._payload,
        }
        moves: dict[Phase, dict[type, Move]] = {phase: {} for phase in Phase}
        for kind, row in transitions.items():
            for phase, after in zip((OUTSIDE, ANNOUNCED, OPEN, PARTED), row, strict=True):
                if after is not None:
                    step = ADDED if kind in (e.Rows, e.Query) else WITHIN
                    step = BOUNDARY if after in (OUTSIDE, REPLAYED) else step
                    moves[phase][kind] = (actions.get(kind), after, step)
        return moves

    def take(self, event: e.Event, place: Place) -> Step:
        """Take the event that begins at ``place``.

        Raises `ProtocolViolation`, `LogLost` or `ServerError` if it is refused, and
        `SchemaChangeRefused`.
        """
        self._place = place
        move = self._moves.get(event.__class__)
        if move is None:
            raise self._refusal(event)
        action, after, step = move
        if action is not None and action(event) is HELD:
            return HELD
        if after is not self.phase:
            self.phase, self._moves = after, self._moves_of[after]
        return step

    def take_short(self, short: ShortTransaction, place: Place) -> None:
        """Take a whole transaction that begins at ``place``, outside of others."""
        self._place = place
        self._announce(short.gtid)
        self._map_table(short.table)
        self._add_rows(short.rows)
        self.tables.remember(short.table, short.rows)
        self._commit(short.commit)

    def take_run(self, run: ShortRun, buffer: Any, place: Place, rows: int) -> int:
        """Take transactions of a run that begins at ``place``, outside of others, until the set has
        ``rows`` changes or one comes whose table map or rows are new; return how many."""
        taken = 0
        for known, places in self._known_rows(run, buffer):
            added = self.changes.add_known_rows(known, buffer, places, rows)
            taken += added
            if added < len(places):
                break
        if taken:
            self._finish_run(run, buffer, place, taken)
        return taken

    def _known_rows(
        self, run: ShortRun, buffer: Any
    ) -> Iterator[tuple[KnownRows, list[tuple[int, int]]]]:
        """Yield rows events of one kind that follow one another, and where their images lie; end
        before the first of a kind that is not known."""
        begin, end, table = run.begin + e.HEADER, run.end, run.table
        maps = zip(begin[:, table].tolist(), end[:, table].tolist(), strict=True)
        rows = zip(begin[:, table + 1].tolist(), end[:, table + 1].tolist(), strict=True)
        body, kind, known, places = b"", -1, None, list[tuple[int, int]]()
        for (start, stop), (at, last) in zip(maps, rows, strict=True):
            if buffer[start:stop] != body or buffer[at - TYPE_BEFORE] != kind:
                if known is not None:
                    yield known, places
                body, kind, places = bytes(buffer[start:stop]), buffer[at - TYPE_BEFORE], []
                known = self.tables.known.get((body, kind))
                if known is None:
                    return
                head, size = known.head, len(known.head)
            if buffer[at : at + size] != head or at + size > last:
                break
            places.append((at + size, last))
        if known is not None and places:
            yield known, places

    def _finish_run(self, run: ShortRun, buffer: Any, place: Place, taken: int) -> None:
        """End the first ``taken`` transactions of a run."""
        file, offset = place
        self._place = (file, run.offsets(offset, taken)[0])
        gtid, commit = run.bounds(buffer, taken - 1)
        self.gtids.add_all(gtid.source, run.first, gtid.number)
        self._gtid, self._begin = None, self._place
        if gtid.committed_at is not None:
            self._micros = gtid.committed_at
        self._commit(commit)
        self._transactions += taken - 1

    def _enter(self, phase: Phase) -> None:
        self.phase, self._moves = phase, self._moves_of[phase]

    # Giving

    def cut(self, buffer: Any) -> Assembled:
        """Return the transactions that have ended, decoded from the reader's buffer.

        An open one is forgotten: its events come again.
        """
        if self.changes.seq > self.changes.settled:
            self.changes.discard()
        if self.phase is not REPLAYED:
            self._enter(OUTSIDE)
        self._gtid = self._rest = None
        self.tables.images.clear()
        return self._collect(buffer)

    def part(self, buffer: Any) -> Assembled:
        """Return all that was assembled, including a part of a transaction that is too large for
        one set."""
        assembled = self._collect(buffer)
        if self.phase is OPEN and assembled.parts:
            self._enter(PARTED)
        return assembled

    def _collect(self, buffer: Any) -> Assembled:
        assembled = Assembled(
            self.changes.build(buffer),
            self._transactions,
            self._committed_at / 1e6,
            self._committed,
        )
        self._transactions, self._committed, self.complete = 0, None, False
        return assembled

    # Begin and end

    def _announce(self, event: e.Gtid | e.GtidBegin) -> None:
        if self.changes.seq != self.changes.settled:
            raise self._refusal(event)
        self._gtid = event if event.source else None
        self._begin = self._place
        if event.committed_at is not None:
            self._micros = event.committed_at

    def _begin_again(self, event: e.Event) -> None:
        if self.changes.seq != self.changes.settled:
            raise self._refusal(event)

    def _finish(self) -> None:
        """End a transaction, or a statement that stands alone."""
        self.tables.images.clear()
        if self._gtid is not None:
            self.gtids.add(self._gtid.source, self._gtid.number)
            self._gtid = None
        self.changes.settle()
        self._committed_at = self._micros
        self._transactions += 1

    def _commit(self, event: e.Commit) -> None:
        if event.written_at is not None and self._mariadb:
            self._micros = event.written_at
        self._finish()

    def _rollback(self, event: e.Rollback) -> None:
        self.changes.discard()
        self._finish()

    def _rollback_to_savepoint(self, event: e.RollbackToSavepoint) -> None:
        if self.changes.seq > self.changes.settled:
            raise self._refusal(event)

    def _server_start(self, event: e.ServerStart) -> None:
        """Undo a transaction that the server had not completely written when it died, as a replica
        does."""
        self.changes.discard()
        self.tables.images.clear()
        self._gtid = None

    # Rows

    def _map_table(self, event: e.TableMapEvent) -> None:
        self.tables.add(event, self._begin, self._gtid)

    def _add_rows(self, event: e.Rows) -> None:
        try:
            images = self.tables.images[event[0]]
        except KeyError:
            raise self._unmapped() from None
        if images is not None:
            self.changes.add_rows(images, event)

    def _partial_update(self, event: e.PartialUpdate) -> None:
        if event.table_id not in self.tables.images:
            raise self._unmapped()
        if self.tables.images[event.table_id] is not None:
            raise self._refusal(event)

    def _unmapped(self) -> StreamsError:
        return violation(self._what, "rows came of a table id that was not mapped")

    def _payload(self, event: e.Payload) -> Step | None:
        """Take the events of a compressed transaction, from where the set before ended."""
        data = decompress_payload(event.body) if self._rest is None else self._rest
        self._rest = None
        buffer, place = self.changes.decompressed, self._place
        at, end = len(buffer), len(buffer) + len(data)
        buffer += data
        while at < end:
            if end - at < e.HEADER:
                raise violation(self._what, "an event is shorter than its header")
            (size,) = struct.unpack_from("<I", buffer, at + 9)
            if not e.HEADER <= size <= end - at:
                raise violation(self._what, "an event extends beyond its transaction")
            nested = e.parse(buffer, at, at + size)
            if self.complete or (nested is not None and self.take(nested, place) is HELD):
                self._rest = bytes(buffer[at:end])
                return HELD
            at += size
        if self.phase is not OUTSIDE and self.phase is not REPLAYED:
            raise violation(self._what, "a compressed transaction has no end")
        return None

    # Statements

    def _statement(self, event: e.Query) -> Step | None:
        if self.phase is OUTSIDE or self.phase is ANNOUNCED:
            if self._execute(event) is HELD:
                return HELD
            self._finish()
            return None
        if event.text[:40].upper().split(None, 1)[:1] in (["CREATE"], ["DROP"], ["ALTER"]):
            return self._execute(event)  # CREATE TABLE ... SELECT: its rows follow
        self._statements.refuse_rows(event)
        return None

    def _execute(self, query: e.Query) -> Step | None:
        """Add what a statement does to followed tables."""
        try:
            effect = self._statements.effect(query, self._covers)
        except RAW as error:
            raise InternalError(
                f"{self._what}: the DDL statement at {self._begin} could not be parsed "
                f"({type(error).__name__})."
            ) from error
        if effect.emptied:
            self.changes.add_truncation(effect.emptied)
        elif effect.changes:
            if self.changes.seq:  # they come in a set of their own
                self._statements.undo()
                self.complete = True
                return HELD
            self.changes.add_schema_changes(effect.changes)
            self.tables.forget()
            self.complete = True
        return None

    def _covers(self, table: TableId) -> bool:
        return self.tables.covers(table, self._begin, self._gtid)

    # Prepared transactions

    def _xa_prepare(self, event: e.XaPrepare) -> None:
        if self._replay:
            self.complete = True
        elif self.changes.seq > self.changes.settled:
            # Their rows are read again at XA COMMIT.
            self.prepared[event.name] = [*self._begin]
            self.changes.discard()
        self._finish()

    def _xa_commit(self, event: e.XaCommit) -> Step | None:
        begin = self.prepared.get(event.name)
        if begin is not None:
            if self.changes.settled:  # the replay's rows come first in their set
                self.complete = True
                return HELD
            del self.prepared[event.name]
            self._committed = (event.name, tuple(begin))
            self.complete = True
        self._finish()
        return None

    def _xa_rollback(self, event: e.XaRollback) -> None:
        self.prepared.pop(event.name, None)
        self._finish()

    # Refusals

    def _refusal(self, event: e.Event) -> StreamsError:
        refusal = REFUSALS.get(event.__class__)
        if refusal is not None:
            return refusal(self._what, self._place, self._begin)
        return violation(self._what, f"{event.__class__.__name__} came {self.phase.value}")


def _incident(what: str, place: Place, begin: Place) -> StreamsError:
    return LogLost(
        f"{what}: {place[0]} has an incident event (the server lost events), or an event of an "
        "unknown form.",
        remedy="Load the tables again (start with fresh=True).",
    )


def _unfinished(what: str, place: Place, begin: Place) -> StreamsError:
    return LogLost(
        f"{what}: the server stopped while it wrote the transaction at {begin}, of which a part "
        "was read.",
        remedy="Load the tables again (start with fresh=True).",
    )


def _rolled_back_in_part(what: str, place: Place, begin: Place) -> StreamsError:
    return ServerError(
        f"{what}: the transaction at {begin} was partly rolled back; it changed rows of the "
        "stream's tables and of non-transactional tables.",
        remedy="Convert the non-transactional tables to InnoDB, and load the tables again.",
    )


def _too_large(what: str, place: Place, begin: Place) -> StreamsError:
    return ServerError(
        f"{what}: a prepared transaction is larger than a change set may be.",
        remedy="Commit or roll it back, then load the tables again.",
    )


def _partial_json(what: str, place: Place, begin: Place) -> StreamsError:
    return LogLost(
        f"{what}: an update contains only the changed parts of a JSON value "
        "(binlog_row_value_options = PARTIAL_JSON).",
        remedy="SET GLOBAL binlog_row_value_options = ''; reconnect the sessions, and load the "
        "tables again.",
    )


REFUSALS: Mapping[type, Callable[[str, Place, Place], StreamsError]] = {
    e.ExecuteLoad: lambda what, place, begin: rows_not_logged("rows"),
    e.Incident: _incident,
    e.PartialUpdate: _partial_json,
    e.Rollback: _rolled_back_in_part,
    e.RollbackToSavepoint: _rolled_back_in_part,
    e.ServerStart: _unfinished,
    e.XaPrepare: _too_large,
}
"""The error of an event that is refused; of any other a `ProtocolViolation`."""
