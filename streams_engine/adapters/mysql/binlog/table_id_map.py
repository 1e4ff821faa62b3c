"""Map the table ids of a transaction to the tables that are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from streams_engine.adapters.mysql.binlog.ddl_parser import STORES_NOTHING
from streams_engine.adapters.mysql.binlog.events import (
    HEADER,
    ROWS,
    Gtid,
    GtidBegin,
    Rows,
    TableMapEvent,
    row_images,
)
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.adapters.mysql.binlog.table_decoder import ImageKind, TableImages
from streams_engine.adapters.mysql.binlog.table_map import parse_name, parse_table_map
from streams_engine.model import Position, TableId, TableSubscription

__all__ = ["Covered", "KnownRows", "Place", "TableIdMap"]

OTHER_TABLES = 256
"""How many table maps of tables that are not followed are kept, the latest ones: a server may
create and drop any number of tables while the log is read."""

COMPRESSED = frozenset(kind for kind, (_, _, compressed) in ROWS.items() if compressed)
"""Types of events whose rows are not in the reader's buffer."""

Place = tuple[Any, int]
"""(file, offset in it)."""

Covered = Callable[[Position, Place, "Gtid | GtidBegin | None"], bool]
"""(a table's ``since``, where a transaction begins, its GTID) -> its snapshot has the rows."""


class KnownRows(NamedTuple):
    """What rows of a kind were, the last time that they came with a table map."""

    head: bytes
    """The bytes of their event before the images, from the table id on."""
    images: TableImages | None
    """None: their table is not followed."""
    kind: ImageKind | None


class TableIdMap:
    """The subscriptions of a reader, and the row images of their tables by table id."""

    def __init__(
        self,
        subscriptions: Sequence[TableSubscription],
        statements: StatementJudge,
        *,
        mariadb: bool,
        translate: Any,
        covered: Covered,
    ) -> None:
        self.images: dict[bytes, TableImages | None] = {}
        """By table id, for the open transaction: each maps its tables anew. None: not followed."""
        self._statements, self._mariadb = statements, mariadb
        self._translate, self._covered = translate, covered
        self._subscriptions: dict[TableId, TableSubscription] = {}
        self._since: dict[TableId, Position] = {}
        """Tables whose snapshot is later than the start, until a transaction comes that it
        lacks."""
        self._bodies: dict[bytes, TableImages] = {}
        self._others: dict[bytes, None] = {}
        """Table maps of tables that are not followed, oldest first."""
        self.known: dict[tuple[bytes, int], KnownRows] = {}
        """By the body of a table map, and the type of the event with the rows."""
        for one in subscriptions:
            self._subscribe(one)
        statements.follow(self._subscriptions)

    @property
    def subscriptions(self) -> Mapping[TableId, TableSubscription]:
        """The tables that are followed."""
        return self._subscriptions

    def _subscribe(self, subscription: TableSubscription) -> None:
        table = subscription.schema.id
        self._subscriptions[table] = subscription
        self._since.pop(table, None)
        if subscription.since is not None:
            self._since[table] = subscription.since

    def adopt(self, table: TableId, subscription: TableSubscription | None) -> None:
        """Decode a table by another subscription from here on; None: do not follow it."""
        self._subscriptions.pop(table, None)
        self._since.pop(table, None)
        if subscription is not None:
            self._subscribe(subscription)
        self._statements.follow(self._subscriptions)
        self.forget()

    def forget(self) -> None:
        """Drop every table map: DDL was executed."""
        self.images.clear()
        self._bodies.clear()
        self._others.clear()
        self.known.clear()

    def add(self, event: TableMapEvent, begin: Place, gtid: Gtid | GtidBegin | None) -> None:
        """Map a table id, in the transaction that begins there."""
        table_id, body, content = event
        images = self._bodies.get(content)
        if images is None and content not in self._others:
            subscription = self._statements.find(*parse_name(body))
            if subscription is None or subscription.schema.engine == STORES_NOTHING:
                self._pass_over(content)
            elif self.covers(subscription.schema.id, begin, gtid):
                # Before its snapshot the table may have had another structure.
                self.images[table_id] = None
                return
            else:
                images = self._bodies[content] = self._decoder(body, subscription)
        if images is not None and self._since and self.covers(images.id, begin, gtid):
            images = None
        self.images[table_id] = images

    def remember(self, event: TableMapEvent, rows: Rows) -> None:
        """Note what these rows are, so that others like them need not be looked at again."""
        table_id, buffer, start, _ = rows
        key = (event.body, buffer[start + 4])
        if self._since or key[1] in COMPRESSED or table_id != event.table_id:
            return
        images = self.images[table_id]
        if len(self.known) >= OTHER_TABLES:
            self.known.clear()
        if images is None:
            self.known[key] = KnownRows(table_id, None, None)
            return
        op, unchecked, _, _, bitmaps, first, _ = row_images(rows)
        kind = images.shape(op, bitmaps, False, unchecked)
        self.known[key] = KnownRows(bytes(buffer[start + HEADER : first]), images, kind)

    def _pass_over(self, content: bytes) -> None:
        if len(self._others) >= OTHER_TABLES:
            del self._others[next(iter(self._others))]
        self._others[content] = None

    def _decoder(self, body: bytes, subscription: TableSubscription) -> TableImages:
        table = parse_table_map(body, mariadb=self._mariadb)
        self._statements.confirm(table)
        return TableImages(table, subscription, self._translate, whole=self._mariadb)

    def covers(self, table: TableId, begin: Place, gtid: Gtid | GtidBegin | None) -> bool:
        """Return True if the table's snapshot includes the transaction that begins there."""
        since = self._since.get(table)
        if since is None:
            return False
        if self._covered(since, begin, gtid):
            return True
        del self._since[table]
        return False
