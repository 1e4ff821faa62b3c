"""Streams into a bucket and back, against an S3 server of the tests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.buckets import bucket_name
from tests.support.databases import End
from tests.support.stream_control import SECONDS, SMALL_CHUNKS, big, equal, held

BOX = bucket_name()
"""Of this file alone."""

KEY, SECRET = "the-key", "the-s3cret"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a private S3, which has paths and no host names for its buckets."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    """A client of its own, and the empty bucket."""
    client = boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )  # fmt: skip
    client.create_bucket(Bucket=BOX)
    yield client
    for key in keys(client):
        client.delete_object(Bucket=BOX, Key=key)
    client.delete_bucket(Bucket=BOX)
    client.close()


@pytest.fixture
def source(mysql9: Server, database: Any) -> End:
    """A MySQL database with one table of some thousand rows."""
    end = End(mysql9, database(mysql9))
    big(end, rows=6000)
    return end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty PostgreSQL."""
    return End(pg18, database(pg18))


def keys(client: Any, prefix: str = "") -> list[str]:
    found = client.list_objects_v2(Bucket=BOX, Prefix=prefix).get("Contents", ())
    return sorted(item["Key"] for item in found)


def connection(server: str, **more: Any) -> dict[str, Any]:
    credentials = {"accessKey": KEY, "secretKey": SECRET}
    s3 = {"region": "us-east-1", "endpoint": server, "credentials": credentials}
    return {"type": "files", "spec": {"s3": s3 | more}}


def upload(
    source: Any, server: str, form: str = "parquet", *, bucket: str = BOX, prefix: str = "",
    directory: str = "", compression: str | None = None, **more: Any,
) -> Stream:  # fmt: skip
    """A stream into the bucket."""
    s3: dict[str, Any] = {
        "fileFormat": form,
        "outputDirectory": directory,
        "upload": {"bucket": bucket, "prefix": prefix},
    }
    if compression:
        s3["format"] = {"compression": compression}
    return Stream.from_config({
        "mode": "convert",
        "source": {"connections": [{"connection": source.url}],
                   "options": {"dataBundleSize": 100}},
        "target": {"connection": connection(server), "spec": {"s3": s3}},
        **more,
    })  # fmt: skip


def download(server: str, target: End, *, bucket: str = BOX, prefix: str = "") -> Stream:
    """A stream out of the bucket."""
    scope = {"scope": {"bucket": bucket, "prefix": prefix}}
    return Stream.from_config({
        "mode": "convert",
        "source": {"connections": [{"connection": connection(server, **scope)}]},
        "target": {"connection": target.url},
    })  # fmt: skip


def manifest(client: Any, key: str) -> Any:
    return json.loads(client.get_object(Bucket=BOX, Key=key)["Body"].read())


@pytest.mark.parametrize(
    "form, compression", [("parquet", None), ("csv", "gzip"), ("jsonl", "zstd")]
)
def test_equal_rows_after_the_way_through_a_bucket(
    source: End, target: End, client: Any, server: str, form: str, compression: str | None
) -> None:
    upload(source, server, form, prefix="exports", directory="daily", compression=compression).run()
    found = keys(client)
    ending = {None: "", "gzip": ".gz", "zstd": ".zst"}[compression]
    assert found == ["exports/daily/t/_manifest.json", f"exports/daily/t/part-0-0.{form}{ending}"]
    if form == "parquet":
        body = client.get_object(Bucket=BOX, Key=found[1])["Body"].read()
        table = pq.read_table(io.BytesIO(body))
        wanted = [row[0] for row in source.rows("SELECT id FROM t ORDER BY id")]
        assert sorted(table.column("id").to_pylist()) == wanted
    download(server, target, prefix="exports/daily").run()
    equal(source, target)


def test_only_what_lies_under_the_prefix_is_read_and_written(
    source: End, target: End, client: Any, server: str
) -> None:
    for key in ("exports2/u.csv", "exports/notes.txt", "t/part-0-0.parquet"):
        client.put_object(Bucket=BOX, Key=key, Body=b"a\n1\n")
    for _ in range(2):  # a second run replaces its own
        upload(source, server, prefix="exports").run()
    assert keys(client) == [
        "exports/notes.txt", "exports/t/_manifest.json", "exports/t/part-0-0.parquet",
        "exports2/u.csv", "t/part-0-0.parquet",
    ]  # fmt: skip
    assert client.get_object(Bucket=BOX, Key="t/part-0-0.parquet")["Body"].read() == b"a\n1\n"
    download(server, target, prefix="exports").run()
    equal(source, target)
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


def test_a_big_object_goes_up_in_parts(
    target: End, pg15: Server, database: Any, client: Any, server: str
) -> None:
    source = End(pg15, database(pg15))
    source.run(
        "CREATE TABLE blobs (id int PRIMARY KEY, b bytea)",
        "INSERT INTO blobs SELECT i, decode((SELECT string_agg(md5(i::text || j), '')"
        " FROM generate_series(1, 32768) j), 'hex') FROM generate_series(1, 40) i",
    )
    upload(source, server, prefix="big", compression="none").run()
    head = client.head_object(Bucket=BOX, Key="big/blobs/part-0-0.parquet")
    assert head["ContentLength"] > 20_000_000
    assert "-" in head["ETag"]  # how S3 marks what came in parts
    assert not client.list_multipart_uploads(Bucket=BOX).get("Uploads")
    download(server, target, prefix="big").run()
    query = "SELECT id, md5(b) FROM blobs ORDER BY id"
    assert target.rows(query) == source.rows(query)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_stopped_upload_goes_on(
    source: End, target: End, client: Any, server: str, form: str
) -> None:
    made = upload(source, server, form, options=SMALL_CHUNKS, prefix="x")
    with held(3000) as gate:
        made.start()
        gate.wait()
        assert not manifest(client, "x/t/_manifest.json")["complete"]
        made.stop()
        gate.open()
        assert made.wait(timeout=SECONDS) == "STOPPED"
    told = manifest(client, "x/t/_manifest.json")
    assert 0 < told["rows"] < 6000
    assert (
        upload(source, server, form, options=SMALL_CHUNKS, prefix="x").run().rows
        == 6000 - told["rows"]
    )
    assert manifest(client, "x/t/_manifest.json")["complete"]
    assert not keys(client, "x/_streams_engine/")
    download(server, target, prefix="x").run()
    equal(source, target)


