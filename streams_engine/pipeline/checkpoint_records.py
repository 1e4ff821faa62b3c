"""Checkpoint records: everything of a stream that survives a crash.

A sink stores each as a JSON document under a key. The keys and documents are a stored format: what
an earlier version wrote is still read (`tests/pipeline/checkpoints` holds a copy for each kind of
target). `RunRecord.version` counts the changes of the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from streams_engine.contracts import Statement
from streams_engine.errors import CheckpointMismatch
from streams_engine.model import (
    Chunk,
    EqualRange,
    ObjectKind,
    ObjectRef,
    Position,
    TableId,
    TableSchema,
    VerificationProgress,
)
from streams_engine.schema.serialization import from_dict, to_dict

__all__ = [
    "REPAIR",
    "VERSION",
    "ChunkRecord",
    "DdlIntentRecord",
    "Document",
    "Documents",
    "DroppedKeyRecord",
    "LogRecord",
    "MadeTableRecord",
    "OwnTableRecord",
    "PendingDdlRecord",
    "Records",
    "RunRecord",
    "TablePlanRecord",
    "TableRecord",
    "TableRename",
    "Updates",
    "VerifyRecord",
    "removed",
]

VERSION = 1
"""The format that this version writes. Runs of before it carry no number, and are read as 1."""

Document = Mapping[str, Any]
Documents = Mapping[str, Document]
"""A stream's documents by key, as a sink stores them."""
Updates = dict[str, Document | None]
"""Documents to put by key, and to remove where they are None."""

RUN = "run"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One start of the stream, with what it was started for."""

    fingerprint: str
    """Digest of the configuration that the target depends on, addresses of servers included."""
    position: Position
    """Of the snapshot that rows are loaded from; empty without a load."""
    start: str = ""
    """Names this start: workers of an earlier one are fenced off by it."""
    version: int = VERSION
    settings: Mapping[str, Any] | None = None
    """That configuration by part; None in records of versions that kept the digest alone."""

    @property
    def key(self) -> str:
        return RUN

    @property
    def discarded(self) -> bool:
        """True if a start gave up what was loaded before, and has made nothing yet."""
        return not self.fingerprint

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "fingerprint": self.fingerprint,
            "position": dict(self.position),
            "start": self.start,
            "version": self.version,
            **({} if self.settings is None else {"settings": dict(self.settings)}),
        }

    @classmethod
    def from_json(cls, document: Document) -> RunRecord:
        """Read the stored form. Raises `CheckpointMismatch` if a newer version wrote it."""
        version = document.get("version", 1)
        if not isinstance(version, int) or version > VERSION:
            raise CheckpointMismatch(
                f"The checkpoint has format {version}; this version reads up to {VERSION}.",
                remedy="Run the stream with the version that wrote it, or a newer one.",
                changed={"format": {"before": version, "after": VERSION}},
            )
        start = document.get("start", "")
        settings = document.get("settings")
        return cls(document["fingerprint"], document["position"], start, version, settings)


@dataclass(frozen=True, slots=True)
class TablePlanRecord:
    """The chunks that a table is loaded in."""

    table: TableId
    chunks: tuple[Chunk, ...]

    @staticmethod
    def key_of(table: TableId) -> str:
        """Return the key of a table's plan."""
        return f"table:{table}"

    @property
    def key(self) -> str:
        return self.key_of(self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"table": asdict(self.table), "chunks": [asdict(chunk) for chunk in self.chunks]}

    @classmethod
    def from_json(cls, document: Document) -> TablePlanRecord:
        """Read the stored form."""
        chunks = tuple(_chunk(one) for one in document["chunks"])
        return cls(TableId(**document["table"]), chunks)


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """Progress of a chunk, committed with the chunk's rows."""

    table: TableId
    number: int
    done: bool
    rows: int
    """Rows that were read, those that were quarantined too."""
    last: tuple[Any, ...] | None
    """The key of the last committed row; None if the chunk has none to go on from."""

    @staticmethod
    def key_of(chunk: Chunk) -> str:
        """Return the key of a chunk's record."""
        return f"chunk:{chunk.table}:{chunk.number}"

    @property
    def key(self) -> str:
        return f"chunk:{self.table}:{self.number}"

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        last = None if self.last is None else list(self.last)
        return {"done": self.done, "rows": self.rows, "last": last}

    @classmethod
    def from_json(cls, chunk: Chunk, document: Document | None) -> ChunkRecord | None:
        """Read the stored form of a chunk's record; None if its copy has not begun.

        An empty document is a fence that a worker entered before its first commit.
        """
        if not document:
            return None
        last = document["last"]
        return cls(
            chunk.table,
            chunk.number,
            bool(document["done"]),
            int(document["rows"]),
            None if last is None else tuple(last),
        )


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A table that a log is followed for: what its rows mean from ``since`` on."""

    table: TableId
    schema: TableSchema
    since: Position
    """Its rows are known up to here: earlier changes are not applied."""
    load: str | None = None
    """The write mode in which its rows are being loaded; None: it has no load."""
    loaded: bool = True
    early: bool = False
    """It was read again before its place in the log, under the name that it has there."""

    @staticmethod
    def key_of(table: TableId) -> str:
        """Return the key of a table's record."""
        return f"followed:{table}"

    @property
    def key(self) -> str:
        return self.key_of(self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        document = {
            "table": asdict(self.table),
            "schema": to_dict(replace(self.schema, id=self.table)),
            "since": dict(self.since),
            "loaded": self.loaded,
            "load": self.load,
        }
        return {**document, "early": True} if self.early else document

    @classmethod
    def from_json(cls, document: Document) -> TableRecord:
        """Read the stored form."""
        return cls(
            TableId(**document["table"]),
            from_dict(document["schema"]),
            document["since"],
            document["load"],
            bool(document["loaded"]),
            document.get("early", False),
        )


@dataclass(frozen=True, slots=True)
class LogRecord:
    """The position of a source's log up to which everything is durable on the target.

    The sink adds ``epoch`` to the document, which fences off whoever had the log before.
    """

    alias: str
    position: Position

    @staticmethod
    def key_of(alias: str) -> str:
        """Return the key of a source's record; a single source has no alias."""
        return f"log:{alias}" if alias else "log"

    @property
    def key(self) -> str:
        return self.key_of(self.alias)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"position": dict(self.position)}


