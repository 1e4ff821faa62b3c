"""Objects in a bucket, joined with files of a folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from streams_engine import Engine
from streams_engine.errors import QueryRefused, StreamsError
from tests.support.buckets import bucket_name

BOX = bucket_name()
"""Of this file alone."""

KEY, SECRET = "the-key", "the-s3cret"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A bucket with two tables of which one can be reached, and a folder."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                          aws_access_key_id=KEY, aws_secret_access_key=SECRET)  # fmt: skip
    client.create_bucket(Bucket=BOX)
    for key, rows in (("out/orders.parquet", [1, 2, 2]), ("secret/orders.parquet", [9])):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"account": pa.array(rows, pa.uint64())}), buffer)
        client.put_object(Bucket=BOX, Key=key, Body=buffer.getvalue())
    client.close()
    (tmp_path / "accounts.csv").write_text("id,name\n1,Ann\n2,Bob\n")
    with Engine() as engine:
        engine.connections.create({
            "name": "s3", "type": "files",
            "spec": {"s3": {"region": "us-east-1", "endpoint": url,
                            "credentials": {"accessKey": KEY, "secretKey": SECRET},
                            "scope": {"bucket": BOX, "prefix": "out"}}},
        })  # fmt: skip
        engine.connections.create(
            {"name": "lake", "type": "files", "spec": {"files": {"basePath": str(tmp_path)}}}
        )
        yield engine
    moto.stop()


def test_an_object_is_a_source(engine: Engine) -> None:
    with engine.query(
        "SELECT a.name, count(*) AS n FROM read_csv('lake://accounts.csv') a"
        f" JOIN read_parquet('s3://{BOX}/out/orders.parquet') o ON o.account = a.id"
        " GROUP BY a.name ORDER BY a.name"
    ) as result:
        assert result.to_dict()["rows"] == [["Ann", 1], ["Bob", 2]]
    assert [one["rows"] for one in result.asked] == [2, 3]


def test_no_other_object_is(engine: Engine) -> None:
    for path in (
        f"{BOX}/secret/orders.parquet",
        f"{BOX}/out/../secret/orders.parquet",
        "other/x.parquet",
    ):
        with pytest.raises(StreamsError) as caught:
            engine.query(f"SELECT * FROM read_parquet('s3://{path}')")
        assert SECRET not in str(caught.value.to_dict())
    with pytest.raises(QueryRefused):
        engine.query(f"SELECT * FROM read_parquet('s3://{BOX}/secret/orders.parquet')")
