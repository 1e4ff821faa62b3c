"""Source and sink on S3, against moto's HTTP server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pyarrow as pa
import pytest
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer

from streams_engine.adapters.files.sink import FilesSink
from streams_engine.adapters.files.source import FilesSource
from streams_engine.adapters.files.stores import s3
from streams_engine.adapters.files.stores.store import Store
from streams_engine.contracts import Checkpoint, Scope, WritePlan
from streams_engine.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    InternalError,
    NotFound,
    SnapshotLost,
)
from streams_engine.model import Column, Dialect, Extract, NativeType, TableId
from tests.support.buckets import bucket_name

BOX = bucket_name()
"""Of this file alone."""

T = TableId("", "t")
COLUMNS = (Column("n", NativeType(Dialect.FILES, "binary", "binary"), pa.binary()),)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=server,
        region_name="us-east-1",
        aws_access_key_id="the-key",
        aws_secret_access_key="the-secret",
    )
    client.create_bucket(Bucket=BOX)
    yield client
    for item in client.list_objects_v2(Bucket=BOX).get("Contents", ()):
        client.delete_object(Bucket=BOX, Key=item["Key"])
    client.delete_bucket(Bucket=BOX)
    client.close()


@pytest.fixture
def store(server: str, client: Any) -> Store:
    return Store(
        protocol="s3",
        root=f"{BOX}/exports/daily",
        key="the-key",
        secret="the-secret",
        endpoint_url=server,
        region="us-east-1",
    )


def batches(count: int, size: int = 10) -> Iterator[pa.RecordBatch]:
    for _ in range(count):
        yield pa.RecordBatch.from_pydict({"n": pa.array([os.urandom(size)])})


def mark() -> Checkpoint:
    return Checkpoint("chunk:t:0", {"done": True, "rows": 0, "last": None})


def rows_of(store: Store) -> list[Any]:
    with FilesSource(store).snapshot(Scope(), 1) as view:
        (found,) = view.catalog.tables
        return [
            row
            for chunk in view.chunks(found, 100)
            for batch in view.read(Extract(found.id, found.columns), chunk)
            for row in batch.column(0).to_pylist()
        ]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_there_and_back(store: Store, client: Any, file_format: str) -> None:
    sink = FilesSink(store, file_format=file_format)
    assert sink.check() == ()
    sent = list(batches(5))
    written = sink.write_rows("s", WritePlan(T, COLUMNS), iter(sent), mark)
    sink.save_state("s", {"run": {"x": 1}})
    assert set(sink.load_state("s")) == {"run", "chunk:t:0"}
    sink.finish("s", [T])
    sink.forget("s")
    keys = {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket=BOX)["Contents"]}
    part = f"exports/daily/t/part-0-0.{file_format}"
    assert keys[part] == written.bytes
    assert set(keys) == {part, "exports/daily/t/_manifest.json"}
    assert rows_of(store) == [batch.column(0)[0].as_py() for batch in sent]


def test_a_large_part_goes_up_in_parts_with_its_settings(store: Store, client: Any) -> None:
    fitted = replace(
        store,
        storage_class="STANDARD_IA",
        server_side_encryption="aws:kms",
        kms_key_id="arn:aws:kms:us-east-1:123456789012:key/1234",
    )
    sink = FilesSink(fitted, file_format="parquet", compression="none")
    written = sink.write_rows("s", WritePlan(T, COLUMNS), batches(40, 1 << 20), mark)
    assert written.bytes > 40 << 20
    head = client.head_object(Bucket=BOX, Key="exports/daily/t/part-0-0.parquet")
    assert head["ContentLength"] == written.bytes
    assert head["ETag"].strip('"').endswith("-3")
    for key in ("exports/daily/t/part-0-0.parquet", "exports/daily/t/_manifest.json"):
        head = client.head_object(Bucket=BOX, Key=key)
        assert head["StorageClass"] == "STANDARD_IA"
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"].endswith("key/1234")
    assert len(rows_of(store)) == 40


def test_an_error_aborts_the_upload(store: Store, client: Any) -> None:
    def breaking() -> Iterator[pa.RecordBatch]:
        yield from batches(50, 1 << 20)
        raise InternalError("the source died")

    sink = FilesSink(store, file_format="csv")
    with pytest.raises(InternalError):
        sink.write_rows("s", WritePlan(T, COLUMNS), breaking(), mark)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BOX).get("Contents", ())]
    assert not [key for key in keys if "part-" in key]
    assert not client.list_multipart_uploads(Bucket=BOX).get("Uploads")


def test_a_changed_object_is_noticed(store: Store, client: Any) -> None:
    client.put_object(Bucket=BOX, Key="exports/daily/a.csv", Body=b"n\n1\n")
    source = FilesSource(store, paths=("a.csv",))
    with source.snapshot(Scope(), 1) as view:
        (table,) = view.catalog.tables
        assert table.id.name == "a"
        before = view.position
        client.put_object(Bucket=BOX, Key="exports/daily/a.csv", Body=b"n\n2\n")
        with pytest.raises(SnapshotLost, match=rf"s3://{BOX}/exports/daily/a\.csv changed"):
            list(view.read(Extract(table.id, table.columns), view.chunks(table, 1)[0]))
    with source.snapshot(Scope(), 1) as view:
        assert view.position != before


def test_many_objects_are_listed_page_by_page(
    store: Store, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PAGE", 4)
    for number in range(11):
        client.put_object(Bucket=BOX, Key=f"exports/daily/t/{number:04}.csv", Body=b"n\n1\n")
    client.put_object(Bucket=BOX, Key="exports/daily2/u.csv", Body=b"n\n1\n")
    assert len(store.list()) == 11
    assert len(store.list("t")) == 11
    assert store.list("t/0001.csv")[0].size == 4


def test_what_is_missing_or_refused_is_said_without_the_secret(store: Store, server: str) -> None:
    with pytest.raises(NotFound, match="bucket nowhere"):
        FilesSource(replace(store, root="nowhere/x")).check()
    with pytest.raises(NotFound, match="bucket nowhere"):
        FilesSink(replace(store, root="nowhere"), file_format="csv").check()
    with pytest.raises(NotFound, match=rf"s3://{BOX}/exports/daily/no\.csv"):
        FilesSource(store, paths=("no.csv",)).check()
    assert "the-secret" not in repr(store) and "the-key" not in repr(store)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrong_credentials_and_no_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    @set_initial_no_auth_action_count(0)
    def refused() -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            FilesSink(store, file_format="csv").check()
        assert "the-secret" not in str(caught.value)

    refused()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConnectionFailed, match=f"s3://{BOX}"):
        FilesSource(replace(store, endpoint_url=address)).check()
