"""A bucket as either end, read and written by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from distributed import Client
from moto.server import ThreadedMotoServer

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.buckets import bucket_name
from tests.support.databases import End
from tests.support.stream_control import CHUNK_ROWS, big, equal

BOX = bucket_name()
"""Of this file alone."""

KEYS = {"accessKey": "the-key", "secretKey": "the-s3cret"}
ROWS = 10_000


@pytest.fixture
def bucket() -> Iterator[dict[str, Any]]:
    """The document of an empty bucket of a private S3."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=KEYS["accessKey"], aws_secret_access_key=KEYS["secretKey"],
    )  # fmt: skip
    client.create_bucket(Bucket=BOX)
    client.close()
    s3 = {"region": "us-east-1", "endpoint": endpoint, "credentials": KEYS}
    yield {"type": "files", "spec": {"s3": {**s3, "scope": {"bucket": BOX}}}}
    moto.stop()


def test_a_table_goes_through_a_bucket(
    pg18: Server,
    mysql9: Server,
    database: Any,
    bucket: dict[str, Any],
    client: Client,
    workers_alone: None,
) -> None:
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    big(source, rows=ROWS)
    up = {
        "mode": "convert",
        "source": {"connections": [{"connection": source.url}]},
        "target": {
            "connection": bucket,
            "spec": {"s3": {"fileFormat": "parquet", "upload": {"bucket": BOX}}},
        },
        "options": {"executor": client, "chunkRows": CHUNK_ROWS},
    }
    down = {
        "mode": "convert",
        "source": {"connections": [{"connection": bucket}]},
        "target": {"connection": target.url},
        "options": {"executor": client, "chunkRows": CHUNK_ROWS},
    }
    for document in (up, down):
        stats = Stream.from_config(document).run()
        assert (stats.state, stats.rows) == (State.FINISHED, ROWS)
    equal(source, target, "t")
