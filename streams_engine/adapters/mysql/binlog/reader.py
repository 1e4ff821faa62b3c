"""Read a binary log: packets in, change sets of whole transactions out."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streams_engine.adapters.mysql.binlog.assembler import (
    Assembled,
    Phase,
    Step,
    TransactionAssembler,
)
from streams_engine.adapters.mysql.binlog.dump import BinlogDump, refusal
from streams_engine.adapters.mysql.binlog.events import (
    ARTIFICIAL,
    ChecksumError,
    Event,
    Format,
    MalformedEventError,
    Rotate,
    ServerStart,
    parse,
)
from streams_engine.adapters.mysql.binlog.packet_buffer import BUFFER_BYTES, MAX_PACKET
from streams_engine.adapters.mysql.binlog.short_run import FEWEST, short_run
from streams_engine.adapters.mysql.binlog.short_transaction import BEGINS, short_transaction
from streams_engine.adapters.mysql.binlog.table_id_map import Place
from streams_engine.arrow.buffers import violation, well_formed
from streams_engine.errors import LogLost
from streams_engine.model import ChangeSet, Position, TableId, TableSubscription

__all__ = ["BinlogReader", "Replay"]

ROWS_BUDGET = 50_000
"""How many changes make a part of a transaction; half of them complete a set of whole ones."""
LINGER_SECONDS = 0.001
"""How long to wait for more in the middle of bulk: a server that sends as fast as we read is not
done just because nothing lies there at this very moment."""
BULK_ROWS = 1000
IDLE_SECONDS = 0.1
"""How often a position alone is given while others' transactions pass."""

MOST_OF_A_RUN = 4096
"""How many transactions are checked at once, where those before were all of one form."""

HEAD = 5
"""Bytes before an event: the packet's length, its number, and its status."""
TYPE = HEAD + 4
"""Where in a packet the type of its event is."""

NOTED = frozenset({Rotate, Format, ServerStart})
"""Events that say where the log continues, or how."""
WITHIN, BOUNDARY, HELD = Step.WITHIN, Step.BOUNDARY, Step.HELD

Replay = Callable[[str, Position, Mapping[TableId, TableSubscription]], Sequence[ChangeSet]]
"""(a prepared transaction's name, where it begins, what is followed) -> its rows."""

_u4: Any = struct.Struct("<I").unpack_from


