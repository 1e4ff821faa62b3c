"""Stores of fsspec: memory and SFTP as source and target, HTTP as source, others by their rule."""

from __future__ import annotations

import functools
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import ConfigError, Engine, Stream
from streams_engine.adapters.files.stores.remote import WRITERS
from streams_engine.adapters.files.stores.store import Store
from streams_engine.config import parse_connection
from streams_engine.config.connection import FilesConnection
from streams_engine.config.secret import Secret
from streams_engine.errors import AuthenticationFailed, ConnectionFailed, NotFound
from tests.support.sftp import PASSWORD, SftpServer

ROWS = "id,name\n1,a\n2,b\n3,c\n"


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    server = SftpServer(tmp_path_factory.mktemp("sftp") / "root")
    server.root.mkdir()
    yield server
    server.close()


@pytest.fixture(params=["memory", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The document of an empty folder of each kind."""
    if request.param == "memory":
        url = f"memory://{tmp_path.name}"
        return {"type": "files", "spec": {"store": {"url": url}}}
    server: SftpServer = request.getfixturevalue("sftp")
    (server.root / tmp_path.name).mkdir()
    return server.document(tmp_path.name)


def store_of(document: dict[str, Any]) -> Store:
    from streams_engine.adapters.files.adapter import _remote

    connection = parse_connection(document)
    assert isinstance(connection, FilesConnection)
    return _remote(connection, connection.base_path, {})


def test_a_file_is_there_once_it_is_whole(place: dict[str, Any]) -> None:
    store = store_of(place)
    assert store.list() == []
    with store.writing("a/b.txt") as file:
        file.write(b"half")
        assert store.list() == []
    assert [one.path for one in store.list()] == ["a/b.txt"]
    with store.open("a/b.txt") as read:
        assert read.read() == b"half"
    assert store.list() == [store.stat("a/b.txt")] == store.list("a")


def test_a_file_that_is_given_up_leaves_the_old_one(place: dict[str, Any]) -> None:
    store = store_of(place)
    store.write_json("m.json", {"n": 1})
    with pytest.raises(RuntimeError), store.writing("m.json") as file:
        file.write(b"{}")
        raise RuntimeError
    assert store.read_json("m.json") == {"n": 1}
    assert [one.path for one in store.list()] == ["m.json"]


def test_a_file_is_replaced_and_its_mark_changes(place: dict[str, Any]) -> None:
    store = store_of(place)
    store.write_json("m.json", {"n": 1})
    before = store.stat("m.json")
    store.write_json("m.json", {"n": 10})
    assert store.stat("m.json") != before
    assert store.read_json("m.json") == {"n": 10}
    store.delete("m.json")
    store.delete("m.json")
    assert store.list() == []
    with pytest.raises(NotFound, match=r"m\.json does not exist"):
        store.stat("m.json")


def test_a_store_pickles(place: dict[str, Any]) -> None:
    store = store_of(place)
    assert pickle.loads(pickle.dumps(store)) == store
    assert PASSWORD not in repr(store)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_stream_writes_and_reads_the_store(
    place: dict[str, Any], form: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(ROWS)
    there = {**place, "file_format": form}
    out = Stream(str(tmp_path / "t.csv"), there, reconnect_timeout=1)
    assert out.run().rows == 3
    assert out.verify().ok
    back = Stream(there, f"file://{tmp_path}/back?format=csv", reconnect_timeout=1)
    assert back.run().rows == 3
    assert back.verify().ok
    assert (tmp_path / "back/t/part-0-0.csv").read_text() == ROWS


def test_the_password_of_a_url_is_a_secret(sftp: SftpServer) -> None:
    url = f"sftp://me:{PASSWORD}@127.0.0.1:{sftp.port}/x"
    connection = parse_connection(url)
    assert isinstance(connection, FilesConnection)
    assert connection.storage_options == {"password": Secret(PASSWORD)}
    assert PASSWORD not in repr(connection) + connection.show() + str(connection.identity())


def test_a_host_key_is_not_taken_on_trust(sftp: SftpServer, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    store = store_of(sftp.document("x", known_hosts=str(tmp_path / "none")))
    with pytest.raises(ConnectionFailed, match="HostKeyNotVerifiable"):
        store.list()


def test_a_wrong_password_is_told_and_not_shown(sftp: SftpServer) -> None:
    store = store_of(sftp.document("x", password="another-secret"))
    with pytest.raises(AuthenticationFailed, match="refused the credentials") as raised:
        store.list()
    assert "another-secret" not in str(raised.value)


def test_a_wrong_storage_option_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="storage options are invalid"):
        Store("sftp", "sftp://h/x", options='{"no_such_option": 1}').list()


def test_an_engine_shows_no_storage_options(sftp: SftpServer) -> None:
    engine = Engine()
    made = engine.connections.create({"name": "exchange", **sftp.document("x")})
    assert made["spec"] == {"store": {"url": f"sftp://me@127.0.0.1:{sftp.port}/x"}}
    engine.close()


# Sources alone


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server that gives whole files alone, and its folder."""
    root = tmp_path / "site"
    root.mkdir()
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", root
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/data/t.csv", "/data", "/data/"])
def test_a_file_or_a_page_of_links_is_read_over_http(
    site: tuple[str, Path], path: str, tmp_path: Path
) -> None:
    url, root = site
    (root / "data").mkdir()
    (root / "data/t.csv").write_text(ROWS)
    stream = Stream(url + path, f"file://{tmp_path}/out?format=csv", reconnect_timeout=1)
    assert stream.run().rows == 3
    assert (tmp_path / "out/t/part-0-0.csv").read_text() == ROWS


def test_parquet_is_read_from_a_server_that_gives_no_parts(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    url, root = site
    pq.write_table(pa.table({"id": range(1000)}), root / "t.parquet")
    stream = Stream(f"{url}/t.parquet", f"file://{tmp_path}/out?format=csv", reconnect_timeout=1)
    assert stream.run().rows == 1000


def test_http_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(ROWS)
    with pytest.raises(ConfigError, match="https:// can only be a source"):
        Stream(str(tmp_path), "https://example.org/x?format=csv").run()


def test_a_password_for_a_page_goes_into_the_options() -> None:
    with pytest.raises(ConfigError, match="must not contain a password") as raised:
        parse_connection(f"https://me:{PASSWORD}@example.org/t.csv")
    assert PASSWORD not in str(raised.value)


# Which there are


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(kind: str) -> None:
        raise ImportError(f"Please install the package of {kind}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(ConfigError, match=r"gs://.*\[gcs\]"):
        parse_connection("gs://bucket/exports")


def test_an_unknown_protocol_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="connections of type 'oracle'"):
        parse_connection("oracle://h/x")


def test_every_writer_is_a_protocol_of_fsspec() -> None:
    assert set(WRITERS) - {"abfss"} <= set(fsspec.available_protocols())


def test_a_store_and_a_folder_are_two_places() -> None:
    spec = {"store": {"url": "memory://x"}, "files": {"basePath": "/x"}}
    with pytest.raises(ConfigError, match=r"\$\.spec\.store: a connection has one"):
        parse_connection({"type": "files", "spec": spec})


def test_the_path_of_a_document_stays_on_the_server_of_the_connection() -> None:
    config = {
        "mode": "convert",
        "source": {
            "connections": [
                {"connection": "memory://x", "files": {"basePath": "http://elsewhere/y"}}
            ]
        },
        "target": {"connection": "null://"},
    }
    with pytest.raises(ConfigError, match="the server that the connection names"):
        Stream.from_config(config).run()
