"""The documents that users write, as typed dictionaries: connections and stream configs.

Made by ``python -m tests.support.input_types`` of the models that validate them.
"""

# ruff: noqa: E501, UP013 - one form for all, for some have keys that are no names of Python
# fmt: off

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Required, TypedDict

from streams_engine.config.options import (
    LimitsDict,
    StructureOptionsDict,
    TypeOverrideDict,
    VerificationDict,
)

__all__ = [
    "ConnectionDict",
    "CredentialsDict",
    "CsvFormatDict",
    "DatabaseSpecDict",
    "FileFormatDict",
    "FilesConnectionDict",
    "FilesPlaceDict",
    "FilesSourceDict",
    "FilesSpecDict",
    "FilterDict",
    "FlatStreamDict",
    "FlatTableDict",
    "FolderDict",
    "OptionsDict",
    "ParquetFormatDict",
    "QueryDict",
    "ReportingIntervalsDict",
    "S3Dict",
    "S3SourceDict",
    "S3SpecDict",
    "ScopeDict",
    "SelectionDict",
    "ServerConnectionDict",
    "SortDict",
    "SourceConnectionDict",
    "SourceDict",
    "SourceOptionsDict",
    "SshDict",
    "SslDict",
    "StorageDict",
    "StoreDict",
    "StreamDict",
    "TableDict",
    "TargetDict",
    "TargetSpecDict",
    "UploadDict",
]


SslDict = TypedDict("SslDict", {
    "mode": Literal["disabled", "prefer", "require", "verify-ca", "verify-full"],
    "ca": str | None,
    "client_cert": str | None,
    "client_key": str | None,
    "allowClearText": bool,
}, total=False)
"""TLS: the mode, and certificates as PEM text or as a path."""

SshDict = TypedDict("SshDict", {
    "host": Required[str],
    "port": int,
    "username": Required[str],
    "password": str | None,
    "privateKey": str | None,
    "passphrase": str | None,
    "knownHosts": str | None,
}, total=False)

ServerConnectionDict = TypedDict("ServerConnectionDict", {
    "$schema": str,
    "spec": dict[str, Any],
    "host": str,
    "port": int | None,
    "username": str,
    "password": str | Callable[[], str] | None,
    "database": str | None,
    "defaultDatabase": str | None,
    "schema": str | None,
    "ssl": SslDict | None,
    "ssh": SshDict | None,
    "name": str | None,
    "type": Required[str],
}, total=False)

FolderDict = TypedDict("FolderDict", {
    "basePath": Required[str],
    "scopePath": str | None,
}, total=False)

CredentialsDict = TypedDict("CredentialsDict", {
    "accessKey": str | None,
    "secretKey": str | None,
    "sessionToken": str | None,
    "credentialsRef": str | None,
}, total=False)

ScopeDict = TypedDict("ScopeDict", {
    "bucket": str | None,
    "prefix": str,
}, total=False)

S3Dict = TypedDict("S3Dict", {
    "region": str | None,
    "endpoint": str | None,
    "credentials": CredentialsDict | None,
    "scope": ScopeDict | None,
}, total=False)

StoreDict = TypedDict("StoreDict", {
    "url": Required[str],
    "storageOptions": dict[str, Any],
}, total=False)

FilesPlaceDict = TypedDict("FilesPlaceDict", {
    "files": FolderDict | None,
    "s3": S3Dict | None,
    "store": StoreDict | None,
}, total=False)

StorageDict = TypedDict("StorageDict", {
    "provider": Required[Literal["s3", "local"]],
    "uri": Required[str],
    "region": str | None,
    "endpoint": str | None,
    "credentials_ref": str | None,
}, total=False)

FilesConnectionDict = TypedDict("FilesConnectionDict", {
    "$schema": str,
    "type": Required[str],
    "name": str | None,
    "spec": FilesPlaceDict | None,
    "file_format": Literal["csv", "json", "jsonl", "parquet"] | None,
    "storage_config": StorageDict | None,
}, total=False)

