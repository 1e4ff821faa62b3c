"""The contracts between the pipeline and the adapters: small, one module an ability.

A source need not be a database: abilities are separate protocols, and a source that has no
log simply lacks `ChangeSource`.
"""

from streams_engine.contracts.adapter import (
    Adapter,
    Patience,
    SinkRequest,
    SourceRequest,
    StatementListener,
)
from streams_engine.contracts.change_log import (
    CascadeSource,
    CatalogSource,
    ChangeReader,
    ChangeSource,
    Lag,
    LagSource,
    ReadinessSource,
    RowIdentitySource,
    SequenceSource,
    SlotSource,
    TextReader,
    WakingReader,
)
from streams_engine.contracts.change_writer import (
    ApplyResult,
    ChangeSink,
    ChangeWriter,
    FencedWriter,
    LogWriter,
    SmallSetWriter,
    TableWriter,
    TextWriter,
)
from streams_engine.contracts.distributed import (
    Fence,
    OfferCallback,
    PreparedWrite,
    SharedSink,
    SharedSource,
    SnapshotHandle,
)
from streams_engine.contracts.explorer import (
    Explorer,
    RelationKind,
)
from streams_engine.contracts.files import (
    BucketStore,
    DataFileStore,
    FileEntry,
    FileStore,
)
from streams_engine.contracts.navigation import (
    Navigator,
    ObjectKind,
)
from streams_engine.contracts.sink import (
    Checkpoint,
    CheckpointCallback,
    CheckpointStorage,
    LayoutSink,
    QuarantinedRow,
    Sink,
    StateChange,
    Statement,
    StructureSink,
    TrialSink,
    WritePlan,
    WriteResult,
    orphaned_rows,
    skipped_statement,
)
from streams_engine.contracts.snapshot import (
    RecordBatches,
    Snapshot,
)
from streams_engine.contracts.source import (
    ListingSource,
    Scope,
    Source,
    WaitCallback,
    WaitingSource,
)
from streams_engine.contracts.statements import (
    RowValues,
    StatementResult,
    StatementSession,
)

__all__ = [
    "Adapter",
    "ApplyResult",
    "BucketStore",
    "CascadeSource",
    "CatalogSource",
    "ChangeReader",
    "ChangeSink",
    "ChangeSource",
    "ChangeWriter",
    "Checkpoint",
    "CheckpointCallback",
    "CheckpointStorage",
    "DataFileStore",
    "Explorer",
    "Fence",
    "FencedWriter",
    "FileEntry",
    "FileStore",
    "Lag",
    "LagSource",
    "LayoutSink",
    "ListingSource",
    "LogWriter",
    "Navigator",
    "ObjectKind",
    "OfferCallback",
    "Patience",
    "PreparedWrite",
    "QuarantinedRow",
    "ReadinessSource",
    "RecordBatches",
    "RelationKind",
    "RowIdentitySource",
    "RowValues",
    "Scope",
    "SequenceSource",
    "SharedSink",
    "SharedSource",
    "Sink",
    "SinkRequest",
    "SlotSource",
    "SmallSetWriter",
    "Snapshot",
    "SnapshotHandle",
    "Source",
    "SourceRequest",
    "StateChange",
    "Statement",
    "StatementListener",
    "StatementResult",
    "StatementSession",
    "StructureSink",
    "TableWriter",
    "TextReader",
    "TextWriter",
    "TrialSink",
    "WaitCallback",
    "WaitingSource",
    "WakingReader",
    "WritePlan",
    "WriteResult",
    "orphaned_rows",
    "skipped_statement",
]
