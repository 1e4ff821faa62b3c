"""The documents of both generations, and every way in which one can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.config import (
    DatabaseConnection,
    FilesConnection,
    NullConnection,
    S3Connection,
    Secret,
    parse_config,
    parse_connection,
)
from streams_engine.config.stream import from_urls
from streams_engine.errors import ConfigError

KNOWN = {
    "one": {"id": "conn_1", "name": "src", "type": "MySQL", "host": "h", "username": "u",
            "password": "s3cret", "database": "shop"},
    "two": "postgresql://me:pw@h:5433/shop",
}  # fmt: skip
NESTED: dict[str, Any] = {
    "name": "full_migration",
    "mode": "convert",
    "source": {"connections": [{"connectionId": "one", "database": "source_db"}]},
    "target": {"id": "two", "spec": {"db": {"database": "target_db"}}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(NESTED))
    place = document
    *steps, last = path.split(".")
    for step in steps:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[last] = value
    return document


def fault(document: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(document, KNOWN)
    return caught.value


def test_the_smallest_nested_document_has_the_published_defaults() -> None:
    config = parse_config(NESTED, KNOWN)
    assert config.name == "full_migration"
    assert config.write_mode == "fail_if_not_empty"
    assert config.db.schema_policy == "create_missing_only"
    assert config.document.source.options.data_bundle_size == 500
    assert config.document.reporting_interval == 3
    assert config.options.memory_budget == 256 << 20


def test_a_flat_document_is_normalised() -> None:
    flat = {
        "name": "my-stream",
        "source": "one",
        "target": "two",
        "mode": "convert",
        "dataBundleSize": 100,
        "reportingIntervals": {"source": 3, "target": 5},
        "tables": [{"name": "orders"}],
        "limits": {"numberOfEvents": 7, "elapsedTime": 0},
        "createStructure": False,
        "skipIndexCreation": True,
    }
    config = parse_config(flat, KNOWN)
    assert config.document.source.options.data_bundle_size == 100
    assert config.document.intervals == (3, 5)
    assert config.document.limits.number_of_events == 7
    assert config.db.schema_policy == "validate_existing"
    assert config.db.structure_options.indexes is False
    assert [t.name for t in config.document.source.connections[0].tables] == ["orders"]


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("tabels", [], "$.tabels", "unknown key"),
        ("source.options.dataBundleSize", 5, "$.source.options.dataBundleSize", "10"),
        ("source.options.dataBundleSize", 5000, "$.source.options.dataBundleSize", "1000"),
        ("source.options.dataBundleSize", "500", "$.source.options.dataBundleSize", "integer"),
        ("source.options.dataBundleSize", True, "$.source.options.dataBundleSize", "integer"),
        ("source.connections.0.tabels", [], "$.source.connections[0].tabels", "'tables'"),
        ("source.connections.0.connectionId", "x", "$.source.connections[0].connectionId", "one"),
        ("target.spec.db.writeMode", "replace", "$.target.spec.db.writeMode", "'append'"),
        ("target.spec.db.schemaPolicy", 1, "$.target.spec.db.schemaPolicy", "'fail_if_exists'"),
        ("mode", "copy", "$.mode", "'convert' or 'cdc'"),
        ("options.memoryBudget", "much", "$.options.memoryBudget", "256MB"),
        ("options.typeOverrides", [{"type": "int"}], "$.options.typeOverrides[0]", "exactly one"),
        ("limits.numberOfEvents", -1, "$.limits.numberOfEvents", "0"),
    ],
)
def test_a_fault_is_named_by_its_path(path: str, value: Any, where: str, says: str) -> None:
    error = fault(changed(path, value))
    assert error.path == where
    assert says in str(error)


def test_every_fault_is_listed() -> None:
    document = changed("limits.numberOfEvents", -1)
    document["source"]["options"] = {"dataBundleSize": 1}
    text = str(fault(document))
    assert "$.limits.numberOfEvents" in text and "$.source.options.dataBundleSize" in text


def test_keys_of_the_product_that_mean_nothing_here_warn() -> None:
    config = parse_config(NESTED | {"id": "config_1", "created": 1, "description": "x"}, KNOWN)
    assert len(config.warnings) == 3


def test_cdc_is_upsert_and_nothing_else() -> None:
    assert parse_config(changed("mode", "cdc"), KNOWN).write_mode == "upsert"
    document = changed("target.spec.db.writeMode", "append") | {"mode": "cdc"}
    assert "upsert" in str(fault(document))


def test_load_means_convert() -> None:
    assert parse_config(changed("mode", "load"), KNOWN).document.mode == "convert"


def test_from_text_and_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(NESTED))
    texts = [parse_config(source, KNOWN).identity() for source in (path, str(path), NESTED)]
    assert len(set(texts)) == 1
    assert "invalid JSON" in str(fault("{"))
    assert "cannot be read" in str(fault(str(tmp_path / "none.json")))


def test_the_identity_knows_tables_and_no_secret() -> None:
    other = {**KNOWN, "two": "postgresql://me:other@h:5433/shop"}
    assert parse_config(NESTED, KNOWN).identity() == parse_config(NESTED, other).identity()
    tables = changed("source.connections.0.tables", [{"name": "a"}])
    assert parse_config(tables, KNOWN).identity() != parse_config(NESTED, KNOWN).identity()


def test_keywords() -> None:
    config = from_urls(
        "mysql://h/a", "null://", mode="convert", tables=["t"], options={"write_mode": "append"}
    )
    assert config.write_mode == "append"
    with pytest.raises(ConfigError, match="write_mode"):
        from_urls("mysql://h/a", "null://", mode="convert", tables=None, options={"writemode": 1})


# Connections


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (
            "mysql://root:p%40ss@db.example:3307/sakila",
            DatabaseConnection(
                "mysql", "db.example", 3307, "root", Secret("p@ss"), database="sakila"
            ),
        ),
        ("postgres://me@[::1]/x", DatabaseConnection("postgresql", "::1", 5432, "me",
                                                     database="x")),
        ("null://", NullConnection()),
        ("file:///data/out?format=parquet", FilesConnection("/data/out", "parquet")),
        ("/data/out", FilesConnection("/data/out")),
        (
            "s3://bucket/a/b?format=csv&endpoint=http://127.0.0.1:1",
            S3Connection("bucket", "a/b", endpoint="http://127.0.0.1:1", file_format="csv"),
        ),
        (
            {"type": "PostgreSQL", "name": "n", "host": "h", "port": 1, "username": "u",
             "password": "p", "defaultDatabase": "d"},
            DatabaseConnection("postgresql", "h", 1, "u", Secret("p"), database="d", name="n"),
        ),
        (
            {"type": "mysql", "name": "n",
             "spec": {"database": {"host": "h", "port": 1, "username": "u", "password": "p",
                                   "database": "d"}}},
            DatabaseConnection("mysql", "h", 1, "u", Secret("p"), database="d", name="n"),
        ),
        (
            {"name": "f", "type": "files", "spec": {"files": {"basePath": "/x"}}},
            FilesConnection("/x", name="f"),
        ),
        (
            {"name": "s", "type": "files", "file_format": "csv",
             "storage_config": {"provider": "s3", "uri": "s3://b/exports/csv/",
                                "region": "us-east-1", "credentials_ref": "secret/x"}},
            S3Connection("b", "exports/csv", region="us-east-1", credentials_ref="secret/x",
                         file_format="csv", name="s"),
        ),
    ],
)  # fmt: skip
def test_connections_of_every_form(given_: Any, expected: Any) -> None:
    assert parse_connection(given_) == expected


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:s3cret@h:notaport/x",
        "oracle://u:s3cret@h/x",
        "mysql://u:s3cret@h/x?colour=red",
        "postgresql://u:s3cret@h/x?sslmode=maybe",
    ],
)
def test_a_bad_url_never_shows_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection(url)
    assert "s3cret" not in f"{caught.value!s} {caught.value!r} {caught.value.to_dict()}"


def test_secrets_never_show() -> None:
    connection = parse_connection(KNOWN["one"])
    assert "s3cret" not in repr(connection) and "s3cret" not in repr(parse_config(NESTED, KNOWN))
    bad = {**KNOWN["one"], "password": 5}  # type: ignore[dict-item]
    with pytest.raises(ConfigError) as caught:
        parse_connection(bad)
    assert caught.value.path == "$.password" and "5" not in str(caught.value)


def test_secret_references(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DB_PASSWORD", "from-env")
    (tmp_path / "pw").write_text("from-file\n")
    assert Secret("env:DB_PASSWORD").reveal() == "from-env"
    assert Secret(f"file:{tmp_path}/pw").reveal() == "from-file"
    assert Secret("vault:a/b").reveal({"vault": lambda key: key.upper()}) == "A/B"
    assert Secret("pa:ss").reveal() == "pa:ss"
    with pytest.raises(ConfigError, match="env:NOT_SET"):
        Secret("env:NOT_SET").reveal()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    ["name", "mode", "source", "source.connections", "source.options", "target", "target.spec",
     "target.spec.db.structureOptions", "limits", "options", "options.typeOverrides",
     "source.connections.0.tables", "target.connection", "source.connections.0.connection"]
)  # fmt: skip


@given(path=paths, value=json_values)
def test_any_document_parses_or_is_refused_by_path(path: str, value: Any) -> None:
    try:
        parse_config(changed(path, value), KNOWN)
    except ConfigError as error:
        assert error.path


@pytest.mark.parametrize(("key", "value"), [("tables", 5), ("reportingIntervals", [3])])
def test_a_flat_document_of_the_wrong_shape(key: str, value: Any) -> None:
    error = fault({"name": "n", "source": "one", "target": "two", "mode": "convert", key: value})
    assert error.path == f"$.{key}"


def test_columns_that_are_called_like_ignored_keys_stay_declared() -> None:
    declared = {"t": {"id": "int64", "created": "timestamp[us]", "description": "string"}}
    config = parse_config(
        {
            "mode": "convert",
            "source": {"connections": [{"connection": "/in", "files": {"columns": declared}}]},
            "target": {"connection": "null://"},
        }
    )
    files = config.document.source.connections[0].files
    assert files is not None and files.columns == declared
    assert config.warnings == ()


def test_the_settings_of_a_checkpoint_have_no_secret_and_an_address_apart() -> None:
    def settings(source: str, target: str) -> dict[str, Any]:
        document = {"mode": "cdc", "tables": None, "options": {}}
        return from_urls(source, target, **document).settings()  # type: ignore[arg-type]

    one = settings("mysql://me:secret@db1/shop", "postgresql://me:secret@db2/shop")
    other = settings("mysql://you:hidden@127.0.0.1:3307/shop", "postgresql://you@[::1]:6432/shop")
    assert "secret" not in str(one)
    assert one.pop("address") == ["db1:3306"] and other.pop("address") == ["127.0.0.1:3307"]
    assert one == other
    assert one != settings("mysql://me@db1/other", "postgresql://me@db2/shop")
    assert one != settings("mysql://me@db1/shop", "postgresql://me@db2/other")