ReportingIntervalsDict = TypedDict("ReportingIntervalsDict", {
    "source": int,
    "target": int,
}, total=False)
"""Seconds between two progress reports, for each end; 0: none but the last."""

FilterDict = TypedDict("FilterDict", {
    "column": Required[str],
    "operator": str,
    "value": Any,
}, total=False)
"""One condition; several are AND-ed."""

SortDict = TypedDict("SortDict", {
    "column": Required[str],
    "direction": Literal["asc", "desc", "ASC", "DESC"],
}, total=False)
"""One sort key."""

SelectionDict = TypedDict("SelectionDict", {
    "selectedColumns": list[str],
    "filters": list[FilterDict],
    "sorts": list[SortDict],
    "limit": int | None,
}, total=False)
"""Columns and rows to select from a table."""

TableDict = TypedDict("TableDict", {
    "name": Required[str],
    "selected": bool,
    "selection": SelectionDict,
    "query": str | None,
    "operations": list[Literal["insert", "update", "delete"]] | None,
}, total=False)
"""One table of a source."""

QueryDict = TypedDict("QueryDict", {
    "name": Required[str],
    "query": Required[str],
}, total=False)
"""A query whose result becomes the target table of that name."""

CsvFormatDict = TypedDict("CsvFormatDict", {
    "delimiter": str | None,
    "quote": str,
    "header": bool,
}, total=False)
"""The dialect of CSV files."""

FilesSourceDict = TypedDict("FilesSourceDict", {
    "basePath": str | None,
    "paths": list[str],
    "csv": CsvFormatDict,
    "columns": dict[str, dict[str, str]],
    "maxRecordBytes": int | str,
    "maxColumns": int,
}, total=False)
"""Files of a source. ``csv`` and ``columns`` are this library's own keys."""

S3SourceDict = TypedDict("S3SourceDict", {
    "bucket": str | None,
    "prefixes": list[str],
    "objects": list[str],
    "manifestPath": str | None,
    "csv": CsvFormatDict,
    "columns": dict[str, dict[str, str]],
    "maxRecordBytes": int | str,
    "maxColumns": int,
}, total=False)
"""Objects of a source."""

SourceConnectionDict = TypedDict("SourceConnectionDict", {
    "alias": str | None,
    "connectionId": str | None,
    "connection": Any,
    "database": str | None,
    "schema": str | None,
    "scopePath": str | None,
    "tables": list[TableDict],
    "queries": list[QueryDict],
    "files": FilesSourceDict | None,
    "s3": S3SourceDict | None,
}, total=False)
"""One source connection, by id or inline."""

SourceOptionsDict = TypedDict("SourceOptionsDict", {
    "dataBundleSize": int,
    "operations": list[Literal["insert", "update", "delete"]],
    "replicationSlot": str | None,
    "publicationName": str | None,
    "partialPublication": bool,
    "binlogPosition": str | None,
    "serverId": int,
    "initialLoad": bool,
}, total=False)
"""Options for reading the source."""

SourceDict = TypedDict("SourceDict", {
    "connections": Required[list[SourceConnectionDict]],
    "queries": list[QueryDict],
    "options": SourceOptionsDict,
}, total=False)
"""All sources of a stream."""

DatabaseSpecDict = TypedDict("DatabaseSpecDict", {
    "database": str | None,
    "schema": str | None,
    "structureOptions": StructureOptionsDict,
    "schemaPolicy": Literal["fail_if_exists", "validate_existing", "create_missing_only", "drop_and_recreate"],
    "writeMode": Literal["fail_if_not_empty", "append", "truncate_and_load", "upsert"] | None,
    "skipData": bool,
}, total=False)
"""Place in the target server, and options for writing to it."""

ParquetFormatDict = TypedDict("ParquetFormatDict", {
    "compressionCodec": Literal["none", "uncompressed", "snappy", "gzip", "zstd"] | None,
    "compressionLevel": int | None,
    "maxRowGroupSize": int | None,
    "targetRowGroupSizeMB": int | None,
    "timestampUnit": Literal["ms", "us", "ns"] | None,
}, total=False)
"""How Parquet files are written."""