@dataclass(frozen=True, slots=True)
class PendingDdlRecord:
    """DDL that waits for the consistent point of a source's tables: its foreign keys."""

    alias: str

    @staticmethod
    def key_of(alias: str) -> str:
        """Return the key of a source's record; a single source has no alias."""
        return f"pending:{alias}" if alias else "pending"

    @property
    def key(self) -> str:
        return self.key_of(self.alias)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"foreignKeys": True}


TableRename = tuple[TableId, TableId]
"""A table's name of before and after a change."""


@dataclass(frozen=True, slots=True)
class DdlIntentRecord:
    """A schema change that begins on a target whose DDL commits by itself."""

    table: TableId
    renamed: TableRename | None = None
    """The target's names, if the change renames the table: rows of before it are written under the
    new one once it exists."""
    columns: tuple[str, ...] = ()
    """The target's columns that are added to a table which is read again: by the next start the
    source's may have another structure."""
    emptied: bool = False
    """The table's rows are gone, because all were to be read again."""
    dropped: bool = False
    """The table is dropped: what the log says of it until then does not matter any more."""

    @staticmethod
    def key_of(table: TableId) -> str:
        """Return the key of a table's record."""
        return f"ddl:{table}"

    @property
    def key(self) -> str:
        return self.key_of(self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        document: dict[str, Any] = {"table": str(self.table)}
        if self.renamed:
            document["renamed"] = [asdict(name) for name in self.renamed]
        if self.columns:
            document["columns"] = list(self.columns)
        if self.emptied:
            document["emptied"] = True
        if self.dropped:
            document["dropped"] = True
        return document


@dataclass(frozen=True, slots=True)
class MadeTableRecord:
    """A table that a load made on the target, until all are loaded."""

    table: TableId
    """The source's."""
    target: TableId

    @property
    def key(self) -> str:
        return f"made:{self.table}"

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"table": asdict(self.table), "target": asdict(self.target)}

    @classmethod
    def from_json(cls, document: Document) -> MadeTableRecord:
        """Read the stored form."""
        return cls(TableId(**document["table"]), TableId(**document["target"]))


