"""Buckets as the product's documents name them, against an S3 server of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from streams_engine import Engine, State, Stream
from streams_engine.errors import StreamsError
from tests.support.buckets import bucket_name

BOX = bucket_name()
KEYS = {"accessKey": "the-key", "secretKey": "the-s3cret"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a private S3."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Any]:
    """A client, and a bucket with files of three tables, one of them in parts."""
    client = boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="the-key",
        aws_secret_access_key="the-s3cret",
    )  # fmt: skip
    client.create_bucket(Bucket=BOX)
    for key in ("in/a.csv", "in/b.csv", "in/c/part-1.csv", "in/c/part-2.csv"):
        client.put_object(Bucket=BOX, Key=key, Body=b"id\n1\n2\n")
    for name, document in LISTINGS.items():
        client.put_object(Bucket=BOX, Key=f"lists/{name}.json", Body=json.dumps(document).encode())
    yield client
    client.close()


PARTS = ["in/c/part-1.csv", "in/c/part-2.csv"]
LISTINGS: dict[str, Any] = {
    "files": {"version": "1.0", "files": [f"s3://{BOX}/{key}" for key in (*PARTS, "in/a.csv")]},
    "entries": {"entries": [{"url": f"s3://{BOX}/{key}", "mandatory": True} for key in PARTS]},
    "names": PARTS[:1],
    "elsewhere": {"files": ["s3://other/in/a.csv"]},
    "nothing": {"rows": 5},
    "out": ["../../secret.csv"],
}


def connection(server: str, **more: Any) -> dict[str, Any]:
    s3 = {"region": "us-east-1", "endpoint": server, "scope": {"bucket": BOX}}
    return {"name": "box", "type": "s3", "spec": {"s3": {**s3, "credentials": KEYS, **more}}}


def moved(server: str, tmp_path: Path, **chosen: Any) -> dict[str, int]:
    """The rows by table of a run with this part of the document."""
    document = {
        "mode": "convert",
        "source": {"connections": [{"connection": connection(server), **chosen}]},
        "target": {"connection": str(tmp_path / "out")},
    }
    return {table.table: table.rows for table in Stream.from_config(document).run().tables}


def test_single_objects(server: str, client: Any, tmp_path: Path) -> None:
    s3 = {"bucket": BOX, "prefixes": [], "objects": ["in/b.csv", "in/a.csv"]}
    assert moved(server, tmp_path, s3=s3) == {"a": 2, "b": 2}


def test_parts_are_one_table(server: str, client: Any, tmp_path: Path) -> None:
    assert moved(server, tmp_path, s3={"objects": [*PARTS, "in/a.csv"]}) == {"a": 2, "c": 4}


def test_an_object_that_is_not_there(server: str, client: Any, tmp_path: Path) -> None:
    with pytest.raises(StreamsError, match=r"in/no\.csv") as caught:
        moved(server, tmp_path, s3={"objects": ["in/no.csv"]})
    assert caught.value.code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("name", "tables"),
    [("files", {"a": 2, "c": 4}), ("entries", {"c": 4}), ("names", {"c": 2})],
)
def test_a_manifest(
    server: str, client: Any, tmp_path: Path, name: str, tables: dict[str, int]
) -> None:
    assert moved(server, tmp_path, s3={"manifestPath": f"lists/{name}.json"}) == tables


@pytest.mark.parametrize(
    ("name", "code"),
    [("elsewhere", "MALFORMED_FILE"), ("nothing", "MALFORMED_FILE"), ("missing", "NOT_FOUND"),
     ("out", "INVALID_CONFIG")],
)  # fmt: skip
def test_a_manifest_that_is_none(
    server: str, client: Any, tmp_path: Path, name: str, code: str
) -> None:
    with pytest.raises(StreamsError) as caught:
        moved(server, tmp_path, s3={"manifestPath": f"lists/{name}.json"})
    assert caught.value.code == code


def test_a_scope_path_of_a_bucket(server: str, client: Any, tmp_path: Path) -> None:
    assert moved(server, tmp_path, scopePath="in") == {"a": 2, "b": 2, "c": 4}


def test_a_reference_without_a_scheme(server: str, client: Any, tmp_path: Path) -> None:
    credentials = {"credentialsRef": "secret/data/aws/box"}
    held = {"connection": connection(server, credentials=credentials), "scopePath": "in"}
    document = {
        "mode": "convert",
        "source": {"connections": [held]},
        "target": {"connection": "null://"},
    }
    with pytest.raises(StreamsError, match=r"resolvers\['default'\]") as caught:
        Stream.from_config(document).run()
    path = "$.source.connections[0].connection.spec.s3.credentials.credentialsRef"
    assert caught.value.details["path"] == path
    asked: list[str] = []

    def lookup(reference: str) -> str:
        asked.append(reference)
        return json.dumps(KEYS)

    assert Stream.from_config(document, resolvers={"default": lookup}).run().rows == 8
    assert set(asked) == {"secret/data/aws/box"}


def test_a_stored_bucket_takes_files(server: str, client: Any, tmp_path: Path) -> None:
    """A whole document of the product, with its staging folder, through an Engine."""
    (tmp_path / "t.csv").write_text("id\n1\n2\n3\n")
    spec = {"s3": {
        "outputDirectory": str(tmp_path / "staging"), "fileFormat": "json",
        "format": {"compression": "uncompressed"},
        "upload": {"bucket": BOX, "prefix": "made", "storageClass": "STANDARD",
                   "keepLocalFiles": False, "serverSideEnc": ""},
    }}  # fmt: skip
    with Engine() as engine:
        engine.connections.create(connection(server))
        folder = {"files": {"basePath": str(tmp_path)}}
        engine.connections.create({"name": "in", "type": "files", "spec": folder})
        engine.configs.create({
            "name": "up", "mode": "convert",
            "source": {"connections": [{"connectionId": "in", "files": {"paths": ["t.csv"]}}]},
            "target": {"id": "box", "spec": spec},
        })  # fmt: skip
        [config] = engine.configs.list()["items"]
        stream = engine.streams.start(config["id"])
        assert engine.streams.wait(stream, timeout=60) is State.FINISHED
        [told] = engine.logs(category="s3")["items"]
        assert told["table"] == "t" and told["details"]["rows"] == 3
        assert told["message"].startswith("stored 3 rows, ") and f"s3://{BOX}" in told["message"]
    body = client.get_object(Bucket=BOX, Key="made/t/part-0-0.json")["Body"].read()
    assert [row["id"] for row in json.loads(body)] == [1, 2, 3]
    assert not (tmp_path / "staging").exists()
