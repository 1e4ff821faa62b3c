"""A binary log being read: events in, sets of whole transactions out.

What is walked stays in the dump's buffer until its set is given; a transaction that is not
complete then is walked again from its beginning, so that nothing is cut but what is larger than
a set.
"""

from __future__ import annotations

import struct
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

from streams_engine.adapters.mysql import binlog_events as e
from streams_engine.adapters.mysql.binlog import BUFFER_BYTES, Dump, refusal
from streams_engine.adapters.mysql.rowbatches import Followed
from streams_engine.adapters.mysql.rowvalues import Image
from streams_engine.adapters.mysql.statements import Statements
from streams_engine.adapters.mysql.tablemap import TableMap, length_encoded, parse_table_map
from streams_engine.bounds import RAW, violation, well_formed
from streams_engine.changes import ChangeBatch, ChangeSet, SchemaChange, Tracked, Truncate
from streams_engine.cutting import PAD
from streams_engine.errors import InternalError, LogLost, ServerError
from streams_engine.model import Position, TableId

__all__ = ["MysqlChangeReader"]

MOST = 0xFFFFFF
MASK = 0xFFFFFFFF
ROWS_BUDGET = 50_000
ARTIFICIAL = 0x20
NO_FOREIGN_KEY_CHECKS = 0x02
"""Of a ROWS event's flags: the session had foreign_key_checks = 0."""
LINGER_SECONDS = 0.001
"""How long more is waited for in the middle of bulk: a server that sends as fast as we read is
not done just because nothing lies there at this very moment."""
BULK_ROWS = 1000
IDLE_SECONDS = 0.1
"""How often a position alone is given while others' transactions pass."""

Where = tuple[Any, int]
"""(file, place in it)."""

_u4: Any = struct.Struct("<I").unpack_from
_i8: Any = struct.Struct("<q").unpack_from
_u2: Any = struct.Struct("<H").unpack_from
_maria_gtid: Any = struct.Struct("<QIB").unpack_from

Covered = Callable[[Position, "Where", "tuple[str, int] | None"], bool]
"""(a table's since, where a transaction begins, its GTID) -> the table's rows know it already."""

Replay = Callable[[str, Position, Mapping[TableId, Tracked]], Sequence[ChangeSet]]
"""(a prepared transaction's name, where it begins, what is followed) -> its rows."""

Handler = Callable[[Any, int, int], bool]
"""(buffer, where the event's header begins, its end without checksum) -> a transaction ended."""


