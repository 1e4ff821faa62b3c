"""What an Engine stores: connections and stream configs, in memory and in a file."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.engine.ids import new_id
from streams_engine.errors import ConfigError, NotFound, StateConflict

SECRET = "hunter2-is-secret"
MYSQL = {
    "name": "mysql-source", "type": "MySQL", "host": "db.example.com", "port": 3306,
    "username": "reader", "password": SECRET, "database": "shop",
}  # fmt: skip
NESTED = {
    "name": "pg", "type": "postgresql",
    "spec": {"database": {"host": "localhost", "port": 5432, "username": "me",
                          "password": SECRET, "database": "target"}},
}  # fmt: skip
BUCKET = {
    "name": "bucket", "type": "files",
    "spec": {"s3": {"region": "eu-west-1", "scope": {"bucket": "b", "prefix": "p"},
                    "credentials": {"accessKey": SECRET, "secretKey": SECRET}}},
}  # fmt: skip


@pytest.fixture
def engine() -> Any:
    with Engine() as opened:
        yield opened


def config(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "orders", "mode": "convert",
        "source": {"connections": [{"connectionId": source, "tables": [{"name": "t"}]}]},
        "target": {"id": target}, **more,
    }  # fmt: skip


def test_lists_keep_the_order_of_making_within_one_second(engine: Engine) -> None:
    names = [f"c{n}" for n in (5, 3, 9, 1, 7, 2, 8, 6, 4)]
    made = [engine.connections.create(MYSQL | {"name": name})["id"] for name in names]
    assert [one["name"] for one in engine.connections.all()] == names
    configs = [engine.configs.create(config(made[0], made[1]) | {"name": name}) for name in names]
    listed = engine.configs.list()["items"]
    assert [one["id"] for one in listed] == [one["id"] for one in configs]


def test_an_id_is_a_kind_and_a_ksuid() -> None:
    ids = {new_id("conn") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"conn_[0-9A-Za-z]{27}", one) for one in ids)
    assert all(one[5:7] == "3" + one[6] for one in ids), "a KSUID of these years begins with 3"


@pytest.mark.parametrize("document", [MYSQL, NESTED, BUCKET])
def test_a_connection_comes_back_without_its_secrets(engine: Engine, document: Any) -> None:
    made = engine.connections.create(document)
    assert re.fullmatch(r"conn_[0-9A-Za-z]{27}", made["id"])
    assert isinstance(made["created"], int)
    assert made["name"] == document["name"]
    seen = [made, engine.connections.get(made["id"]), *engine.connections.all()]
    assert SECRET not in json.dumps(seen)
    assert engine.connections.get(document["name"]) == made
    assert engine.connections._dialler.stored(made["id"])["type"] == document["type"]


def test_a_reference_is_no_secret(engine: Engine) -> None:
    made = engine.connections.create(MYSQL | {"password": "env:SHOP_PASSWORD"})
    assert made["password"] == "env:SHOP_PASSWORD"
    assert "password" not in engine.connections.create(MYSQL | {"name": "b", "password": "a:b"})


def test_a_name_is_taken_once(engine: Engine) -> None:
    engine.connections.create(MYSQL)
    with pytest.raises(ConfigError, match=r"\$\.name: a connection 'mysql-source' exists already"):
        engine.connections.create(MYSQL)
    with pytest.raises(ConfigError, match=r"\$\.name: a connection needs a name"):
        engine.connections.create({k: v for k, v in MYSQL.items() if k != "name"})


def test_an_update_is_a_whole_document(engine: Engine) -> None:
    made = engine.connections.create(MYSQL)
    without = {k: v for k, v in MYSQL.items() if k != "password"}
    with pytest.raises(ConfigError, match=r"\$\.password: an update needs the whole document"):
        engine.connections.update(made["id"], without)
    with pytest.raises(ConfigError, match=r"\$\.host"):
        engine.connections.update(made["id"], {"name": "x", "type": "mysql"})
    server = {"host": "h", "username": "u", "password": "another"}
    nested = {"name": "mysql-source", "type": "mysql", "spec": {"database": server}}
    assert engine.connections.update(made["id"], nested)["spec"]["database"]["host"] == "h"
    changed = engine.connections.update(made["id"], MYSQL | {"host": "other", "password": None})
    assert (changed["id"], changed["created"]) == (made["id"], made["created"])
    assert engine.connections.get(made["id"])["host"] == "other"
    assert engine.connections._dialler.stored(made["id"])["password"] is None


def test_a_clone_keeps_the_secret_under_a_new_id(engine: Engine) -> None:
    made = engine.connections.create(MYSQL)
    first = engine.connections.clone(made["id"])
    second = engine.connections.clone(made["id"])
    assert [first["name"], second["name"]] == ["mysql-source-copy", "mysql-source-copy-2"]
    assert first["id"] != made["id"]
    assert engine.connections._dialler.stored(first["id"])["password"] == SECRET


def test_a_connection_in_use_is_not_deleted(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    target = engine.connections.create(NESTED)["id"]
    made = engine.configs.create(config("mysql-source", target))
    with pytest.raises(StateConflict, match=made["name"]) as refused:
        engine.connections.delete(source)
    assert refused.value.details["configs"] == [made["name"]]
    engine.configs.delete(made["id"])
    engine.connections.delete(source)
    with pytest.raises(NotFound, match="no connection"):
        engine.connections.get(source)


def test_a_config_is_stored_nested_under_its_suffixed_name(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    target = engine.connections.create(NESTED)["id"]
    flat = {
        "name": "my-stream", "source": source, "target": target, "mode": "convert",
        "dataBundleSize": 500, "reportingIntervals": {"source": 3, "target": 3},
        "tables": [{"name": "t"}], "limits": {"numberOfEvents": 0, "elapsedTime": 0},
        "createStructure": True,
    }  # fmt: skip
    made = engine.configs.create(flat)
    assert re.fullmatch(r"config_[0-9A-Za-z]{27}", made["id"])
    assert made["name"] == f"my-stream_{made['id'][-5:]}"
    assert made["source"]["connections"][0]["connectionId"] == source
    assert engine.configs.get(made["id"]) == made == engine.configs.get(made["name"])


def test_a_config_that_is_wrong_is_refused_by_path(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    with pytest.raises(
        ConfigError, match=r"\$\.target\.id: there is no connection 'conn_x'"
    ) as refused:
        engine.configs.create(config(source, "conn_x"))
    assert MYSQL["name"] in refused.value.remedy
    with pytest.raises(ConfigError, match=r"\$\.name"):
        engine.configs.create(config(source, source) | {"name": None})
    inline = config(source, source)
    inline["source"]["connections"][0]["connection"] = "mysql://root:pw@host/db"
    with pytest.raises(ConfigError, match=r"\$\.source\.connections\[0\]\.connection"):
        engine.configs.create(inline)
    with pytest.raises(ConfigError, match=r"\$\.source\.connections: field required"):
        engine.configs.create({"name": "x", "mode": "convert", "source": {}, "target": {"id": 3}})
    assert engine.configs.list()["total"] == 0


def test_configs_are_searched_and_paged(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    target = engine.connections.create(NESTED)["id"]
    names = [f"{kind}{n}" for n in range(5) for kind in ("Orders", "users")]
    for name in names:
        engine.configs.create(config(source, target) | {"name": name})
    page = engine.configs.list("ORDERS", limit=2, offset=1)
    assert page["total"] == 5
    assert len(page["items"]) == 2
    assert all(one["name"].startswith("Orders") for one in page["items"])
    assert engine.configs.list()["total"] == 10
    with pytest.raises(ConfigError, match="offset"):
        engine.configs.list(offset=-1)


def test_what_of_a_config_cannot_change(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    target = engine.connections.create(NESTED)["id"]
    made = engine.configs.create(config(source, target))
    changed = engine.configs.update(made["id"], config(source, target, reportingInterval=9))
    assert (changed["id"], changed["name"], changed["reportingInterval"]) == (
        made["id"], made["name"], 9,
    )  # fmt: skip
    assert engine.configs.update(made["id"], changed) == changed
    for document, path in (
        (config(target, target), r"\$\.source\.connections"),
        (config(source, source), r"\$\.target\.id"),
        (config(source, target) | {"id": "config_other"}, r"\$\.id"),
        (config(source, target) | {"created": 1}, r"\$\.created"),
    ):
        with pytest.raises(ConfigError, match=path):
            engine.configs.update(made["id"], document)
    assert engine.configs.get(made["id"]) == changed


def test_all_configs_go_only_when_it_is_confirmed(engine: Engine) -> None:
    source = engine.connections.create(MYSQL)["id"]
    made = engine.configs.create(config(source, source))
    cloned = engine.configs.clone(made["id"])
    assert cloned["name"].startswith("orders-copy_")
    with pytest.raises(ConfigError, match="confirm=True"):
        engine.configs.delete_all()
    assert engine.configs.list()["total"] == 2
    assert engine.configs.delete_all(confirm=True) == 2
    assert engine.configs.list()["total"] == 0


# The file


def test_a_file_is_its_owners_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    with Engine(path) as engine:
        source = engine.connections.create(MYSQL)
        made = engine.configs.create(config(source["id"], source["id"]))
        assert {stat.S_IMODE(f.stat().st_mode) for f in tmp_path.iterdir()} == {0o600}
        with Engine(path) as other:
            assert [*other.connections.all()] == [source]
            other.connections.create(NESTED)
        assert engine.connections.list()["total"] == 2
    with Engine(path) as engine:
        assert engine.configs.get(made["id"]) == made
        assert engine.connections._dialler.stored(source["id"])["password"] == SECRET
    assert [f.name for f in tmp_path.iterdir()] == ["engine.db"]


def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    path.touch(0o644)
    Engine(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no database, however long it may be " * 50)
    with pytest.raises(ConfigError, match="SQLite cannot use this file"):
        Engine(text)
    assert text.read_text().startswith("this is no database")
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(ConfigError, match="another application"):
        Engine(other)
    with pytest.raises(ConfigError, match="cannot open the file for writing"):
        Engine(tmp_path / "no folder" / "engine.db")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    Engine(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        Engine(path)
