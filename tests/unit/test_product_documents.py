"""The documents of the product as they are: carried, or refused by name with their JSON path.

Each case holds a document of one shape that the product writes or exports.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams_engine import ConfigError, Engine, Stream
from streams_engine.config import S3Connection, Secret, parse_config, parse_connection
from streams_engine.config.stream import StreamConfig

S3 = {"region": "us-east-1", "endpoint": "http://127.0.0.1:1"}
EXPORTED: dict[str, Any] = {
    "id": "conn_2t3EmXcvcg2J6I9mJ02UaiMVxfb", "name": "shop", "type": "MySQL", "host": "db1",
    "port": 3306, "username": "reader", "password": "s3cret", "database": "shop",
    "created": 1739572516, "cloud_provider": "", "status": "connected", "isReachable": True,
    "databasesInfo": [{"name": "shop", "schemas": []}, {"name": "crm"}],
    "ssl": {"mode": "require"},
}  # fmt: skip
"""A connection as the product exports it."""


def nested(
    *, source: Any = None, target: Any = None, connection: Any = "/in", **more: Any
) -> dict[str, Any]:
    return {
        "mode": "convert",
        "source": {"connections": [{"connection": connection, **(source or {})}]},
        "target": target or {"connection": "null://"},
        **more,
    }


def refused(document: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(document)
    assert caught.value.path in str(caught.value)
    return caught.value.path


def tables_of(config: StreamConfig) -> list[str]:
    return [table.name for table in config.document.source.connections[0].tables]


# Connections


@pytest.mark.parametrize("kind", ["s3", "S3", "files"])
def test_a_bucket_of_type_s3(kind: str) -> None:
    spec = {"s3": {**S3, "scope": {"bucket": "box", "prefix": "in"}}}
    parsed = parse_connection({"name": "b", "type": kind, "spec": spec})
    assert isinstance(parsed, S3Connection)
    assert (parsed.bucket, parsed.prefix, parsed.name) == ("box", "in", "b")
    with Engine() as engine:
        made = engine.connections.create({"name": "b", "type": kind, "spec": spec})
        assert engine.connections.get("b") == made


def test_type_s3_has_no_folder() -> None:
    with pytest.raises(ConfigError, match=r"\$\.spec: a connection of type s3"):
        parse_connection({"type": "s3", "spec": {"files": {"basePath": "/in"}}})


def test_credentials_by_reference() -> None:
    spec = {"s3": {**S3, "credentials": {"credentialsRef": "secret/data/aws/box"}}}
    parsed = parse_connection({"type": "s3", "spec": spec})
    assert isinstance(parsed, S3Connection)
    assert parsed.credentials_ref == "secret/data/aws/box"
    assert parsed.credentials_path == "$.spec.s3.credentials.credentialsRef"


@pytest.mark.parametrize(
    "credentials",
    [
        {"accessKey": "k"},
        {"sessionToken": "t"},
        {},
        {"credentialsRef": "vault:x", "accessKey": "k", "secretKey": "s"},
        {"credentialsRef": '{"accessKey": "k", "secretKey": "s3cret"}'},
    ],
)
def test_credentials_that_are_none(credentials: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"\$\.spec\.s3\.credentials") as caught:
        parse_connection({"type": "s3", "spec": {"s3": {**S3, "credentials": credentials}}})
    assert "s3cret" not in str(caught.value)


def test_an_exported_connection() -> None:
    parsed = parse_connection(EXPORTED)
    assert getattr(parsed, "password", None) == Secret("s3cret")
    config = parse_config(nested(connection=EXPORTED))
    told = " ".join(config.warnings)
    for key in ("cloud_provider", "status", "databasesInfo", "isReachable"):
        assert f"$.source.connections[0].connection.{key} is not used here" in told
    with Engine() as engine:
        made = engine.connections.create(EXPORTED)
        assert made["databasesInfo"] == EXPORTED["databasesInfo"]  # carried


@pytest.mark.parametrize(
    "document", [EXPORTED, {"type": "files", "spec": {"files": {"basePath": "/in"}}}]
)
def test_a_schema_named_in_a_connection(document: dict[str, Any]) -> None:
    named = {"$schema": "streams-engine/connection.json", **document}
    assert parse_connection(named) == parse_connection(document)


# Sources


def test_tables_that_are_not_selected() -> None:
    tables = [{"name": "a", "selected": True}, {"name": "b", "selected": False}, {"name": "c"}]
    config = parse_config(nested(source={"tables": tables}))
    assert tables_of(config) == ["a", "c"]
    plain = parse_config(nested(source={"tables": [{"name": "a"}, {"name": "c"}]}))
    assert config.fingerprint() == plain.fingerprint()


def test_no_selected_table_is_not_all_tables() -> None:
    tables = [{"name": "a", "selected": False}]
    assert refused(nested(source={"tables": tables})) == "$.source.connections[0].tables"
    flat = {"name": "n", "source": "a", "target": "b", "mode": "convert", "tables": tables}
    with pytest.raises(ConfigError, match="no table is selected"):
        parse_config(flat, {"a": "/in", "b": "null://"})


def test_notes_of_a_query() -> None:
    query = {"name": "q", "query": "SELECT 1 AS one", "validated": True,
             "columns": [{"name": "one", "type": "int", "nullable": False}]}  # fmt: skip
    config = parse_config(nested(source={"queries": [query]}, connection="mysql://h/shop"))
    assert [w.split(" ")[0] for w in config.warnings] == [
        "$.source.connections[0].queries[0].validated",
        "$.source.connections[0].queries[0].columns",
    ]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "~/x"])
def test_a_scope_path_that_leads_out(path: str) -> None:
    assert refused(nested(source={"scopePath": path})) == "$.source.connections[0].scopePath"
    spec = {"files": {"basePath": "/in", "scopePath": path}}
    with pytest.raises(ConfigError, match=r"\$\.spec\.files\.scopePath"):
        parse_connection({"type": "files", "spec": spec})


def test_a_scope_path_is_for_files() -> None:
    document = nested(source={"scopePath": "x"}, connection="mysql://h/shop")
    assert refused(document) == "$.source.connections[0].scopePath"


# Targets


def to_bucket(**s3: Any) -> dict[str, Any]:
    connection = {"type": "s3", "spec": {"s3": {**S3, "scope": {"bucket": "box"}}}}
    target = {"connection": connection, "spec": {"s3": {"fileFormat": "parquet", **s3}}}
    return nested(target=target)


def test_local_files_are_not_kept() -> None:
    upload = {"bucket": "box", "prefix": "", "storageClass": "STANDARD"}
    made = to_bucket(outputDirectory="/tmp/staging", upload={**upload, "keepLocalFiles": False})
    [warning] = parse_config(made).warnings
    assert warning.startswith("$.target.spec.s3.outputDirectory is a folder of this machine")
    kept = to_bucket(upload={**upload, "keepLocalFiles": True})
    assert refused(kept) == "$.target.spec.s3.upload.keepLocalFiles"


def to_folder(**files: Any) -> dict[str, Any]:
    return nested(target={"connection": "/out", "spec": {"files": files}})


@pytest.mark.parametrize("word", ["none", "uncompressed"])
@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_uncompressed_is_none(form: str, word: str) -> None:
    config = parse_config(to_folder(fileFormat=form, format={"compression": word}))
    files = config.document.target.spec.files
    assert files is not None and files.format.codec == "none"


def test_parquet_settings_are_read() -> None:
    settings = {"compressionCodec": "ZSTD", "compressionLevel": 3, "maxRowGroupSize": 1000,
                "targetRowGroupSizeMB": 1, "timestampUnit": "ms"}  # fmt: skip
    config = parse_config(to_folder(fileFormat="parquet", format={"parquet": settings}))
    files = config.document.target.spec.files
    assert files is not None and files.format.codec == "zstd"


@pytest.mark.parametrize(
    ("form", "given", "path"),
    [
        ("parquet", {"compressionCodec": "lzo"}, "parquet.compressionCodec"),
        ("parquet", {"compressionLevel": 23}, "parquet.compressionLevel"),
        ("parquet", {"compressionCodec": "gzip", "compressionLevel": 10},
         "parquet.compressionLevel"),
        ("parquet", {"compressionCodec": "snappy", "compressionLevel": 1},
         "parquet.compressionLevel"),
        ("parquet", {"maxRowGroupSize": 0}, "parquet.maxRowGroupSize"),
        ("parquet", {"targetRowGroupSizeMB": 0}, "parquet.targetRowGroupSizeMB"),
        ("parquet", {"timestampUnit": "s"}, "parquet.timestampUnit"),
        ("parquet", {"binaryFormat": "x"}, "parquet.binaryFormat"),
        ("csv", {"maxRowGroupSize": 5}, "parquet"),
    ],
)  # fmt: skip
def test_parquet_settings_that_do_not_exist(form: str, given: dict[str, Any], path: str) -> None:
    document = to_folder(fileFormat=form, format={"parquet": given})
    assert refused(document) == f"$.target.spec.files.format.{path}"


def test_two_codecs_contradict() -> None:
    both = {"compression": "gzip", "parquet": {"compressionCodec": "zstd"}}
    path = refused(to_folder(fileFormat="parquet", format=both))
    assert path == "$.target.spec.files.format.parquet.compressionCodec"


# Reports


def test_no_reports() -> None:
    config = parse_config(nested(reportingInterval=0))
    assert config.document.intervals == (0, 0)
    flat = {"name": "n", "source": "a", "target": "b", "mode": "convert",
            "reportingIntervals": {"source": 0, "target": 0}}  # fmt: skip
    assert parse_config(flat, {"a": "/in", "b": "null://"}).document.intervals == (0, 0)


def test_two_intervals_are_carried() -> None:
    flat = {"name": "n", "source": "a", "target": "b", "mode": "convert",
            "reportingIntervals": {"source": 3, "target": 5}}  # fmt: skip
    stream = Stream.from_config(flat, {"a": "/in", "b": "null://"})
    nodes = stream.stats().to_dict()["nodes"]
    assert [node["stat"]["reportingInterval"] for node in nodes] == [3, 5]
    again = nested(reportingIntervals={"source": 3, "target": 5})
    assert parse_config(again).document.intervals == (3, 5)
    with pytest.raises(ConfigError, match="not both"):
        parse_config({**again, "reportingInterval": 3})


def test_a_schema_named_in_a_stream_config() -> None:
    document = nested(source={"tables": [{"name": "a"}]})
    named = {"$schema": "streams-engine/stream.json", **document}
    assert parse_config(named) == parse_config(document)
    flat = {"$schema": "x", "name": "n", "source": "a", "target": "b", "mode": "convert"}
    assert not parse_config(flat, {"a": "/in", "b": "null://"}).warnings


def test_a_stored_config_keeps_what_it_was_given() -> None:
    tables = [{"name": "a", "selected": True}, {"name": "b", "selected": False}]
    with Engine() as engine:
        for name in ("in", "out"):
            engine.connections.create(
                {"name": name, "type": "files", "spec": {"files": {"basePath": f"/{name}"}}}
            )
        made = engine.configs.create({
            "name": "n", "mode": "convert",
            "source": {"connections": [{"connectionId": "in", "tables": tables}]},
            "target": {"id": "out", "spec": {"files": {"fileFormat": "json"}}},
        })  # fmt: skip
        assert json.loads(json.dumps(made))["source"]["connections"][0]["tables"] == tables
