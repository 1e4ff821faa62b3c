"""Adapters are found by kind: built-in ones by a table, others by entry points of packages."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.adapters.null import NullSink
from streams_engine.config import AdapterConnection, parse_connection
from streams_engine.config.adapters import BUILT_IN, GROUP, adapter_of, known_kinds
from streams_engine.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_the_table_of_built_in_adapters_is_that_of_the_entry_points() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared[GROUP] == dict(BUILT_IN)


@pytest.mark.parametrize("kind", BUILT_IN)
def test_each_built_in_adapter_says_its_kinds(kind: str) -> None:
    assert kind in adapter_of(kind, "$").kinds


@pytest.mark.parametrize(
    ("document", "path"),
    [("oracle://u:s3cret@h/x", "$"), ({"type": "oracle", "password": "s3cret"}, "$.type")],
)
def test_an_unknown_kind_says_what_is_known_and_that_a_package_may_be_missing(
    document: Any, path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection(document)
    error = caught.value
    assert error.path == path and "'oracle'" in error.message
    assert "mysql" in str(error.remedy) and GROUP in str(error.remedy)
    assert "s3cret" not in f"{error} {error.to_dict()}"


@pytest.mark.parametrize(
    "document", ["files:///x", {"type": "s3"}, {"type": "file"}, {"type": "null"}]
)
def test_a_kind_in_the_wrong_form_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError):
        parse_connection(document)


def package(folder: Path, text: str, *points: str, name: str = "lake-adapter") -> None:
    """A distribution of one module, with entry points ``kind = module:object``."""
    (folder / "lake_adapter.py").write_text(text)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join((f"[{GROUP}]", *points)) + "\n")


ADAPTER = """
from streams_engine.config import AdapterConnection
from streams_engine.contracts import Adapter

def connection(document, root):
    return AdapterConnection("lake", str(document))

ADAPTER = Adapter(("lake",), None, connection)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "lake_adapter", raising=False)
    return tmp_path


def test_an_installed_package_is_found_by_its_entry_point(site: Path) -> None:
    package(site, ADAPTER, "lake = lake_adapter:ADAPTER")
    assert "lake" in known_kinds()
    assert parse_connection("lake://x") == AdapterConnection("lake", "lake://x")
    with pytest.raises(ConfigError, match=r"type lake cannot be a source") as caught:
        Stream("lake://x", "null://").plan()
    assert caught.value.path == "$.source.connections[0]"


@pytest.mark.parametrize("text", ["import no_such_driver", "no_such_driver", "5 / 0"])
def test_a_package_that_cannot_be_loaded_is_named(site: Path, text: str) -> None:
    package(site, text, "lake = lake_adapter:ADAPTER")
    with pytest.raises(ConfigError, match=r"lake-adapter.*(no_such_driver|division)"):
        parse_connection("lake://x")


@pytest.mark.parametrize(("kind", "near"), [("postgress", "postgres"), ("mysq", "mysql")])
def test_a_kind_that_is_misspelt_has_its_neighbour_named(kind: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection(f"{kind}://u@h/shop")
    assert f"Did you mean '{near}'?" in caught.value.remedy


def test_an_entry_point_that_is_no_adapter_is_named(site: Path) -> None:
    package(site, "ADAPTER = 1", "lake = lake_adapter:ADAPTER")
    with pytest.raises(ConfigError, match="lake-adapter"):
        parse_connection("lake://x")


def test_two_packages_of_one_kind_are_told(site: Path) -> None:
    package(site, ADAPTER, "lake = lake_adapter:ADAPTER")
    package(site, ADAPTER, "lake = lake_adapter:ADAPTER", name="other-lake")
    with pytest.raises(ConfigError, match="lake-adapter, other-lake"):
        parse_connection("lake://x")


def test_no_package_takes_the_place_of_a_built_in_adapter(site: Path) -> None:
    package(site, ADAPTER, "mysql = lake_adapter:ADAPTER")
    assert adapter_of("mysql", "$").kinds == ("mysql", "mariadb")


def test_ends_that_the_caller_made_are_used_as_they_are() -> None:
    sink = NullSink()
    assert "NullSink" in repr(Stream("/nowhere", sink))
    with pytest.raises(ConfigError, match="cannot be a source"):
        Stream(sink, "null://").plan()
    with pytest.raises(ConfigError, match="a source or sink object"):
        Stream(5, "null://")