@dataclass(frozen=True, slots=True)
class OwnTableRecord:
    """A table of the target that a load without a log made or took, by the policies that it had:
    a later start may empty it, and no other."""

    target: TableId
    taken: bool = False
    """It was there before, and its structure is not the load's."""

    @property
    def key(self) -> str:
        return f"own:{self.target}"

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        document: dict[str, Any] = {"target": asdict(self.target)}
        return {**document, "taken": True} if self.taken else document

    @classmethod
    def from_json(cls, document: Document) -> OwnTableRecord:
        """Read the stored form."""
        return cls(TableId(**document["target"]), document.get("taken", False))


@dataclass(frozen=True, slots=True)
class DroppedKeyRecord:
    """A foreign key of the target that a load dropped, until it is there again."""

    table: TableId
    name: str
    referenced: TableId
    sql: str
    """What adds it."""
    orphans: str
    """A SELECT of the rows that refer to none."""
    comment: str | None = None
    """What gives it its comment."""

    @property
    def key(self) -> str:
        return f"{DROPPED_KEY}{self.table}:{self.name}"

    @property
    def object(self) -> ObjectRef:
        """The constraint."""
        return ObjectRef(ObjectKind.CONSTRAINT, self.name, self.table)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What makes the key again: as a foreign key is made after a load, proved by the target."""
        added = Statement(self.sql, self.object, self.table, orphans=self.orphans)
        if self.comment is None:
            return (added,)
        about = ObjectRef(ObjectKind.COMMENT, self.name, self.table)
        return (added, Statement(self.comment, about, self.table, optional=True))

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Document) -> DroppedKeyRecord:
        """Read the stored form."""
        tables = {name: TableId(**document[name]) for name in ("table", "referenced")}
        return cls(**{**document, **tables})


@dataclass(frozen=True, slots=True)
class VerifyRecord:
    """How far a verification of a table came that is not at its end; beside the run's records."""

    progress: VerificationProgress

    @staticmethod
    def key_of(table: TableId) -> str:
        """Return the key of a table's record."""
        return f"{VERIFY}{table}"

    @property
    def key(self) -> str:
        return self.key_of(self.progress.table)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {**asdict(self.progress), "version": VERSION}

    @classmethod
    def from_json(cls, document: Document) -> VerifyRecord | None:
        """Read the stored form; None if another version wrote it, whose verification is begun
        anew."""
        if document.get("version") != VERSION:
            return None
        values = {name: value for name, value in document.items() if name != "version"}
        values["table"] = TableId(**document["table"])
        values["equal"] = tuple(EqualRange(**one) for one in document["equal"])
        values |= {name: tuple(document[name]) for name in ("by_value", "notes")}
        return cls(VerificationProgress(**values))


DROPPED_KEY = "dropped-key:"
VERIFY = "verify:"
REPAIR = "verify-repair"
"""The record under which a repair writes to the target of a load; it holds nothing, and goes with
the verification."""

Record = (
    RunRecord
    | TablePlanRecord
    | ChunkRecord
    | TableRecord
    | LogRecord
    | PendingDdlRecord
    | DdlIntentRecord
    | MadeTableRecord
    | OwnTableRecord
    | DroppedKeyRecord
    | VerifyRecord
)


def removed(keys: Iterable[str]) -> Updates:
    """Return the updates that remove records by key."""
    return dict.fromkeys(keys)


