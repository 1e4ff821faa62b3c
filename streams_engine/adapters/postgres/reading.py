"""A slot's log being read: messages in, sets of whole transactions out.

What arrived is kept as it is until its set is given. A transaction that is larger than a set is
cut by budget; one that the server streams before its commit is spooled, and read back at its
commit as if it had come then. Positions are ends of commits, or of log without changes of ours.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import psycopg

from streams_engine.adapters.postgres.ddl_events import Altered, Dropped, parse_event
from streams_engine.adapters.postgres.log_rows import Plan, decode, plan_for
from streams_engine.adapters.postgres.pgoutput import (
    WHAT,
    Messages,
    Relation,
    big,
    lsn_text,
    lsn_value,
    parse_commit,
    parse_relation,
    parse_truncate,
)
from streams_engine.adapters.postgres.publication import PublicationWatch
from streams_engine.adapters.postgres.relations import Describer, changed, identified
from streams_engine.adapters.postgres.replication import Stream
from streams_engine.adapters.postgres.streaming import Streamed
from streams_engine.bounds import violation
from streams_engine.changes import ChangeBatch, ChangeSet, SchemaChange, Tracked, Truncate
from streams_engine.errors import LogLost, SchemaChangeRefused
from streams_engine.model import Position, TableId

__all__ = ["PostgresChangeReader"]

ROWS_BUDGET = 50_000
BYTES_BUDGET = 16 << 20
IDLE_SECONDS = 0.1
"""How often a position alone is given."""


def _letters(text: str) -> np.ndarray:
    found = np.zeros(256, bool)
    found[[ord(letter) for letter in text]] = True
    return found


ROW = _letters("IUD")
DONE = _letters("IUDT")
"""What a transaction did to tables."""
SPECIAL = _letters("RrMcbPKp")
BOUNDARY = _letters("Cck")
BEGIN, COMMIT, KEEP_ALIVE = ord("B"), ord("C"), ord("k")


class PostgresChangeReader:
    """A log from one position on. Used by one thread, but for `acknowledge`."""

    def __init__(
        self,
        stream: Stream,
        tracked: Sequence[Tracked],
        after: Position,
        describer: Describer,
        watch: PublicationWatch,
    ) -> None:
        self._stream, self._describer, self._watch = stream, describer, watch
        self._watching = threading.Lock()
        self._start = lsn_value(after["lsn"])
        self._position = dict(after)
        self._given_at = 0.0
        self._tracked = {one.schema.id: one for one in tracked}
        self._relations: dict[int, Relation] = {}
        self._identities: dict[int, Relation] = {}
        """Relations that were compared with what their tables' rows are known by."""
        self._plans: dict[int, Plan | None] = {}
        self._gone: set[TableId] = set()
        # Relations as they were before their tables' views: their rows are known.
        self._older: set[int] = set()
        self._queued: deque[ChangeSet] = deque()
        # What waits to be looked at, and what of it there is.
        self._pending: list[Messages] = []
        self._count = self._size = 0
        self._complete = False
        # Where the transaction that is open here will have committed; 0: none is open.
        self._final = 0
        # How far the log went on, with nothing of ours after the position that was given.
        self._moved = self._given = self._start
        self._streamed = Streamed()
        self._replay: Iterator[Messages] | None = None
        self._later: list[Messages] = []

    # The contract

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """The next set; see `ChangeReader.poll`."""
        deadline = time.monotonic() + timeout
        while True:
            if self._watch.due:
                with self._describer.asking() as connection:
                    self.demand_published(connection)
            while not self._queued and self._step(rows):
                pass
            if self._queued:
                return self._queued.popleft()
            left = deadline - time.monotonic()
            bursts = self._stream.take(max(0.0, min(left, IDLE_SECONDS)))
            for burst in bursts:
                self._push(self._streamed.without(Messages.of(burst)))
            if bursts:
                continue
            idle = self._idle(left <= 0)
            if idle is not None or left <= 0:
                return idle

    def demand_published(self, connection: psycopg.Connection) -> None:
        """Raise `LogLost` where the publication was altered so that changes may be missing.
        Thread-safe."""
        with self._watching:
            state = self._watch.check(connection)
        self._position = {**self._position, "publication": dict(state)}

    def adopt(self, table: TableId, tracked: Tracked | None) -> None:
        """From here on decode a table like this; None: it is not followed any more."""
        with self._watching:
            self._watch.adopt(table, tracked)
        self._tracked.pop(table, None)
        if tracked is not None:
            self._tracked[tracked.schema.id] = tracked
        self._plans.clear()

    def acknowledge(self, position: Position) -> None:
        """All up to here is durable on the target: the server may forget it. Thread-safe."""
        self._stream.acknowledge(lsn_value(position["lsn"]))

    def close(self) -> None:
        """End the stream, and give up what was spooled."""
        self._stream.close()
        self._describer.close()
        self._streamed.close()

    # What waits

    def _push(self, messages: Messages) -> None:
        if len(messages):
            messages.demand_whole()
            self._pending.append(messages)
            self._count += len(messages)
            self._size += len(messages.buffer)
            self._complete = self._complete or bool(BOUNDARY[messages.kind].any())

    def _keep(self, messages: Messages) -> None:
        """This alone waits."""
        self._pending, self._count, self._size, self._complete = [], 0, 0, False
        self._push(messages)

    def _full(self) -> bool:
        return self._count >= ROWS_BUDGET or self._size >= BYTES_BUDGET

    def _refill(self) -> None:
        """Go on with a transaction that was spooled, then with what came after it."""
        while self._replay is not None and not self._full():
            piece = next(self._replay, None)
            if piece is not None:
                self._push(piece)
                continue
            self._replay = None
            for messages in self._later:
                self._push(messages)
            self._later = []

    def _idle(self, late: bool) -> ChangeSet | None:
        """The position alone, where the log went on."""
        if self._moved <= self._given or self._final:
            return None
        if not late and time.monotonic() - self._given_at < IDLE_SECONDS:
            return None
        return ChangeSet((), self._at(self._moved))

    def _at(self, lsn: int) -> Position:
        self._given, self._given_at = lsn, time.monotonic()
        self._moved = max(self._moved, lsn)
        return {**self._position, "lsn": lsn_text(lsn)}

    # Sets

    def _step(self, rows: int | None) -> bool:
        """Look at what waits, and queue a set of it. False where more has to come first."""
        self._refill()
        if not self._pending or not (self._complete or self._full()):
            return False
        messages = Messages.joined(self._pending)
        self._pending = [messages]
        until = self._until(messages, rows)
        if not until:
            self._complete = False  # boundaries, but inside of a transaction
            return False
        stop, go_on, special = self._look(messages, until)
        found = self._set(messages, stop, special)
        rest = messages.part(go_on, len(messages))
        if isinstance(special, Iterator):
            self._later, self._replay = [rest], special
            rest = messages.part(0, 0)
        self._keep(rest)
        if found is not None:
            self._queued.append(found)
        return True

    def _until(self, messages: Messages, rows: int | None) -> int:
        """How many messages make a set: up to a commit where there is one in the budget."""
        kind, count = messages.kind, len(messages)
        most = min(count, ROWS_BUDGET, int(np.searchsorted(messages.end, BYTES_BUDGET)) + 1)
        edges = np.flatnonzero(BOUNDARY[kind[:most]])
        if len(edges) and (kind[edges] == KEEP_ALIVE).any():
            opened = np.cumsum(kind[:most] == BEGIN) - np.cumsum(kind[:most] == COMMIT)
            closed = opened[edges] + (self._final != 0) == 0
            edges = edges[closed | (kind[edges] != KEEP_ALIVE)]
        if not len(edges):
            return most if self._full() else 0
        if rows:
            done = np.cumsum(ROW[kind[:most]])[edges]
            edges = edges[: int(np.searchsorted(done, rows)) + 1]
        return int(edges[-1]) + 1

    def _look(
        self, messages: Messages, until: int
    ) -> tuple[int, int, SchemaChange | Iterator[Messages] | None]:
        """Go over what is no row. Returns (end of the set, where to go on, why it ends)."""
        for i in np.flatnonzero(SPECIAL[messages.kind[:until]]).tolist():
            letter = chr(messages.kind[i])
            if letter in "Rr":
                relation = parse_relation(messages.content(i))
                if letter == "r" and relation.oid in self._relations:
                    continue  # of a sub-transaction that was undone
                self._watch.hurry()  # sent again where the publication was altered
                if self._stays(relation):
                    continue
                if self._is_used(messages, i, relation.oid):
                    return i, i, None
                change = self._describe(relation, i, self._final_at(messages, i))
                if change is not None:
                    return i, i, change
            elif letter == "M":
                change = self._told(messages.content(i), i, self._final_at(messages, i))
                if change is not None:
                    return i, i + 1, change
            elif letter == "c":
                return i, i + 1, self._streamed.committed(messages.content(i))
            elif letter in "bPKp":
                raise LogLost(
                    "The log has prepared transactions: its slot was made with two_phase.",
                    remedy="Drop the slot, and load the tables again (start with fresh=True).",
                )
        return until, until, None

    def _final_at(self, messages: Messages, index: int) -> int:
        """Where the transaction that a message is of will have committed."""
        begins = np.flatnonzero(messages.kind[:index] == BEGIN)
        if not len(begins):
            return self._final
        return int(big(messages.buffer, "u8")[messages.body[begins[-1]]])

    def _stays(self, relation: Relation) -> bool:
        """Whether it comes again and says nothing new.

        With REPLICA IDENTITY FULL it does not say whether the key is still there.
        """
        if self._relations.get(relation.oid) != relation or relation.oid not in self._plans:
            return False
        plan = self._plans[relation.oid]
        return plan is None or relation.identity != "f" or len(plan.identity) == len(plan.wanted)

    def _is_used(self, messages: Messages, until: int, oid: int) -> bool:
        rows = np.flatnonzero(DONE[messages.kind[:until]])
        return bool((big(messages.buffer, "u4")[messages.body[rows]] == oid).any())

    def _describe(self, relation: Relation, seq: int, final: int) -> SchemaChange | None:
        """Take a relation as it is from here on; what changed where its table is followed.

        ``final``: where its transaction commits.
        """
        table, tracked = self._followed(relation)
        known = tracked or self._before(relation)
        if known and self._is_known(known, final) and self._differs(known, relation):
            # It is older than the table's view, and so are the rows that come with it.
            self._relations.pop(relation.oid, None)
            self._plans[relation.oid] = None
            self._older.add(relation.oid)
            return None
        self._older.discard(relation.oid)
        if tracked is None:
            old = self._before(relation)
            if old is not None:
                return SchemaChange(old.schema, replace(old.schema, id=table), seq)
        if tracked is not None:
            others = [o for o, r in self._relations.items() if names(r) == names(relation)]
            if {*others, tracked.schema.oid} - {relation.oid, None}:
                # It was dropped, and another one made under its name.
                for oid in others:
                    del self._relations[oid]
                self._gone.add(table)
                return SchemaChange(tracked.schema, None, seq)
            now = changed(tracked.schema, relation, self._describer)
            if now is not None:
                return SchemaChange(tracked.schema, now[0], seq, now[1])
        elif table in self._gone:
            self._gone.discard(table)
            created = self._describer.table(table)
            if created is not None:
                return SchemaChange(None, created, seq)
        if tracked is not None:
            change = self._identified(tracked, relation, seq)
            if change is not None:
                return change
        self._relations[relation.oid] = relation
        self._plans[relation.oid] = (
            None if tracked is None else plan_for(relation, tracked, self._describer.json)
        )
        return None

    def _is_known(self, tracked: Tracked, final: int) -> bool:
        """True where the table was loaded after a transaction that commits at ``final``."""
        return bool(final) and final < self._since(tracked)

    def _differs(self, tracked: Tracked, relation: Relation) -> bool:
        """True where the relation is not the table as it is followed."""
        schema = tracked.schema
        if (schema.id.schema, schema.id.name) != names(relation):
            return True
        if schema.oid not in (None, relation.oid):
            return True
        try:
            return changed(schema, relation, self._describer, frozenset()) is not None
        except SchemaChangeRefused:
            return True

    def _identified(self, tracked: Tracked, relation: Relation, seq: int) -> SchemaChange | None:
        """Where its replica identity is another one, its rows are known by that from here on."""
        if self._identities.get(relation.oid) == relation and relation.identity != "f":
            return None
        self._identities[relation.oid] = relation
        found = identified(tracked, relation, self._describer)
        if found is None:
            return None
        return SchemaChange(tracked.schema, found[0], seq, identity=found[1])

    def _before(self, relation: Relation) -> Tracked | None:
        """What is followed of a relation under another name: it was renamed, here or while
        nobody read."""
        known = self._relations.get(relation.oid)
        if known is not None and names(known) != names(relation):
            return self._followed(known)[1]
        found = (t for t in self._tracked.values() if t.schema.oid == relation.oid)
        return next(found, None)

    def _told(self, content: bytes, seq: int, final: int) -> SchemaChange | None:
        """What the event trigger says of a table that is followed, and was loaded before."""
        event = parse_event(content)
        table = event.table if isinstance(event, Dropped) else None
        if isinstance(event, Altered):
            table = self._followed(event.relation)[0]
        known = None if table is None else self._tracked.get(table)
        if known is not None and self._is_known(known, final):
            return None
        if isinstance(event, Dropped) and event.table in self._tracked:
            self._forget(event.table)
            return SchemaChange(self._tracked[event.table].schema, None, seq)
        if not isinstance(event, Altered):
            return None
        table, tracked = self._followed(event.relation)
        if tracked is None or tracked.schema.id != table:
            return None
        old = tracked.schema
        now, renamed = changed(old, event.relation, self._describer, event.renamed) or (old, {})
        columns = tuple(
            c if c.generated is not None else replace(c, nullable=c.name not in event.solid)
            for c in now.columns
        )
        if now is old and columns == old.columns:
            return None
        return SchemaChange(old, replace(now, columns=columns), seq, renamed)

    def _forget(self, table: TableId) -> None:
        """The table of that name is gone: another one may come."""
        for oid, relation in list(self._relations.items()):
            if names(relation) == (table.schema, table.name):
                del self._relations[oid]
        self._gone.add(table)

    def _followed(self, relation: Relation) -> tuple[TableId, Tracked | None]:
        table = TableId(relation.schema, relation.name)
        return table, self._tracked.get(table)

    def _plan(self, oid: int) -> Plan | None:
        """How rows of a relation are decoded; None where nobody follows its table."""
        if oid in self._older:
            return None
        if oid not in self._plans:
            relation = self._relations.get(oid)
            if relation is None:
                raise violation(WHAT, "a row came of a relation that was not described")
            tracked = self._followed(relation)[1]
            self._plans[oid] = (
                None if tracked is None else plan_for(relation, tracked, self._describer.json)
            )
        return self._plans[oid]

    # The parts of a set

    def _set(self, messages: Messages, stop: int, special: object) -> ChangeSet | None:
        """The set of the messages before ``stop``; None where nothing of it is ours."""
        kind = messages.kind[:stop]
        commits, begins = np.flatnonzero(kind == COMMIT), np.flatnonzero(kind == BEGIN)
        done = np.flatnonzero(DONE[kind])
        parts = self._parts(messages, done, begins)
        if isinstance(special, SchemaChange):
            parts.append(special)
        last = int(commits[-1]) if len(commits) else -1
        opened = len(begins) and int(begins[-1]) > last
        if opened:
            self._final = int(big(messages.buffer, "u8")[messages.body[begins[-1]]])
        elif len(commits):
            self._final = 0
        whole = not len(done) or int(done[-1]) < last
        position, stamp = None, None
        if last >= 0:
            _, end, stamp = parse_commit(messages.content(last))
            self._moved = max(self._moved, end)
        self._listen(messages, kind, last)
        if not parts:
            return None
        if whole and last >= 0:
            position = self._at(end)
        elif not len(done) and (not self._final or opened):
            position = self._at(self._given)  # nothing of the transaction came yet
        size = int(messages.end[stop - 1]) if stop else 0
        return ChangeSet(tuple(parts), position, len(commits), stamp, size)

    def _listen(self, messages: Messages, kind: np.ndarray, last: int) -> None:
        """Keep-alives outside of transactions say how far the log went on."""
        if self._final:
            return
        calls = np.flatnonzero(kind == KEEP_ALIVE)
        if len(calls) and int(calls[-1]) > last:
            at = int(big(messages.buffer, "u8")[messages.body[calls[-1]]])
            self._moved = max(self._moved, at)

    def _parts(
        self, messages: Messages, done: np.ndarray, begins: np.ndarray
    ) -> list[ChangeBatch | Truncate | SchemaChange]:
        if not len(done):
            return []
        kind, oids = messages.kind[done], big(messages.buffer, "u4")[messages.body[done]]
        finals = self._finals(messages, done, begins)
        rows = ROW[kind]
        parts: list[ChangeBatch | Truncate | SchemaChange] = []
        for i in np.flatnonzero(~rows).tolist():
            parts += self._truncate(messages, int(done[i]), int(finals[i]))
        first = int(oids[0]) if len(oids) else 0
        several = [first] if (rows & (oids == first)).all() else np.unique(oids[rows]).tolist()
        earliest = int(finals.min())
        for oid in several:
            plan = self._plan(oid)
            if plan is None:
                continue
            chosen = rows & (oids == oid)
            since = self._since(plan.tracked)
            if earliest < since:
                chosen &= finals >= since
            if chosen.any():
                parts.append(decode(plan, messages, done[chosen]))
        return sorted(parts, key=lambda p: int(p.seq[0] if isinstance(p, ChangeBatch) else p.seq))

    def _finals(self, messages: Messages, done: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """By change: where the commit of its transaction is in the log.

        A commit ends at or before a position exactly where it begins before it.
        """
        values = big(messages.buffer, "u8")[messages.body[begins]].astype(np.uint64)
        known = np.concatenate([np.array([self._final], np.uint64), values])
        return np.asarray(known[np.searchsorted(begins, done)])

    def _since(self, tracked: Tracked) -> int:
        own = lsn_value(tracked.since["lsn"]) if tracked.since is not None else 0
        return max(self._start, own)

    def _truncate(self, messages: Messages, seq: int, final: int) -> list[Truncate]:
        oids, restart = parse_truncate(messages.content(seq))
        plans = [self._plan(oid) for oid in oids if oid in self._relations]
        tables = tuple(
            plan.tracked.schema.id
            for plan in plans
            if plan is not None and final >= self._since(plan.tracked)
        )
        return [Truncate(tables, seq, restart)] if tables else []


def names(relation: Relation) -> tuple[str, str]:
    """What it is called."""
    return relation.schema, relation.name