FileFormatDict = TypedDict("FileFormatDict", {
    "compression": Literal["none", "uncompressed", "snappy", "gzip", "zstd"] | None,
    "csv": CsvFormatDict,
    "parquet": ParquetFormatDict,
}, total=False)
"""Format and compression of the files to write."""

FilesSpecDict = TypedDict("FilesSpecDict", {
    "fileFormat": Required[Literal["csv", "json", "jsonl", "parquet"]],
    "format": FileFormatDict,
}, total=False)
"""A folder as target."""

UploadDict = TypedDict("UploadDict", {
    "bucket": str | None,
    "prefix": str,
    "storageClass": str,
    "serverSideEnc": Literal["", "AES256", "aws:kms", "aws:kms:dsse"],
    "kmsKeyId": str | None,
    "keepLocalFiles": Literal[False],
}, total=False)
"""Options for storing objects in a bucket."""

S3SpecDict = TypedDict("S3SpecDict", {
    "outputDirectory": str,
    "fileFormat": Required[Literal["csv", "json", "jsonl", "parquet"]],
    "format": FileFormatDict,
    "upload": UploadDict,
}, total=False)
"""A bucket as target."""

TargetSpecDict = TypedDict("TargetSpecDict", {
    "db": DatabaseSpecDict,
    "files": FilesSpecDict | None,
    "s3": S3SpecDict | None,
}, total=False)
"""One of three kinds of target."""

TargetDict = TypedDict("TargetDict", {
    "id": str | None,
    "connection": Any,
    "spec": TargetSpecDict,
}, total=False)
"""The target, by id or inline."""

OptionsDict = TypedDict("OptionsDict", {
    "typeOverrides": list[TypeOverrideDict],
    "zeroDates": Literal["null", "error", "text"],
    "unsignedKeys": Literal["exact", "bigint"],
    "identifierCase": Literal["preserve", "lower"],
    "allowEmpty": bool,
    "allowLossy": bool,
    "onError": Literal["fail", "quarantine"],
    "onResume": Literal["reload", "mixed"],
    "schemaChanges": Literal["apply", "ignore", "fail"],
    "onRewrite": Literal["reload", "fail"],
    "parallelism": int,
    "chunkRows": int,
    "memoryBudget": int | str,
    "reconnectTimeout": float,
    "heartbeatTimeout": float,
    "lockTimeout": float,
    "maxRetainedBytes": int,
    "sqlCapture": Literal["off", "minimal", "verbose"],
    "verification": VerificationDict | None,
    "stateSchema": str | None,
    "executor": Any,
}, total=False)
"""This library's own settings, all optional."""

StreamDict = TypedDict("StreamDict", {
    "$schema": str,
    "name": str | None,
    "mode": Required[Literal["convert", "load", "cdc"]],
    "reportingInterval": int,
    "reportingIntervals": ReportingIntervalsDict | None,
    "source": Required[SourceDict],
    "target": Required[TargetDict],
    "limits": LimitsDict,
    "options": OptionsDict,
}, total=False)
"""The canonical, nested document."""

FlatTableDict = TypedDict(
    "FlatTableDict",
    {"name": Required[str], "query": str, "operations": list[str], "selection": SelectionDict},
    total=False,
)
"""One table, or a query whose result becomes one, of a flat document."""

FlatStreamDict = TypedDict(
    "FlatStreamDict",
    {
        "$schema": str,
        "name": str,
        "source": Required[str],
        "target": Required[str],
        "mode": Required[Literal["convert", "load", "cdc"]],
        "dataBundleSize": int,
        "reportingIntervals": ReportingIntervalsDict,
        "tables": list[FlatTableDict],
        "limits": LimitsDict,
        "createStructure": bool,
        "skipIndexCreation": bool,
        "options": OptionsDict,
    },
    total=False,
)
"""The flat document, the form of the first generation."""

ConnectionDict = ServerConnectionDict | FilesConnectionDict
"""A connection document."""