class MysqlChangeReader:
    """A log from one position on. Used by one thread, but for `acknowledge`."""

    def __init__(
        self,
        dump: Dump,
        tracked: Sequence[Tracked],
        after: Position,
        *,
        server: str,
        gtids: Any,
        statements: Statements,
        translate: Any,
        covered: Covered,
        replay: Replay,
    ) -> None:
        self._dump, self._server, self._gtids = dump, server, gtids
        self._statements, self._translate = statements, translate
        self._covered, self._replay = covered, replay
        self._tracked: dict[TableId, Tracked] = {}
        self._since: dict[TableId, Position] = {}
        for one in tracked:
            self._follow(one)
        statements.follow(self._tracked)
        self._maps: dict[bytes, Followed | None] = {}
        self._bodies: dict[bytes, Followed | None] = {}
        self._used: dict[int, Followed] = {}
        self._truncates: list[Truncate] = []
        self._changes: tuple[SchemaChange, ...] = ()
        self._ready: deque[ChangeSet] = deque()
        self._prepared: dict[str, Any] = dict(after.get("prepared") or {})
        self._side = bytearray()
        self._joined: dict[int, tuple[int, int]] = {}
        self._checksum = 0
        self._sources: dict[bytes, str] = {}
        self._replayed: list[ChangeSet] = []
        self.replaying = False
        """A prepared transaction is read again: it ends where it was prepared."""
        # Where we are in the log, and where the transaction began.
        self._file, self._pos = after.get("file"), int(after.get("pos") or 4)
        self._before, self._begin = self._pos, (self._file, self._pos)
        self._gtid: tuple[str, int] | None = None
        self._in_transaction = self._parted = False
        self._stamp = 0.0
        # Where we are in the buffer, and where the last whole transaction ended.
        self._at = self._seq = 0
        self._stop = self._hold = False
        self._most: int | None = None
        self._unmark()
        self._given = dict(after)
        self._given_at = 0.0
        self._handlers = self._table()

    def _unmark(self) -> None:
        self._mark: tuple[int, int, Where, float] | None = None
        self._ended = 0

    def _follow(self, tracked: Tracked) -> None:
        self._tracked[tracked.schema.id] = tracked
        self._since.pop(tracked.schema.id, None)
        if tracked.since is not None:
            self._since[tracked.schema.id] = tracked.since

    def _table(self) -> dict[int, Handler]:
        return {
            **dict.fromkeys(e.ROWS, self._on_rows),
            e.QUERY: self._on_query,
            e.MARIA_QUERY_COMPRESSED: self._on_query,
            e.ROTATE: self._on_rotate,
            e.FORMAT: self._on_format,
            e.XID: self._on_commit,
            e.TABLE_MAP: self._on_table_map,
            e.GTID: self._on_gtid,
            e.ANONYMOUS_GTID: self._on_anonymous,
            e.GTID_TAGGED: self._on_tagged,
            e.MARIA_GTID: self._on_maria_gtid,
            e.XA_PREPARE: self._on_prepare,
            e.PAYLOAD: self._on_payload,
            e.INCIDENT: self._on_incident,
            e.PARTIAL_UPDATE: self._on_partial,
            e.MARIA_PARTIAL_ROW: self._on_incident,
            e.EXECUTE_LOAD: self._on_load,
            **dict.fromkeys(e.PASSED, self._on_passed),
        }

    # The contract

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """The next set; see `ChangeReader.poll`."""
        self._most = rows
        if self._ready:
            return self._ready.popleft()
        deadline = time.monotonic() + timeout
        while True:
            self._walk()
            if self._ready:
                return self._ready.popleft()
            if self._stop or self._seq >= ROWS_BUDGET or self._crowded():
                return self._give()
            left = deadline - time.monotonic()
            if self._due():
                # What is there is given at once, unless bulk is under way.
                if not self._dump.receive(LINGER_SECONDS if self._seq > BULK_ROWS else 0.0):
                    return self._give()
            elif not self._dump.receive(max(0.0, min(left, IDLE_SECONDS))) and left <= 0:
                return self._give() if self._moved() else None

    def adopt(self, table: TableId, tracked: Tracked | None) -> None:
        """From here on decode a table like this; None: it is not followed any more."""
        self._tracked.pop(table, None)
        self._since.pop(table, None)
        if tracked is not None:
            self._follow(tracked)
        self._statements.follow(self._tracked)
        self._maps.clear()
        self._bodies.clear()

    def acknowledge(self, position: Position) -> None:
        """Nothing is to be told: the server keeps its log by its own rules."""

    # When a set is given

    def _crowded(self) -> bool:
        """No event more fits; one that is larger than the buffer makes it grow."""
        if len(self._side) > BUFFER_BYTES:
            return True
        return not self._dump.room and bool(self._at)

    def _due(self) -> bool:
        if self._mark is None:
            return False
        if self._mark[1] or self._truncates:
            return True
        return self._moved() and time.monotonic() - self._given_at > IDLE_SECONDS

    def _moved(self) -> bool:
        return self._mark is not None and self._mark[2] != (
            self._given.get("file"),
            self._given.get("pos"),
        )

    def _end(self, after: int) -> None:
        """A transaction, or what stands alone, ended before ``after``."""
        self._in_transaction = self._parted = False
        if self._gtid is not None:
            self._gtids.add(*self._gtid)
            self._gtid = None
        self._mark = (after, self._seq, (self._file, self._pos), self._stamp)
        self._ended += 1
        enough = self._most is not None and self._seq >= self._most
        if enough or self._seq >= ROWS_BUDGET // 2 or after >= BUFFER_BYTES // 2:
            self._stop = True

    def _give(self) -> ChangeSet:
        """What was gathered up to the last whole transaction, or of the one that is too large."""
        position, stamp = None, None
        if self._mark is not None and not self._mark[1] and not self._truncates and self._seq:
            self._mark = None  # what is there is of a transaction that is too large for a set
        if self._mark is not None:
            until, seq, (self._file, self._pos), stamp = self._mark
            if self._seq > seq:  # the rest is walked again
                for followed in self._used.values():
                    followed.forget(seq)
                self._in_transaction, self._gtid = False, None
            position = self._given = self._where()
            self._given_at = time.monotonic()
        else:
            until, self._parted = self._at, True
        parts = self._parts()
        found = ChangeSet(parts, position, self._ended, stamp, until)
        self._forget_bytes(until)
        if self._replayed:  # a prepared transaction that was committed: its rows come first
            self._ready.extend(
                replace(one, position=None, transactions=0) for one in self._replayed
            )
            self._ready.append(found)
            self._replayed = []
            return self._ready.popleft()
        return found

    def _forget_bytes(self, until: int) -> None:
        self._dump.drop(until)
        self._joined = {at - until: (end - until, after - until)
                        for at, (end, after) in self._joined.items() if at >= until}  # fmt: skip
        self._side = bytearray()
        self._at = self._seq = 0
        self._stop = self._hold = False
        self._unmark()

    def _parts(self) -> tuple[ChangeBatch | Truncate | SchemaChange, ...]:
        parts: list[Any] = []
        if self._used:
            main = Image(self._dump.buffer)
            aside = Image(self._side + bytes(PAD))
            with well_formed(self._dump.what):
                found = (followed.batch(main, aside) for followed in self._used.values())
                parts = [batch for batch in found if batch is not None]
            self._used = {}
        seq = self._mark[1] if self._mark else self._seq
        parts += [part for part in self._truncates if part.seq < seq]
        parts.sort(key=lambda part: int(part.seq if isinstance(part, Truncate) else part.seq[0]))
        parts += self._changes
        self._truncates, self._changes = [], ()
        return tuple(parts)

    def _where(self) -> dict[str, Any]:
        found = {
            "server": self._server, "file": self._file, "pos": self._pos, "gtid": str(self._gtids),
        }  # fmt: skip
        return found | ({"prepared": dict(self._prepared)} if self._prepared else {})

    # Bytes

    def _walk(self) -> None:
        """Take the whole events that are there, up to the budget."""
        with well_formed(self._dump.what):
            self._take_events()

    def _take_events(self) -> None:
        # The loop over every event there is: names are local, and nothing is done twice.
        dump, handlers, length_at, checksum = self._dump, self._handlers, _u4, self._checksum
        buffer, fill, at = dump.buffer, dump.fill, self._at
        view = memoryview(buffer)
        pos, edge = self._pos, fill - 4
        while at <= edge and not self._stop:
            length = length_at(buffer, at)[0] & MOST
            event, end = at + 5, at + 4 + length
            after = end
            if length == MOST:
                end, after = self._join(at)
            if after > fill:
                self._need(at, length + 4)
                break
            if buffer[at + 4]:
                raise refusal(bytes(buffer[at + 4 : end]), dump.what)
            if end - event < e.HEADER + checksum:
                raise violation(dump.what, "an event is shorter than its head")
            handler = handlers.get(buffer[event + 4])
            log_pos = length_at(buffer, event + 13)[0]
            self._before = pos
            if log_pos and not buffer[event + 17] & ARTIFICIAL:
                pos += (log_pos - pos) & MASK
            self._pos = pos
            if handler is not None:
                if checksum:
                    end -= 4
                    if crc32(view[event:end]) != length_at(buffer, end)[0]:
                        raise self._damaged()
                if handler(buffer, event, end):
                    self._end(after)
                if self._hold:  # it comes again, once what is before it was given
                    self._pos = self._before
                    break
                pos, checksum = self._pos, self._checksum
            at = after
            if self._seq >= ROWS_BUDGET:
                break
        self._at = at

    def _damaged(self) -> LogLost:
        return LogLost(
            f"{self._dump.what}: an event's checksum is wrong, in {self._file}.",
            remedy="Start the stream again; where it stays so, the file is damaged: load the "
            "tables again (start with fresh=True).",
        )

    def _need(self, at: int, size: int) -> None:
        """The packet at ``at`` is not whole yet: see that it can become so."""
        have = len(self._dump.buffer) - PAD
        if at == 0 and size > have:
            # A length is a claim: memory grows with what comes, not with what is announced.
            self._dump.grow(min(size, 2 * have))

    def _join(self, at: int) -> tuple[int, int]:
        """Make an event of several packets contiguous. Returns (its end, the next packet); that
        is behind what is there where it is not whole yet."""
        if at in self._joined:
            return self._joined[at]
        dump = self._dump
        parts, place, length = list[tuple[int, int]](), at, MOST
        while length == MOST:
            there = place + 4 <= dump.fill
            length = int(_u4(dump.buffer, place)[0]) & MOST if there else MOST
            if place + 4 + length > dump.fill:
                if dump.fill >= at + 18:
                    size = int(_u4(dump.buffer, at + 14)[0])
                    self._need(at, size + (size // MOST + 2) * 4 + 1)
                return dump.fill + 1, dump.fill + 1
            parts.append((place + 4, length))
            place += 4 + length
        to = parts[0][0] + parts[0][1]
        for start, length in parts[1:]:
            dump.buffer[to : to + length] = dump.buffer[start : start + length]
            to += length
        # It may be walked twice, and its packets are no more.
        self._joined[at] = to, place
        return to, place

    # Events: where the log stands

    def _on_format(self, buffer: Any, event: int, end: int) -> bool:
        # The first one comes before we know whether there are checksums.
        kind = buffer[end - 1 if self._checksum else end - 5]
        self._checksum = 4 if kind == 1 else 0
        return self._on_passed(buffer, event, end)

    def _on_rotate(self, buffer: Any, event: int, end: int) -> bool:
        # One that the server makes up comes before we know whether there are checksums.
        name = bytes(buffer[event + 27 : end])
        if not self._checksum:
            name = _without_checksum(bytes(buffer[event:end]), name)
        self._file = name.decode()
        self._pos = int(struct.unpack_from("<Q", buffer, event + 19)[0])
        return self._on_passed(buffer, event, end)

    def _on_passed(self, buffer: Any, event: int, end: int) -> bool:
        """What is no transaction: the position goes on all the same."""
        if self._in_transaction or self._parted or self._gtid is not None:
            return False
        self._ended -= 1
        return True

    def _on_gtid(self, buffer: Any, event: int, end: int) -> bool:
        source = self._sources.get(key := bytes(buffer[event + 20 : event + 36]))
        if source is None:
            source = self._sources[key] = str(uuid.UUID(bytes=key))
        self._gtid = (source, _i8(buffer, event + 36)[0])
        self._begin = (self._file, self._before)
        if end - event >= 68:
            micro = int.from_bytes(buffer[event + 61 : event + 68], "little")
            self._stamp = (micro & 0x7FFFFFFFFFFFFF) / 1e6
        return False

    def _on_anonymous(self, buffer: Any, event: int, end: int) -> bool:
        self._on_gtid(buffer, event, end)
        self._gtid = None
        return False

    def _on_tagged(self, buffer: Any, event: int, end: int) -> bool:
        self._begin = (self._file, self._before)
        self._gtid = e.tagged(bytes(buffer[event + 19 : end]))
        self._stamp = float(_u4(buffer, event)[0])
        return False

    def _on_maria_gtid(self, buffer: Any, event: int, end: int) -> bool:
        number, domain, flags = _maria_gtid(buffer, event + 19)
        server = _u4(buffer, event + 5)[0]
        self._gtid = (f"{domain}-{server}", number)
        self._begin = (self._file, self._before)
        self._stamp = float(_u4(buffer, event)[0])
        self._in_transaction = not flags & 1
        return False

    # Events: rows

    def _on_table_map(self, buffer: Any, event: int, end: int) -> bool:
        body = bytes(buffer[event + 19 : end])
        # The server gives a table another id at each opening (FLUSH TABLES), and other flags by
        # statement (foreign keys since MySQL 9.6): what follows both says how rows are decoded.
        key, content = body[:6], body[8:]
        if content in self._bodies:
            followed = self._bodies[content]
        else:
            table = parse_table_map(body, mariadb=self._dump.mariadb)
            tracked = self._statements.find(self._tracked, table.schema, table.name)
            if tracked is not None and self._skipped(tracked.schema.id):
                # Below its view the table may have had another structure.
                self._maps[key] = None
                return False
            followed = self._bodies[content] = self._map(table, tracked)
        if followed is not None and self._since and self._skipped(followed.id):
            followed = None
        self._maps[key] = followed
        return False

    def _map(self, table: TableMap, tracked: Tracked | None) -> Followed | None:
        if tracked is None:
            return None
        self._statements.confirm(table)
        return Followed(table, tracked, self._translate)

    def _skipped(self, table: TableId) -> bool:
        since = self._since.get(table)
        if since is None:
            return False
        if self._covered(since, self._begin, self._gtid):
            return True
        del self._since[table]
        return False

    def _on_rows(self, buffer: Any, event: int, end: int) -> bool:
        followed = self._maps[bytes(buffer[event + 19 : event + 25])]
        if followed is None:
            return False
        op, extra, compressed = e.ROWS[buffer[event + 4]]
        # An insert is one whatever the session switched off.
        unchecked = op != 0 and bool(buffer[event + 25] & NO_FOREIGN_KEY_CHECKS)
        at = event + 27
        if extra:
            at += _u2(buffer, at)[0]
        count = buffer[at]
        at += 1
        if count >= 0xFB:
            count, at = length_encoded(buffer, at - 1)
        if count != len(followed.layout.fields):
            raise violation(self._dump.what, "rows have another number of columns than their table")
        size = (count + 7) >> 3
        if op == 1:
            size *= 2
        bitmaps = bytes(buffer[at : at + size])
        at += size
        aside = buffer is not self._dump.buffer
        if compressed:
            data = e.inflate(bytes(buffer[at:end]))
            aside, at, end = True, len(self._side), len(self._side) + len(data)
            self._side += data
            buffer = self._side
        shape = followed.shape(op, bitmaps, aside, unchecked)
        self._used[id(followed)] = followed
        self._seq += shape.take(buffer, at, end, self._seq)
        return False

    def _on_payload(self, buffer: Any, event: int, end: int) -> bool:
        """A whole transaction, compressed: its events are walked where they come out."""
        data = e.payload(bytes(buffer[event + 19 : end]))
        at = len(self._side)
        self._side += data
        ended = False
        while at < len(self._side):
            size = _u4(self._side, at + 9)[0]
            if size < e.HEADER or at + size > len(self._side):
                raise violation(self._dump.what, "an event is longer than its transaction")
            handler = self._handlers.get(self._side[at + 4])
            if handler is not None:
                ended = handler(self._side, at, at + size) or ended
            at += size
        return ended

    # Events: transactions and statements

    def _on_commit(self, buffer: Any, event: int, end: int) -> bool:
        if self._dump.mariadb:
            self._stamp = float(_u4(buffer, event)[0])
        return True

    def _on_query(self, buffer: Any, event: int, end: int) -> bool:
        if buffer[end - 5 : end] == b"BEGIN" and buffer[end - 6] == 0:
            self._in_transaction = True
            return False
        compressed = buffer[event + 4] == e.MARIA_QUERY_COMPRESSED
        query = e.parse_query(bytes(buffer[event + 19 : end]), compressed=compressed)
        words = query.text[:40].upper().split()
        first, second = [*words, "", ""][:2]
        if first in ("COMMIT", "XA", "ROLLBACK", "SAVEPOINT", "RELEASE", "BEGIN"):
            return self._transaction_word(first, second, query.text)
        if not self._in_transaction:
            return self._statement(query)
        if first in ("CREATE", "DROP", "ALTER"):  # CREATE TABLE ... SELECT: its rows follow
            self._statement(query)
        else:
            self._statements.refuse_rows(query)
        return False

    def _transaction_word(self, first: str, second: str, text: str) -> bool:
        if first == "COMMIT":
            return True
        if first == "ROLLBACK" and second not in ("TO", "WORK"):
            self._rolled_back()
            return True
        if first == "ROLLBACK":
            self._refuse_partial()
        if first == "BEGIN" or (first == "XA" and second in ("START", "BEGIN")):
            self._in_transaction = True
        if first == "XA" and second in ("COMMIT", "ROLLBACK"):
            return self._resolved(text, commit=second == "COMMIT")
        return False

    def _statement(self, query: e.Query) -> bool:
        """A statement that stands alone: DDL mostly."""
        try:
            found = self._statements.effect(query, self._skipped)
        except RAW as error:
            raise InternalError(
                f"{self._dump.what}: a statement that changes structure could not be judged "
                f"({type(error).__name__}), at {self._begin}."
            ) from error
        if found.emptied:
            self._truncates.append(Truncate(found.emptied, self._seq))
            self._seq += 1
        elif found.changes:
            if self._seq or self._truncates:
                self._statements.undo()
                self._hold = self._stop = True
                return False
            self._changes = tuple(replace(change, seq=self._seq) for change in found.changes)
            self._maps.clear()
            self._bodies.clear()
            self._stop = True
        return True

    def _rolled_back(self) -> None:
        """Tables without transactions were written to as well: nothing of the others stays."""
        if self._parted:
            self._refuse_partial()
        seq = self._mark[1] if self._mark else 0
        for followed in self._used.values():
            followed.forget(seq)
        self._seq = seq

    def _refuse_partial(self) -> None:
        since = self._mark[1] if self._mark else 0
        if self._seq > since or self._parted:
            raise ServerError(
                f"{self._dump.what}: a transaction with rows of a followed table was rolled back "
                f"in part, with tables in it that have no transactions, at {self._begin}.",
                remedy="Convert those tables to InnoDB, and load the tables again.",
            )

    def _on_prepare(self, buffer: Any, event: int, end: int) -> bool:
        at_once, name = e.xid(bytes(buffer[event + 19 : end]))
        if self.replaying:
            self.replaying, self._stop = False, True
            return True
        if at_once:
            return True
        if self._parted:
            raise ServerError(
                f"{self._dump.what}: a prepared transaction is larger than a change set.",
                remedy="Commit or roll it back, then load the tables again.",
            )
        seq = self._mark[1] if self._mark else 0
        if self._seq > seq:  # rows of followed tables: they are read again at XA COMMIT
            self._prepared[name] = [*self._begin]
            self._rolled_back()
        return True

    def _resolved(self, text: str, *, commit: bool) -> bool:
        name = text.split(None, 2)[2].strip()
        began = self._prepared.get(name)
        if began is None:
            return True
        if commit and self._mark is not None and (self._mark[1] or self._truncates):
            self._hold = self._stop = True
            return False
        del self._prepared[name]
        if commit:
            place = {"server": self._server, "file": began[0], "pos": began[1]}
            self._replayed = list(self._replay(name, place, self._tracked))
            self._stop = True
        return True

    def _on_load(self, buffer: Any, event: int, end: int) -> bool:
        self._statements.refuse_rows(e.Query("", "LOAD DATA"))
        return False

    def _on_partial(self, buffer: Any, event: int, end: int) -> bool:
        if self._maps[bytes(buffer[event + 19 : event + 25])] is None:
            return False
        raise ServerError(
            f"{self._dump.what}: an update carries only the changed parts of a JSON value "
            "(binlog_row_value_options = PARTIAL_JSON).",
            remedy="SET GLOBAL binlog_row_value_options = ''; reconnect the sessions, and load the "
            "tables again.",
        )

    def _on_incident(self, buffer: Any, event: int, end: int) -> bool:
        raise LogLost(
            f"{self._dump.what}: the server says that its log lacks events (incident), or an "
            f"event has a form that is not known here, in {self._file}.",
            remedy="Load the tables again (start with fresh=True).",
        )


def _without_checksum(event: bytes, name: bytes) -> bytes:
    """The file's name, without the checksum that an event has where it has one."""
    if zlib.crc32(event[:-4]) == int.from_bytes(event[-4:], "little"):
        return name[:-4]
    return name