def test_a_whole_bucket_is_a_source(source: End, target: End, client: Any, server: str) -> None:
    upload(source, server).run()
    assert keys(client) == ["t/_manifest.json", "t/part-0-0.parquet"]
    assert download(server, target).run().rows == 6000


def test_a_damaged_object_is_named(target: End, client: Any, server: str) -> None:
    client.put_object(Bucket=BOX, Key="in/t.csv", Body=b"a,b\n1,2\ns3cret\n")
    with pytest.raises(StreamsError, match=rf"s3://{BOX}/in/t\.csv.*line 3") as caught:
        download(server, target, prefix="in").run()
    assert caught.value.code == "MALFORMED_FILE" and "s3cret" not in str(caught.value)


def untold(error: StreamsError, log: str) -> None:
    assert SECRET not in f"{error} {error!r} {error.to_dict()} {log}"


def test_a_missing_bucket_is_named(
    source: End, target: End, client: Any, server: str, caplog: Any
) -> None:
    for made in (upload(source, server, bucket="nowhere"),
                 download(server, target, bucket="nowhere")):  # fmt: skip
        with pytest.raises(StreamsError, match="nowhere") as caught:
            made.run()
        assert caught.value.code == "NOT_FOUND"
        untold(caught.value, caplog.text)


def test_an_empty_prefix_is_named(target: End, client: Any, server: str) -> None:
    document = {
        "mode": "convert",
        "source": {"connections": [{"connection": connection(server, scope={"bucket": BOX}),
                                    "s3": {"prefixes": ["nothing/"]}}]},
        "target": {"connection": target.url},
    }  # fmt: skip
    with pytest.raises(StreamsError, match="nothing") as caught:
        Stream.from_config(document).run()
    assert caught.value.code == "NOT_FOUND"


def test_no_bucket_is_a_fault_of_the_document(source: End, server: str) -> None:
    with pytest.raises(StreamsError) as caught:
        upload(source, server, bucket="").run()
    assert caught.value.code == "INVALID_CONFIG"
    assert caught.value.details["path"] == "$.target.spec.s3.upload.bucket"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_key_of_kms_is_used(source: End, server: str, client: Any) -> None:
    arn = "arn:aws:kms:us-east-1:123456789012:key/1234"
    how = {"bucket": BOX, "serverSideEnc": "aws:kms", "kmsKeyId": arn}
    made = {
        "mode": "convert",
        "source": {"connections": [{"connection": source.url}]},
        "target": {
            "connection": connection(server),
            "spec": {"s3": {"fileFormat": "parquet", "upload": how}},
        },
    }
    stream = Stream.from_config(made)
    assert not stream._config.warnings
    stream.run()
    for key in keys(client):
        head = client.head_object(Bucket=BOX, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", arn)


@pytest.mark.parametrize(
    ("reference", "names"),
    [("secret/aws", "write 'vault:secret/aws'"), ("vault:aws", "resolvers={'vault': lookup}")],
)
def test_a_reference_to_credentials_without_its_resolver(
    target: End, server: str, client: Any, reference: str, names: str
) -> None:
    """The error names the resolver to register; with it the reference leads to the keys."""
    client.put_object(Bucket=BOX, Key="t.csv", Body=b"id\n1\n")
    place = {"provider": "s3", "uri": f"s3://{BOX}", "region": "us-east-1", "endpoint": server}
    held = {"type": "files", "storage_config": {**place, "credentials_ref": reference}}
    document = {
        "mode": "convert",
        "source": {"connections": [{"connection": held}]},
        "target": {"connection": target.url},
    }
    with pytest.raises(StreamsError) as caught:
        Stream.from_config(document).run()
    assert caught.value.details["path"] == "$.storage_config.credentials_ref"
    assert names in str(caught.value.remedy)
    place["credentials_ref"] = "vault:" + reference.removeprefix("vault:")
    held["storage_config"] = place
    keys_of = json.dumps({"accessKey": KEY, "secretKey": SECRET})
    assert Stream.from_config(document, resolvers={"vault": lambda _: keys_of}).run().rows == 1


def test_refused_credentials_are_not_told(
    source: End, target: End, client: Any, server: str, caplog: Any
) -> None:
    @set_initial_no_auth_action_count(0)
    def refused() -> None:
        for made in (upload(source, server), download(server, target)):
            with pytest.raises(StreamsError) as caught:
                made.run()
            assert caught.value.code in {"AUTHENTICATION_FAILED", "PERMISSION_DENIED"}
            untold(caught.value, caplog.text)

    refused()


def test_nobody_listens(
    source: End, client: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    made = upload(source, "http://127.0.0.1:1")
    with pytest.raises(StreamsError, match=f"s3://{BOX}") as caught:
        made.run()
    assert caught.value.code == "CONNECTION_FAILED"
    untold(caught.value, caplog.text)
    untold(caught.value, repr(made))
