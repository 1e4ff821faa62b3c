"""Documents whose keys contradict one another are refused by JSON path, before any connection."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.config.connection import FilesConnection, parse_connection
from streams_engine.config.stream import from_urls, parse_config
from streams_engine.errors import ConfigError

MYSQL, POSTGRES, FOLDER = "mysql://h/a", "postgresql://h/b", "/data"
BUCKET = {"type": "files", "spec": {"s3": {"scope": {"bucket": "b"}}}}
SERVER = {"type": "mysql", "host": "h", "username": "u", "password": "s3cret"}


def document(
    source: Any = MYSQL, target: Any = POSTGRES, mode: str = "convert", **keys: Any
) -> dict[str, Any]:
    """A document between two ends; keys are dotted paths in it, with ``__`` for the dot."""
    made: dict[str, Any] = {
        "mode": mode,
        "source": {"connections": [{"connection": source}]},
        "target": {"connection": target},
    }
    for path, value in keys.items():
        place: Any = made
        *steps, last = path.split("__")
        for step in steps:
            place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
        place[last] = value
    return made


ONE = "source__connections__0__"
SPEC = "target__spec__"
OPTIONS = "source__options__"
CSV = {"fileFormat": "csv"}
TWO = [
    {"alias": "a", "connection": MYSQL},
    {"alias": "b", "connection": "mysql://h2/a"},
]


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (document(**{ONE + "connectionId": "x"}), "$.source.connections[0].connectionId"),
        (document(target__id="x"), "$.target.id"),
        (document(**{SPEC + "files": CSV, SPEC + "s3": CSV}), "$.target.spec"),
        (
            document(target=FOLDER, **{SPEC + "files": CSV, SPEC + "db": {"database": "x"}}),
            "$.target.spec",
        ),
        (document(**{SPEC + "files": CSV}), "$.target.spec.files"),
        (document(**{SPEC + "s3": CSV}), "$.target.spec.s3"),
        (document(target="null://", **{SPEC + "s3": CSV}), "$.target.spec.s3"),
        (document(target=FOLDER, **{SPEC + "s3": CSV}), "$.target.spec.s3"),
        (document(target=BUCKET, **{SPEC + "files": CSV}), "$.target.spec.files"),
        (document(target=FOLDER, **{SPEC + "db__database": "x"}), "$.target.spec.db.database"),
        (
            document(target=BUCKET, **{SPEC + "db__schemaPolicy": "fail_if_exists"}),
            "$.target.spec.db.schemaPolicy",
        ),
        (
            document(target=MYSQL, **{SPEC + "db": {"database": "x", "schema": "y"}}),
            "$.target.spec.db.schema",
        ),
        (document(**{ONE + "files": {}}), "$.source.connections[0].files"),
        (document(**{ONE + "s3": {}}), "$.source.connections[0].s3"),
        (document(source=FOLDER, **{ONE + "s3": {}}), "$.source.connections[0].s3"),
        (document(source=BUCKET, **{ONE + "files": {}}), "$.source.connections[0].files"),
        (document(source=FOLDER, **{ONE + "database": "x"}), "$.source.connections[0].database"),
        (document(**{ONE + "schema": "x"}), "$.source.connections[0].schema"),
        (
            document(**{ONE + "tables": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}),
            "$.source.connections[0].tables[2].name",
        ),
        (
            document(
                **{ONE + "database": "shop", ONE + "tables": [{"name": "shop.a"}, {"name": "a"}]}
            ),
            "$.source.connections[0].tables[1].name",
        ),
        (
            document(
                **{
                    ONE + "tables": [{"name": "a"}],
                    ONE + "queries": [{"name": "a", "query": "SELECT 1"}],
                }
            ),
            "$.source.connections[0].queries[0].name",
        ),
        (
            document(
                **{
                    ONE + "tables": [
                        {"name": "a", "query": "SELECT 1", "selection": {"limit": 1}}
                    ]
                }
            ),
            "$.source.connections[0].tables[0].selection",
        ),
        (
            document(
                **{
                    ONE + "tables": [
                        {
                            "name": "a",
                            "selection": {
                                "filters": [{"column": "c", "operator": "is null", "value": 1}]
                            },
                        }
                    ]
                }
            ),
            "$.source.connections[0].tables[0].selection.filters[0].value",
        ),
        (document(**{OPTIONS + "operations": []}), "$.source.options.operations"),
        (document(**{OPTIONS + "operations": ["delete"]}), "$.source.options.operations"),
        (
            document(mode="cdc", **{ONE + "tables": [{"name": "a", "operations": []}]}),
            "$.source.connections[0].tables[0].operations",
        ),
        (
            document(mode="cdc", **{SPEC + "db__writeMode": "append"}),
            "$.target.spec.db.writeMode",
        ),
        (
            document(mode="cdc", **{ONE + "queries": [{"name": "q", "query": "SELECT 1"}]}),
            "$.source.connections[0].queries",
        ),
        (
            document(mode="cdc", **{OPTIONS + "binlogPosition": "binlog.000001:4"}),
            "$.source.options.binlogPosition",
        ),
        (
            document(mode="cdc", **{OPTIONS + "replicationSlot": "s"}),
            "$.source.options.replicationSlot",
        ),
        (
            document(mode="cdc", **{OPTIONS + "publicationName": "p"}),
            "$.source.options.publicationName",
        ),
        (
            document(source=POSTGRES, mode="cdc", **{OPTIONS + "serverId": 7}),
            "$.source.options.serverId",
        ),
        (
            document(
                source=POSTGRES, mode="cdc",
                **{OPTIONS + "binlogPosition": "b.1:4", OPTIONS + "initialLoad": False},
            ),
            "$.source.options.binlogPosition",
        ),
        (
            document(
                mode="cdc", source__connections=TWO,
                **{OPTIONS + "binlogPosition": "b.1:4", OPTIONS + "initialLoad": False},
            ),
            "$.source.options.binlogPosition",
        ),
        (
            document(source__connections=[TWO[0], TWO[0]]),
            "$.source.connections[1].alias",
        ),
        (
            document(source__connections=[TWO[0], {"connection": MYSQL}]),
            "$.source.connections[1].alias",
        ),
        (
            document(
                **{SPEC + "db": {"structureOptions": {"tables": False},
                                 "schemaPolicy": "drop_and_recreate"}}
            ),
            "$.target.spec.db.schemaPolicy",
        ),
        (
            document(
                **{SPEC + "db": {"writeMode": "append", "schemaPolicy": "drop_and_recreate"}}
            ),
            "$.target.spec.db.writeMode",
        ),
        (
            document(
                options__typeOverrides=[
                    {"column": "t.a", "type": "text"}, {"column": "t.a", "to": "bytea"}
                ]
            ),
            "$.options.typeOverrides[1]",
        ),
        (
            document(
                target=BUCKET,
                **{SPEC + "s3": {"fileFormat": "csv", "upload": {"kmsKeyId": "k"}}},
            ),
            "$.target.spec.s3.upload",
        ),
    ],
)  # fmt: skip
def test_a_stream_document_that_contradicts_itself(made: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Stream.from_config(made, connections={"x": MYSQL})
    assert caught.value.path == where
    assert where in caught.value.message


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (SERVER | {"database": "a", "defaultDatabase": "b"}, "$.defaultDatabase"),
        (SERVER | {"schema": "x"}, "$.schema"),
        (
            SERVER | {"spec": {"database": {"host": "h", "username": "other"}}},
            "$.spec.database.username",
        ),
        (
            SERVER | {"spec": {"database": {"password": "0ther"}}},
            "$.spec.database.password",
        ),
        (
            {"type": "mysql", "spec": {"database": {"host": "h", "username": "u"}, "files": {}}},
            "$.spec.files",
        ),
        (SERVER | {"ssl": {"mode": "disabled", "ca": "/ca.pem"}}, "$.ssl"),
        (SERVER | {"ssl": {"mode": "require", "client_key": "/k.pem"}}, "$.ssl"),
        (
            SERVER | {"ssh": {"host": "h", "username": "u", "password": "p", "passphrase": "q"}},
            "$.ssh",
        ),
        (
            {"type": "files", "spec": {"files": {"basePath": "/a"}, "s3": {}}},
            "$.spec.s3",
        ),
        (
            {"type": "files", "spec": {"files": {"basePath": "/a"}},
             "storage_config": {"provider": "local", "uri": "/b"}},
            "$.storage_config",
        ),
        (
            {"type": "files", "storage_config": {"provider": "local", "uri": "s3://b/p"}},
            "$.storage_config.uri",
        ),
        (
            {"type": "files", "storage_config": {"provider": "s3", "uri": "/b"}},
            "$.storage_config.uri",
        ),
        (
            {"type": "files",
             "storage_config": {"provider": "local", "uri": "/b", "credentials_ref": "env:X"}},
            "$.storage_config.credentials_ref",
        ),
        ("mysql://u:s3cret@h/d?sslmode=require&ssl-mode=disabled", "$"),
        ("mysql://u:s3cret@h/d?sslmode=require&sslmode=disabled", "$"),
        ("postgresql://u:s3cret@h/d?sslrootcert=/a&sslca=/b", "$"),
        ("postgresql://u:s3cret@h/d?sslmode=disable&sslrootcert=/a", "$"),
        ("mysql://u:s3cret@h/d?schema=x", "$"),
        ("s3://b/p?format=csv&format=parquet", "$"),
        ("localhost:3306/shop", "$"),
        ("root:s3cret@localhost/shop", "$"),
        ("root:s3cret@localhost:3306", "$"),
    ],
)  # fmt: skip
def test_a_connection_that_contradicts_itself(made: Any, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection(made)
    assert caught.value.path == where
    text = f"{caught.value} {caught.value.to_dict()}"
    assert "s3cret" not in text and "0ther" not in text


@pytest.mark.parametrize("path", ["/a/b:3306/c", "./localhost:3306/shop", "C:\\x", "in", "a@b/c"])
def test_a_path_that_looks_like_one_is_a_path(path: str) -> None:
    assert isinstance(parse_connection(path), FilesConnection)


@pytest.mark.parametrize(
    "made",
    [
        document(**{ONE + "tables": [{"name": "x.a"}, {"name": "y.a"}]}),
        document(target=FOLDER, **{SPEC + "db": {"writeMode": "append", "skipData": True}}),
        document(**{SPEC + "db": {}, SPEC + "files": None}),
        document(target=FOLDER, **{SPEC + "db": {"writeMode": "append"}, SPEC + "files": CSV}),
        document(target="mysql://h", **{SPEC + "db__schema": "x"}),
        document(source__connections=[*TWO, {"alias": "c", "connection": FOLDER}], mode="convert"),
        document(source=POSTGRES, mode="cdc", **{OPTIONS + "replicationSlot": "s"}),
        document(
            mode="cdc", **{OPTIONS + "binlogPosition": "b.000001:4", OPTIONS + "initialLoad": False}
        ),
        {"source": "x", "target": "y", "mode": "convert", "createStructure": True},
    ],
)
def test_what_only_looks_like_a_contradiction_is_taken(made: dict[str, Any]) -> None:
    parse_config(made, {"x": MYSQL, "y": FOLDER})


def test_all_contradictions_are_told_at_once() -> None:
    made = document(
        **{ONE + "connectionId": "x", SPEC + "files": CSV, ONE + "s3": {}, "target__id": "x"}
    )
    with pytest.raises(ConfigError) as caught:
        parse_config(made, {"x": MYSQL})
    for path in ("connections[0].connectionId", "connections[0].s3", "target.id", "spec.files"):
        assert (
            f"$.{'source.' if 'conn' in path else 'target.' if 'spec' in path else ''}{path}"
            in (caught.value.message)
        )


@pytest.mark.parametrize("position", ["nonsense", "binlog:4", "0-1", "mysql-bin.000001", "a.1:x"])
def test_a_position_that_is_none_is_refused_by_path(position: str) -> None:
    keys = {OPTIONS + "binlogPosition": position, OPTIONS + "initialLoad": False}
    with pytest.raises(ConfigError) as caught:
        parse_config(document(mode="cdc", **keys))
    assert caught.value.path == "$.source.options.binlogPosition"


UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    "position",
    ["binlog.000001:157", f"{UUID}:1-5:7", f"{UUID}:1-5,\n{UUID[:-1]}3:tag_a:1", "0-1-100,1-2-5"],
)
def test_positions_as_servers_print_them(position: str) -> None:
    keys = {OPTIONS + "binlogPosition": position, OPTIONS + "initialLoad": False}
    parse_config(document(mode="cdc", **keys))


def test_settings_of_a_log_in_a_convert_warn() -> None:
    config = parse_config(document(**{OPTIONS + "replicationSlot": "s"}))
    assert config.warnings == (
        "$.source.options.replicationSlot is for cdc; a convert ignores it.",
    )


@pytest.mark.parametrize("tables", ["orders", ["orders"], ("orders",)])
def test_one_table_may_be_a_plain_text(tables: Any) -> None:
    config = from_urls(MYSQL, POSTGRES, mode="cdc", tables=tables, options={"operations": "insert"})
    assert [t.name for t in config.document.source.connections[0].tables] == ["orders"]
    assert config.document.source.options.operations == ("insert",)