@dataclass(frozen=True, slots=True)
class Records:
    """All records of one stream, read from their documents."""

    documents: Documents = field(default_factory=dict)

    @property
    def run(self) -> RunRecord | None:
        """The record of the run; None if the stream never started."""
        document = self.documents.get(RUN)
        return None if document is None else RunRecord.from_json(document)

    def plans(self) -> Iterator[TablePlanRecord]:
        """Yield the plan of each table that is being loaded."""
        for key, document in self.documents.items():
            if key.startswith("table:"):
                yield TablePlanRecord.from_json(document)

    def chunk(self, chunk: Chunk) -> ChunkRecord | None:
        """Return a chunk's record; None if its copy has not begun."""
        return ChunkRecord.from_json(chunk, self.documents.get(ChunkRecord.key_of(chunk)))

    def chunk_keys(self, tables: Iterable[TableId]) -> Iterator[str]:
        """Yield the keys of all chunks of some tables, whatever is in the tables' names."""
        names = {str(table) for table in tables}
        for key in self.documents:
            name, _, number = key.removeprefix("chunk:").rpartition(":")
            if key.startswith("chunk:") and number.isdecimal() and name in names:
                yield key

    def load_keys(self) -> Iterator[str]:
        """Yield the keys of all records of a load: plans, chunks, and tables that it made."""
        return (key for key in self.documents if key.startswith(("chunk:", "table:", "made:")))

    def made(self) -> list[MadeTableRecord]:
        """Return the tables that an unfinished load made on the target."""
        return [
            MadeTableRecord.from_json(document)
            for key, document in self.documents.items()
            if key.startswith("made:")
        ]

    def own(self) -> frozenset[TableId] | None:
        """Return the target's tables that are the load's own; None if none is recorded: by a cdc,
        or by a run of an older version."""
        return frozenset(record.target for record in self._own()) or None

    def taken(self) -> frozenset[TableId]:
        """Return those of `own` that were there before the load."""
        return frozenset(record.target for record in self._own() if record.taken)

    def _own(self) -> Iterator[OwnTableRecord]:
        for key, document in self.documents.items():
            if key.startswith("own:"):
                yield OwnTableRecord.from_json(document)

    def dropped_keys(self) -> tuple[DroppedKeyRecord, ...]:
        """Return the foreign keys that a load dropped, and that are not known to be there again."""
        return tuple(
            DroppedKeyRecord.from_json(document)
            for key, document in self.documents.items()
            if key.startswith(DROPPED_KEY)
        )

    def rows_loaded(self) -> bool:
        """Return True if any chunk has committed rows."""
        chunks = (d for key, d in self.documents.items() if key.startswith("chunk:"))
        return any(document.get("rows") for document in chunks)

    def tables(self) -> list[TableRecord]:
        """Return the tables that logs are followed for."""
        return [
            TableRecord.from_json(document)
            for key, document in self.documents.items()
            if key.startswith("followed:")
        ]

    def log(self, alias: str) -> LogRecord | None:
        """Return the position of a source's log; None if it is not recorded yet."""
        position = self.documents.get(LogRecord.key_of(alias), {}).get("position")
        return None if position is None else LogRecord(alias, position)

    def has_pending_ddl(self, alias: str) -> bool:
        """Return True if DDL waits for the consistent point of a source's tables."""
        return PendingDdlRecord.key_of(alias) in self.documents

    def intended(self) -> frozenset[str]:
        """Return the labels of the tables whose DDL began and is not recorded as done."""
        return frozenset(d["table"] for k, d in self.documents.items() if k.startswith("ddl:"))

    def renames(self) -> dict[str, TableRename]:
        """Return the target's names of the tables whose rename began, by the tables' labels."""
        return {
            d["table"]: (TableId(**d["renamed"][0]), TableId(**d["renamed"][1]))
            for k, d in self.documents.items()
            if k.startswith("ddl:") and "renamed" in d
        }

    def columns_added(self) -> dict[str, tuple[str, ...]]:
        """Return the target's columns that tables which are read again got, by their labels."""
        return {
            d["table"]: tuple(d["columns"])
            for k, d in self.documents.items()
            if k.startswith("ddl:") and "columns" in d
        }

    def emptied(self) -> dict[str, bool]:
        """Return the labels of the tables whose rows are gone and not read again yet; True for
        those that get another name with that: only the change itself tells it."""
        return {
            d["table"]: "renamed" in d
            for k, d in self.documents.items()
            if k.startswith("ddl:") and "emptied" in d
        }

    def dropped(self) -> set[str]:
        """Return the labels of the tables whose drop began and is not recorded as done."""
        return {
            d["table"] for k, d in self.documents.items() if k.startswith("ddl:") and "dropped" in d
        }

    def verified(self) -> list[VerificationProgress]:
        """Return how far a verification came that was cut."""
        documents = (d for key, d in self.documents.items() if key.startswith(VERIFY))
        records = map(VerifyRecord.from_json, documents)
        return [record.progress for record in records if record is not None]

    def verify_keys(self) -> list[str]:
        """Return the keys of all records of a verification."""
        return [key for key in self.documents if key == REPAIR or key.startswith(VERIFY)]

    def finished_tables(self) -> frozenset[TableId]:
        """Return the tables all of whose chunks are done."""
        return frozenset(
            plan.table
            for plan in self.plans()
            if all((record := self.chunk(chunk)) and record.done for chunk in plan.chunks)
        )


def _chunk(document: Document) -> Chunk:
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
