"""`engine.files`: the same operations on a folder, in memory, over SFTP and on S3."""

from __future__ import annotations

import asyncio
import functools
import gzip
import http.server
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from streams_engine import AsyncEngine, Engine
from streams_engine.adapters.files.stores.s3 import PART, S3Files
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    MalformedFile,
    NotFound,
    StreamsError,
    TargetConflict,
)
from tests.support.buckets import bucket_name
from tests.support.engine_shop import Shop
from tests.support.sftp import SftpServer

ROWS = "id,name\n1,a\n2,b\n3,c\n"
SECRET = "the-secret-of-the-store"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


def bucket(endpoint: str, name: str = "box", **scope: str) -> dict[str, Any]:
    keys = {"accessKey": "key", "secretKey": SECRET}
    s3 = {"region": "us-east-1", "endpoint": endpoint, "credentials": keys}
    return {"name": name, "type": "files", "spec": {"s3": s3 | ({"scope": scope} if scope else {})}}


class Box:
    """A connection with an empty base, and another place beside the base."""

    def __init__(self, engine: Engine, document: dict[str, Any]) -> None:
        self.engine, self.files = engine, engine.files
        self.id = engine.connections.create({"name": "box"} | document)["id"]

    def put(self, path: str, text: str | bytes = ROWS) -> None:
        """Upload a text."""
        source = Path(os.environ["PYTEST_LOCAL"]) / "upload"
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        self.files.upload(self.id, source, path)


@pytest.fixture(params=["folder", "memory", "sftp", "s3"])
def box(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Box]:
    monkeypatch.setenv("PYTEST_LOCAL", str(tmp_path))
    base = tmp_path / "base"
    base.mkdir()
    documents = {
        "folder": lambda: {"type": "files", "spec": {"files": {"basePath": str(base)}}},
        "memory": lambda: {
            "type": "files",
            "spec": {"store": {"url": f"memory://{bucket_name()}"}},
        },
        "s3": lambda: bucket(request.getfixturevalue("s3"), bucket=bucket_name(), prefix="in/it"),
    }
    server = None
    if request.param == "sftp":
        server = SftpServer(tmp_path)
        documents["sftp"] = lambda: server.document("base")
    try:
        with Engine() as engine:
            opened = Box(engine, documents[request.param]())
            if request.param == "s3":
                (found,) = [engine.connections.get(opened.id)["spec"]["s3"]["scope"]["bucket"]]
                engine.files.create_bucket(opened.id, found)
            if request.param == "memory":
                url = engine.connections.get(opened.id)["spec"]["store"]["url"]
                fsspec.filesystem("memory").makedirs(url.removeprefix("memory:/"), exist_ok=True)
            yield opened
    finally:
        if server is not None:
            server.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setenv("PYTEST_LOCAL", str(tmp_path))
    (tmp_path / "base").mkdir()
    with Engine() as engine:
        yield Box(engine, {"type": "files",
                           "spec": {"files": {"basePath": str(tmp_path / "base")}}})  # fmt: skip


# What each does, on every store