class BinlogReader:
    """A log from one position on. Used by one thread, but for `acknowledge`."""

    def __init__(
        self,
        dump: BinlogDump,
        assembler: TransactionAssembler,
        after: Position,
        *,
        server: str,
        replay: Replay,
        rows_budget: int = ROWS_BUDGET,
    ) -> None:
        self._dump, self._assembler, self._server = dump, assembler, server
        self._replay, self._rows_budget = replay, rows_budget
        self._ready: deque[ChangeSet] = deque()
        self._checksum = False
        """Events end with a checksum."""
        self._file, self._offset = after.get("file"), int(after.get("pos") or 4)
        """Where the next event begins in the log."""
        self._at = 0
        """Where its packet begins in the buffer."""
        self._boundary: tuple[int, Place] | None = None
        """The same two after the last whole transaction of the set."""
        self._full = False
        """The set ends before the next event."""
        self._rows_wanted = rows_budget // 2
        self._run_most = FEWEST
        """How many transactions the next run may have."""
        self._alone = 0
        """How many transactions come one by one before it."""
        self._given: tuple[Any, Any] = (after.get("file"), after.get("pos"))
        self._given_at = 0.0

    # The contract

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """Return the next change set; see `ChangeReader.poll`."""
        if self._ready:
            return self._ready.popleft()
        half = self._rows_budget // 2
        self._rows_wanted = half if rows is None else min(rows, half)
        deadline = time.monotonic() + timeout
        while True:
            self._take_events()
            if self._is_full():
                return self._give(full=True)
            left = 0.0 if self._dump.woken else deadline - time.monotonic()
            if self._is_due():
                # What is there is given at once, unless bulk is under way.
                bulk = self._assembler.changes.seq > BULK_ROWS
                if not self._dump.receive(LINGER_SECONDS if bulk else 0.0):
                    return self._give()
            elif not self._dump.receive(self._rest(left)) and left <= 0:
                self._dump.woken = False
                return self._give() if self._has_moved() else None

    def _rest(self, left: float) -> float:
        """Return for how long nothing but packets is to be waited for."""
        return max(0.0, min(left, IDLE_SECONDS) if self._has_moved() else left)

    def wake(self) -> None:
        """Have the poll that waits, or else the next one, return at once. Thread-safe."""
        self._dump.wake()

    def give_texts(self, most: int) -> None:
        """Give sets of at most so many row changes as `TextRows` from here on, if that is exact."""
        self._assembler.changes.most_texts = most

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table with this subscription from here on; None stops decoding it."""
        self._assembler.tables.adopt(table, tracked)

    def acknowledge(self, position: Position) -> None:
        """Do nothing: the server removes its binary log by its own rules."""

    @property
    def replayed(self) -> bool:
        """True once the XA PREPARE of a replay was read."""
        return self._assembler.phase is Phase.REPLAYED

    # When a set is given

    def _is_full(self) -> bool:
        """Return True if nothing more may be taken, or fits.

        A single event larger than the buffer makes it grow.
        """
        if self._full or len(self._assembler.changes.decompressed) > BUFFER_BYTES:
            return True
        return not self._dump.packets.room and bool(self._at)

    def _is_due(self) -> bool:
        if self._boundary is None:
            return False
        if self._assembler.changes.settled:
            return True
        return self._has_moved() and time.monotonic() - self._given_at > IDLE_SECONDS

    def _has_moved(self) -> bool:
        return self._boundary is not None and self._boundary[1] != self._given

    def _give(self, *, full: bool = False) -> ChangeSet:
        """Return the set up to the last whole transaction, or a part of one that is too large."""
        packets, assembler = self._dump.packets, self._assembler
        changes = assembler.changes
        if self._boundary is None or (full and changes.seq and not changes.settled):
            until, assembled, position = self._at, assembler.part(packets.data), None
            given = ChangeSet(assembled.parts, None, assembled.transactions, None, until)
        else:
            until, (self._file, self._offset) = self._boundary
            assembled, position = assembler.cut(packets.data), self._position()
            self._given, self._given_at = (self._file, self._offset), time.monotonic()
            given = ChangeSet(
                assembled.parts, position, assembled.transactions, assembled.committed_at, until
            )
        packets.drop(until)
        self._at, self._full, self._boundary = 0, False, None
        return self._after_replay(assembled, given)

    def _position(self) -> Position:
        prepared = self._assembler.prepared
        position = {
            "server": self._server,
            "file": self._file,
            "pos": self._offset,
            "gtid": str(self._assembler.gtids),
        }
        return position | ({"prepared": dict(prepared)} if prepared else {})

    def _after_replay(self, assembled: Assembled, given: ChangeSet) -> ChangeSet:
        """Return the first of the sets of a prepared transaction that was committed, if there is
        one, else ``given``, which comes last."""
        if assembled.committed is None:
            return given
        name, (file, offset) = assembled.committed
        begin = {"server": self._server, "file": file, "pos": offset}
        for one in self._replay(name, begin, self._assembler.tables.subscriptions):
            self._ready.append(replace(one, position=None, transactions=0))
        self._ready.append(given)
        return self._ready.popleft()

    # Events

    def _take_events(self) -> None:
        """Take the whole events that are there, up to the budget."""
        what = self._dump.what
        with well_formed(what):
            try:
                self._walk()
            except ChecksumError:
                raise LogLost(
                    f"{what}: the checksum of an event in {self._file} is wrong.",
                    remedy=(
                        "Start the stream again. If the error persists, the file is damaged: load "
                        "the tables again (start with fresh=True)."
                    ),
                ) from None
            except MalformedEventError as error:
                raise violation(what, str(error)) from error

    def _walk(self) -> None:
        # The loop over every event there is: names are local.
        packets, assembler, budget = self._dump.packets, self._assembler, self._rows_budget
        take, changes, length_at = assembler.take, assembler.changes, _u4
        take_short = assembler.take_short
        data, fill, checksum = packets.data, packets.fill, self._checksum
        file, offset, at, full = self._file, self._offset, self._at, self._full
        while not full and at + 4 <= fill:
            if data[at + TYPE] in BEGINS and assembler.phase is Phase.OUTSIDE:
                if self._alone:
                    self._alone -= 1
                elif self._take_run(at, file, offset):
                    offset, at, full = self._offset, self._at, self._full
                    continue
                short = short_transaction(data, at, fill, checksum)
                if short is not None:
                    take_short(short, (file, offset))
                    for following in short.ends:
                        offset += (following - offset) & 0xFFFFFFFF
                    at = short.after
                    full = self._ends(at, file, offset)
                    continue
            length = length_at(data, at)[0] & MAX_PACKET
            start, end = at + HEAD, at + 4 + length
            after = end
            if length == MAX_PACKET:
                end, after = packets.join(at)
            if after > fill:
                packets.reserve(at, length)
                break
            if length and data[at + 4]:
                raise refusal(bytes(data[at + 4 : end]), self._dump.what)
            event = parse(data, start, end, checksum)
            before = offset
            following = length_at(data, start + 13)[0]
            if following and not data[start + 17] & ARTIFICIAL:
                offset += (following - offset) & 0xFFFFFFFF  # the log has its lowest 32 bits
            if event is not None:
                if event.__class__ in NOTED:
                    self._file, self._offset = file, offset
                    self._note(event)
                    file, offset, checksum = self._file, self._offset, self._checksum
                step = take(event, (file, before))
                if step is not WITHIN:
                    if step is HELD:
                        offset, full = before, True
                        break
                    full = assembler.complete or changes.seq >= budget
                    if step is BOUNDARY:
                        full = self._ends(after, file, offset) or full
            at = after
        self._file, self._offset, self._at, self._full = file, offset, at, full

    def _take_run(self, at: int, file: Any, offset: int) -> bool:
        """Take transactions of one form at once; return False if there are none.

        Runs grow while they are whole, and are not sought for a while where they were short.
        """
        packets, most, until = self._dump.packets, self._run_most, BUFFER_BYTES // 2
        run = short_run(packets.data, at, packets.fill, self._checksum, most=most, until=until)
        taken = 0
        if run is not None:
            taken = self._assembler.take_run(run, packets.data, (file, offset), self._rows_wanted)
        whole = run is not None and taken == most
        self._run_most = min(2 * most, MOST_OF_A_RUN) if whole else max(taken, FEWEST)
        self._alone = 0 if taken >= FEWEST else FEWEST
        if run is None or not taken:
            return False
        self._at, self._offset = int(run.after[taken - 1]), run.offsets(offset, taken)[1]
        self._full = self._ends(self._at, file, self._offset)
        return True

    def _ends(self, after: int, file: Any, offset: int) -> bool:
        """Note that a transaction ends there; return True if the set is to end with it."""
        self._boundary = (after, (file, offset))
        return self._assembler.changes.seq >= self._rows_wanted or after >= BUFFER_BYTES // 2

    def _note(self, event: Event) -> None:
        if isinstance(event, Rotate):
            self._file, self._offset = event.file, event.position
        elif isinstance(event, Format | ServerStart):
            self._checksum = event.checksum