def test_files_go_there_and_come_back(box: Box, tmp_path: Path) -> None:
    files = box.files
    (tmp_path / "mine.csv").write_text(ROWS)
    made = files.upload(box.id, tmp_path / "mine.csv", "sales/orders.csv")
    assert (made["path"], made["name"], made["type"], made["size"], made["format"]) == (
        "sales/orders.csv", "orders.csv", "file", len(ROWS), "csv",
    )  # fmt: skip
    assert made["replaced"] is False
    assert datetime.fromisoformat(made["modified"]).tzinfo is not None
    (tmp_path / "mine.csv").write_text(ROWS + "4,d\n")
    assert files.upload(box.id, tmp_path / "mine.csv", "sales/orders.csv")["replaced"] is True
    seen = files.download(box.id, "sales/orders.csv", tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_text() == ROWS + "4,d\n"
    assert seen["size"] == len(ROWS) + 4
    meta = files.meta(box.id, "sales/orders.csv")
    assert meta == {key: value for key, value in made.items() if key != "replaced"} | {
        "size": len(ROWS) + 4, "compression": None, "modified": meta["modified"],
    }  # fmt: skip
    assert files.meta(box.id, "sales") | {"modified": None} == {
        "path": "sales", "name": "sales", "type": "folder", "size": len(ROWS) + 4,
        "modified": None, "format": None, "files": 1,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="confirm=True"):
        files.delete(box.id, "sales/orders.csv")
    assert files.delete(box.id, "sales/orders.csv", confirm=True) == 1
    with pytest.raises(NotFound):
        files.meta(box.id, "sales/orders.csv")


def test_a_folder_is_listed_in_pages(box: Box) -> None:
    for number in range(7):
        box.put(f"f{number}.csv", ROWS * (number + 1))
    box.put("deep/er/x.parquet", b"PAR1")
    files = box.files
    first = files.list(box.id, limit=3)
    assert [one["path"] for one in first["items"]] == ["deep", "f0.csv", "f1.csv"]
    assert (first["total"], first["limit"], first["offset"]) == (8, 3, 0)
    assert [one["path"] for one in files.list(box.id, limit=3, offset=6)["items"]] == [
        "f5.csv", "f6.csv",
    ]  # fmt: skip
    assert first["items"][0] == files.list(box.id, limit=1)["items"][0]
    assert first["items"][0]["type"] == "folder"
    largest = files.list(box.id, limit=2, sort=[{"column": "size", "direction": "desc"}],
                         filters=[{"column": "type", "value": "file"}])  # fmt: skip
    assert [one["name"] for one in largest["items"]] == ["f6.csv", "f5.csv"]
    assert largest["total"] == 7
    deep = files.list(box.id, recursive=True, limit=None)
    assert [one["path"] for one in deep["items"]][:2] == ["deep/er/x.parquet", "f0.csv"]
    assert deep["total"] == 8 == len([*files.all(box.id, recursive=True)])
    inner = files.list(box.id, "deep/", total=False)
    assert ([one["path"] for one in inner["items"]], inner["total"]) == (["deep/er"], None)
    assert [one["path"] for one in files.list(box.id, "f3.csv")["items"]] == ["f3.csv"]
    with pytest.raises(NotFound):
        files.list(box.id, "nothing")


def test_rows_are_read_as_arrow(box: Box) -> None:
    box.put("orders.csv")
    box.put("parts/a.csv", "id,name\n4,d\n")
    box.put("parts/b.csv", "id,name\n5,e\n")
    files = box.files
    assert files.read(box.id, "orders.csv").to_pylist() == [
        {"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"},
    ]  # fmt: skip
    page = files.read(
        box.id, "orders.csv", columns=["name"], limit=1, offset=1,
        filters=[{"column": "id", "operator": ">", "value": 1}],
        sort=[{"column": "id", "direction": "desc"}],
    )  # fmt: skip
    assert page.to_pylist() == [{"name": "b"}]
    assert sorted(files.read(box.id, "parts")["id"].to_pylist()) == [4, 5]
    with pytest.raises(ConfigError, match="contains 2 tables"):
        files.read(box.id, "")


def test_a_file_tells_what_it_is(box: Box, tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([1, 2], pa.int16()), "t": ["a", None]})
    pq.write_table(table, tmp_path / "t.parquet")
    files = box.files
    files.upload(box.id, tmp_path / "t.parquet", "t.parquet")
    columns = [{"name": "n", "type": "int16"}, {"name": "t", "type": "string"}]
    meta = files.meta(box.id, "t.parquet")
    assert (meta["rows"], meta["rowGroups"], meta["columns"]) == (2, 1, columns)
    told = {
        "odd.data": ((tmp_path / "t.parquet").read_bytes(),
                     {"format": "parquet", "compression": None, "columns": columns}),
        "semi.txt": ('a;"b c"\n1;2024-01-31\n', {
            "format": "csv", "compression": None, "delimiter": ";", "quote": '"',
            "columns": [{"name": "a", "type": "int64"}, {"name": "b c", "type": "date32[day]"}]}),
        "zipped": (gzip.compress(b'{"id": 1, "x": 2.5}\n{"id": 2}\n'), {
            "format": "jsonl", "compression": "gzip",
            "columns": [{"name": "id", "type": "int64"},
                        {"name": "x", "type": "decimal128(2, 1)"}]}),
        "list.json": ('[{"id": 1}]', {
            "format": "json", "compression": None, "columns": [{"name": "id", "type": "int64"}]}),
    }  # fmt: skip
    for path, (content, expected) in told.items():
        box.put(path, content)
        seen = files.sniff(box.id, path)
        assert seen["path"] == path
        assert {key: seen[key] for key in expected} == expected, path
    box.put("noise", b"\x00\x01\x02\x03 no rows")
    with pytest.raises(MalformedFile, match="not a text or Parquet file"):
        files.sniff(box.id, "noise")


def test_a_folder_goes_with_all_that_is_in_it(box: Box) -> None:
    for name in ("a/x.csv", "a/b/y.csv", "a/b/c/z.csv", "other.csv"):
        box.put(name)
    assert box.files.delete(box.id, "a", confirm=True) == 3
    assert [one["path"] for one in box.files.all(box.id)] == ["other.csv"]
    with pytest.raises(NotFound):
        box.files.delete(box.id, "a", confirm=True)
    with pytest.raises(ConfigError, match="names no file"):
        box.files.delete(box.id, "", confirm=True)


REFUSED_PATHS = [
    "..", "../x", "a/../../x", "a/..", "/etc/passwd", "//etc/passwd", "\\etc\\passwd", "a\\..\\x",
    "%2e%2e/x", "%2E%2E%2Fx", "a/%2e%2e/%2e%2e/x", "%252e%252e/x", "..%2fx", "%2fetc/passwd",
    "%5c..%5cx", "a%00.csv", "a\0.csv", "\uff0e\uff0e/x", "\u2025/x", "C:\\x", "C:/x", "c:x",
    "file:///etc/passwd", "s3://other/x", "http://127.0.0.1/x",
]  # fmt: skip


def test_nothing_leads_out_of_the_base(box: Box, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text(ROWS)
    box.put("inside.csv")
    files = box.files
    operations = {
        "list": lambda path: files.list(box.id, path),
        "all": lambda path: [*files.all(box.id, path)],
        "meta": lambda path: files.meta(box.id, path),
        "read": lambda path: files.read(box.id, path),
        "sniff": lambda path: files.sniff(box.id, path),
        "upload": lambda path: files.upload(box.id, tmp_path / "outside.csv", path),
        "download": lambda path: files.download(box.id, path, tmp_path / "got"),
        "delete": lambda path: files.delete(box.id, path, confirm=True),
        "manifest": lambda path: files.manifest(box.id, path),
    }
    for path in [*REFUSED_PATHS, "../outside.csv", None, 3]:
        for name, operation in operations.items():
            with pytest.raises(ConfigError, match="path: ") as refused:
                operation(path)  # type: ignore[arg-type]
            assert refused.value.details["path"] == "path", (name, path)
            assert SECRET not in str(refused.value)
    assert (tmp_path / "outside.csv").read_text() == ROWS
    assert not (tmp_path / "got").exists()
    assert [one["path"] for one in files.all(box.id)] == ["inside.csv"]


def test_names_that_only_look_odd_are_names(box: Box) -> None:
    for name in ("...csv", "a b.csv", "100%.csv", "a%20b.csv", "\u00fcber/na\u00efve.csv"):
        box.put(name)
        assert box.files.meta(box.id, name)["path"] == name
        assert box.files.read(box.id, name).num_rows == 3
    assert box.files.meta(box.id, "./a b.csv")["path"] == "a b.csv"


MISUSES: list[tuple[str, tuple[Any, ...], dict[str, Any], type[StreamsError], str]] = [
    ("list", ("x.csv",), {"limit": -1}, ConfigError, r"\$\.limit"),
    ("list", ("",), {"offset": "1"}, ConfigError, r"\$\.offset"),
    ("list", ("",), {"sort": [{"column": "owner"}]}, ConfigError, "unknown column 'owner'"),
    ("list", ("",), {"filters": [{"column": "size", "operator": ">", "value": "big"}]},
     ConfigError, r"\$\.filters\[0\]\.value"),
    ("meta", ("nothing.csv",), {}, NotFound, "nothing.csv"),
    ("read", ("nothing.csv",), {}, NotFound, "nothing.csv"),
    ("read", ("x.csv",), {"columns": ["y"]}, ConfigError, "no column 'y'"),
    ("read", ("x.csv",), {"filters": [{"column": "y", "value": 1}]}, ConfigError, "y"),
    ("read", ("x.csv",), {"limit": 1.5}, ConfigError, r"\$\.limit"),
    ("sniff", ("nothing.csv",), {}, NotFound, "nothing.csv"),
    ("sniff", ("sub",), {}, ConfigError, "not a file"),
    ("upload", ("/no/such/file", "a.csv"), {}, NotFound, "/no/such/file"),
    ("upload", ("{tmp}", "a.csv"), {}, ConfigError, "cannot be used"),
    ("upload", ("{tmp}/upload", ""), {}, ConfigError, "names no file"),
    ("upload", ("{tmp}/upload", "sub/"), {}, ConfigError, "names no file"),
    ("upload", ("{tmp}/upload", "sub"), {}, ConfigError, "is a folder"),
    ("upload", ("{tmp}/upload", "a.tmp"), {}, ConfigError, "being written"),
    ("download", ("nothing.csv", "{tmp}/got"), {}, NotFound, "nothing.csv"),
    ("download", ("sub", "{tmp}/got"), {}, ConfigError, "not a file"),
    ("download", ("x.csv", "{tmp}/no/such/got"), {}, NotFound, "its folder"),
    ("delete", ("x.csv",), {"confirm": "yes"}, ConfigError, "confirm=True"),
    ("delete", ("nothing.csv",), {"confirm": True}, NotFound, "nothing.csv"),
    ("manifest", ("sub",), {}, NotFound, "_manifest.json"),
    ("manifest", ("x.csv",), {}, MalformedFile, "not a JSON object"),
]  # fmt: skip


def test_what_is_wrong_is_refused(box: Box, tmp_path: Path) -> None:
    box.put("x.csv")
    box.put("sub/y.csv")
    before = [one["path"] for one in box.files.all(box.id, recursive=True)]
    for name, arguments, more, kind, told in MISUSES:
        given = [one.replace("{tmp}", str(tmp_path)) for one in arguments]
        with pytest.raises(kind, match=told) as refused:
            getattr(box.files, name)(box.id, *given, **more)
        assert SECRET not in str(refused.value)
    assert [one["path"] for one in box.files.all(box.id, recursive=True)] == before
    assert not (tmp_path / "got").exists()


def test_an_upload_that_fails_leaves_what_was_there(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.put("x.csv", "first")

    def broken(source: Any, target: Any, _: int) -> None:
        target.write(source.read(3))
        raise OSError("the disk went away")

    with monkeypatch.context() as patched:
        patched.setattr("streams_engine.engine.files.shutil.copyfileobj", broken)
        with pytest.raises((OSError, ConnectionFailed)):
            box.put("x.csv", "another one")
    assert [one["path"] for one in box.files.all(box.id)] == ["x.csv"]
    assert box.files.meta(box.id, "x.csv")["size"] == len("first")


def test_a_manifest_is_what_a_stream_wrote(shop: Shop) -> None:
    shop.table("a", 5)
    run = shop.engine.streams.start(shop.config("copy", "a"))
    shop.engine.streams.wait(run, timeout=60)
    manifest = shop.engine.files.manifest("out", "a")
    assert (manifest["table"], manifest["rows"], manifest["complete"]) == ("a", 5, True)
    assert manifest == shop.engine.files.manifest("out", "a/_manifest.json")
    assert {f"a/{part['path']}" for part in manifest["parts"]} < {
        one["path"] for one in shop.engine.files.all("out", "a")
    }
    assert shop.engine.files.read("out", "a").num_rows == 5


# Folders


def test_a_link_that_leads_out_is_seen_but_not_followed(folder: Box, tmp_path: Path) -> None:
    base, away = tmp_path / "base", tmp_path / "away"
    away.mkdir()
    (away / "secret.csv").write_text(ROWS)
    folder.put("real/x.csv")
    (base / "out").symlink_to(away)
    (base / "out.csv").symlink_to(away / "secret.csv")
    (base / "broken.csv").symlink_to(base / "nowhere")
    (base / "in.csv").symlink_to(base / "real" / "x.csv")
    (base / "loop").symlink_to(base)
    files = folder.files
    kinds = {one["path"]: (one["type"], one["size"]) for one in files.all(folder.id)}
    assert kinds == {
        "real": ("folder", None), "out": ("link", None), "out.csv": ("link", None),
        "broken.csv": ("link", None), "in.csv": ("file", len(ROWS)), "loop": ("folder", None),
    }  # fmt: skip
    assert files.meta(folder.id, "out.csv")["type"] == "link"
    assert files.read(folder.id, "in.csv").num_rows == 3
    (tmp_path / "mine").write_text("overwritten")
    for refused in (
        lambda: files.read(folder.id, "out.csv"),
        lambda: files.read(folder.id, "out/secret.csv"),
        lambda: files.read(folder.id, "out"),
        lambda: files.list(folder.id, "out"),
        lambda: files.meta(folder.id, "out/secret.csv"),
        lambda: files.sniff(folder.id, "out/secret.csv"),
        lambda: files.download(folder.id, "out/secret.csv", tmp_path / "got"),
        lambda: files.upload(folder.id, tmp_path / "mine", "out/new.csv"),
        lambda: files.upload(folder.id, tmp_path / "mine", "out.csv"),
        lambda: files.delete(folder.id, "out/secret.csv", confirm=True),
        lambda: files.manifest(folder.id, "out"),
    ):
        with pytest.raises(ConfigError, match=r"out of the connection's base|not a file"):
            refused()
    deep = {one["path"]: one["type"] for one in files.all(folder.id, recursive=True)}
    assert deep == {"real/x.csv": "file", "in.csv": "file", "out": "link", "out.csv": "link",
                    "broken.csv": "link", "loop": "link"}  # fmt: skip
    for name in ("out", "out.csv", "broken.csv", "loop"):
        assert files.delete(folder.id, name, confirm=True) == 1
    assert (away / "secret.csv").read_text() == ROWS
    assert [path.name for path in away.iterdir()] == ["secret.csv"]


def test_a_link_of_a_server_is_not_followed_out_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_LOCAL", str(tmp_path))
    base, away = tmp_path / "base", tmp_path / "away"
    base.mkdir()
    away.mkdir()
    (away / "secret.csv").write_text(ROWS)
    (base / "real.csv").write_text(ROWS)
    # The server shows its folder as its root: links lead there.
    (base / "out").symlink_to("../away")
    (base / "out.csv").symlink_to("../away/secret.csv")
    (base / "in.csv").symlink_to("real.csv")
    server = SftpServer(tmp_path)
    try:
        with Engine() as engine:
            box = Box(engine, server.document("base"))
            kinds = {one["path"]: one["type"] for one in box.files.all(box.id)}
            assert kinds == {"real.csv": "file", "in.csv": "file", "out": "link", "out.csv": "link"}
            assert box.files.read(box.id, "in.csv").num_rows == 3
            for refused in (
                lambda: box.files.read(box.id, "out/secret.csv"),
                lambda: box.files.list(box.id, "out"),
                lambda: box.files.meta(box.id, "out/secret.csv"),
                lambda: box.files.download(box.id, "out.csv", tmp_path / "got"),
                lambda: box.put("out/new.csv"),
                lambda: box.put("out.csv"),
                lambda: box.files.delete(box.id, "out/secret.csv", confirm=True),
            ):
                with pytest.raises(ConfigError, match=r"out of the connection's base|not a file"):
                    refused()
            for name in ("out.csv", "in.csv"):
                assert box.files.delete(box.id, name, confirm=True) == 1
            assert [path.name for path in away.iterdir()] == ["secret.csv"]
            assert (base / "real.csv").exists()
    finally:
        server.close()


def test_a_web_server_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.csv").write_text(ROWS)
    shown = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), shown)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Engine() as engine:
            url = f"http://127.0.0.1:{server.server_port}"
            files = Box(engine, {"type": "files", "spec": {"store": {"url": url}}}).files
            assert [one["path"] for one in files.all("box", recursive=True)] == ["sub/x.csv"]
            assert (files.meta("box", "sub")["type"], files.meta("box", "sub")["files"]) == (
                "folder", 1,
            )  # fmt: skip
            assert files.read("box", "sub/x.csv").num_rows == 3
            for refused in (
                lambda: files.upload("box", tmp_path / "sub" / "x.csv", "y.csv"),
                lambda: files.delete("box", "sub/x.csv", confirm=True),
                lambda: files.delete("box", "sub", confirm=True),
            ):
                with pytest.raises(ConfigError, match="can be read, not written"):
                    refused()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Shows a folder, and says nothing."""

    def log_message(self, *_: object) -> None: ...


def test_many_write_one_file_and_readers_see_whole_ones(folder: Box, tmp_path: Path) -> None:
    texts = {letter * 300_000 for letter in "abcd"}
    seen: set[str] = set()
    done = threading.Event()
    folder.put("x.txt", "a" * 300_000)

    def write(text: str) -> None:
        source = tmp_path / text[0]
        source.write_text(text)
        for _ in range(10):
            folder.files.upload(folder.id, source, "x.txt")

    def read() -> None:
        while not done.is_set():
            folder.files.download(folder.id, "x.txt", tmp_path / "got")
            seen.add((tmp_path / "got").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen <= texts
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["x.txt"]


def test_a_base_that_is_a_file_or_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(ROWS)
    with Engine() as engine:
        for name, base, kind in (("one", "one.csv", ConfigError), ("gone", "gone", NotFound)):
            engine.connections.create(
                {
                    "name": name,
                    "type": "files",
                    "spec": {"files": {"basePath": str(tmp_path / base)}},
                }
            )
            with pytest.raises(kind):
                engine.files.list(name)
        engine.connections.create(
            {"name": "db", "type": "mysql", "host": "h", "username": "u", "password": SECRET}
        )
        with pytest.raises(ConfigError, match="type mysql cannot be a store of files"):
            engine.files.list("db")
        with pytest.raises(NotFound):
            engine.files.list("nothing")


def test_the_async_twin(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(ROWS)

    async def work() -> tuple[int, list[str]]:
        async with AsyncEngine() as engine:
            await engine.connections.create(
                {"name": "f", "type": "files", "spec": {"files": {"basePath": str(tmp_path)}}}
            )
            rows = (await engine.files.read("f", "x.csv")).num_rows
            return rows, [one["path"] async for one in engine.files.all("f")]

    assert asyncio.run(work()) == (3, ["x.csv"])


# S3


def test_buckets_are_listed_and_made(s3: str) -> None:
    names = sorted(bucket_name() for _ in range(2))
    with Engine() as engine:
        engine.connections.create(bucket(s3, "all"))
        engine.connections.create(bucket(s3, "one", bucket=names[0]))
        for name in names:
            assert engine.files.create_bucket("all", name) == {"name": name}
            with pytest.raises(TargetConflict, match="exists already"):
                engine.files.create_bucket("all", name)
        seen = {one["name"]: one["created"] for one in engine.files.buckets("all")}
        assert set(names) <= set(seen)
        assert datetime.fromisoformat(seen[names[0]]).tzinfo is not None
        assert [one["name"] for one in engine.files.buckets("one")] == names[:1]
        for name, told in (("Big", "3 to 63"), ("a", "3 to 63"), ("../x", "3 to 63"),
                           (names[1], "alone")):  # fmt: skip
            with pytest.raises(ConfigError, match=told):
                engine.files.create_bucket("one", name)


def test_without_a_bucket_a_path_begins_with_one(s3: str, tmp_path: Path) -> None:
    name = bucket_name()
    (tmp_path / "x.csv").write_text(ROWS)
    with Engine() as engine:
        engine.connections.create(bucket(s3, "all"))
        files = engine.files
        files.create_bucket("all", name)
        files.upload("all", tmp_path / "x.csv", f"{name}/in/x.csv")
        assert name in [one["path"] for one in files.list("all", limit=None)["items"]]
        assert [one["path"] for one in files.all("all", name)] == [f"{name}/in"]
        assert [one["path"] for one in files.all("all", f"{name}/in")] == [f"{name}/in/x.csv"]
        assert files.read("all", f"{name}/in/x.csv").num_rows == 3
        assert files.meta("all", name)["files"] == 1
        assert files.delete("all", f"{name}/in", confirm=True) == 1
        with pytest.raises(NotFound):
            files.list("all", "no-such-bucket-here")


def test_only_s3_has_buckets(folder: Box) -> None:
    with pytest.raises(ConfigError, match="only S3 has buckets"):
        folder.files.buckets(folder.id)
    with pytest.raises(ConfigError, match="only S3 has buckets"):
        folder.files.create_bucket(folder.id, "box")


def test_a_large_file_goes_up_in_parts(s3: str, tmp_path: Path) -> None:
    name = bucket_name()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2 * PART + 5)
    with Engine() as engine:
        engine.connections.create(bucket(s3, "one", bucket=name))
        engine.files.create_bucket("one", name)
        calls: list[str] = []
        made = engine.files.upload("one", tmp_path / "large", "large")
        assert made["size"] == 2 * PART + 5
        store = Store("s3", name, "key", SECRET, endpoint_url=s3)
        with pytest.raises(ZeroDivisionError), store.writing("broken") as target:
            target.write(bytes(3 * PART))
            calls.append("written")
            raise ZeroDivisionError
        assert calls and [one["path"] for one in engine.files.all("one")] == ["large"]


@pytest.mark.parametrize("objects", [100_000, 20_000])
def test_a_hundred_thousand_objects_are_paged(
    monkeypatch: pytest.MonkeyPatch, objects: int
) -> None:
    """S3's listing is read page by page; only the page that was asked for is kept."""
    asked: list[int] = []

    def call_s3(self: Any, method: str, **given: Any) -> dict[str, Any]:
        assert method == "list_objects_v2"
        begin = int(given.get("ContinuationToken", 0))
        asked.append(begin)
        end = begin + given["MaxKeys"]
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        contents = [
            {"Key": f"logs/{n:06}.jsonl", "Size": n, "ETag": "e", "LastModified": moment}
            for n in range(begin, min(end, objects))
        ]
        return {"Contents": contents, "IsTruncated": end < objects,
                "NextContinuationToken": str(end)}  # fmt: skip

    monkeypatch.setattr(
        S3Files, "_call", lambda self, method, place, **given: call_s3(self, method, **given)
    )
    with Engine() as engine:
        engine.connections.create(bucket("http://127.0.0.1:1", "one", bucket="box"))
        engine.files.list("one", "logs", limit=1, total=False)
        if objects < 100_000:  # tracing takes its time
            tracemalloc.start()
        page = engine.files.list("one", "logs", limit=50, offset=objects - 1_000)
        if tracemalloc.is_tracing():
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 4 << 20, f"{peak:,} bytes"
        assert page["total"] == objects
        begin = objects - 1_000
        assert [one["size"] for one in page["items"]] == list(range(begin, begin + 50))
        asked.clear()
        first = engine.files.list("one", "logs", limit=50, total=False)
        assert (len(first["items"]), first["total"], asked) == (50, None, [0])


def test_many_files_of_a_folder_are_paged(folder: Box, tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / "base" / f"{number:05}.csv").touch()
    page = folder.files.list(folder.id, limit=3, offset=1_000)
    assert [one["name"] for one in page["items"]] == ["01000.csv", "01001.csv", "01002.csv"]
    assert page["total"] == 2_000
    assert json.dumps(page)
