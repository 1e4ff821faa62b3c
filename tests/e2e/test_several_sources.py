"""Several sources with aliases into one target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import ConfigError, StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS, big, held, more, records, sums

SHOP = [
    "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20), KEY n (name))",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, kind ENUM('a', 'b'),"
    " FOREIGN KEY of_customer (customer) REFERENCES customers (id))",
    "INSERT INTO customers (name) VALUES ('Ann'), ('Bob')",
    "INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 2, NULL)",
]
CRM = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE customers (id serial PRIMARY KEY, name text UNIQUE, m mood)",
    "INSERT INTO customers (name, m) VALUES ('Cid', 'ok'), ('Dee', 'sad'), ('Eve', NULL)",
]


@pytest.fixture
def shop(mysql9: Server, database: Any) -> End:
    """A MySQL source with a foreign key."""
    end = End(mysql9, database(mysql9))
    end.run(*SHOP)
    return end


@pytest.fixture
def crm(pg15: Server, database: Any) -> End:
    """A PostgreSQL source with a table of the same name."""
    end = End(pg15, database(pg15))
    end.run(*CRM)
    return end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, one of the same name again."""
    path = tmp_path / "in"
    path.mkdir()
    (path / "customers.csv").write_text("id,name\n7,Fay\n")
    (path / "visits.jsonl").write_text('{"id": 1, "page": "/"}\n{"id": 2, "page": null}\n')
    return path


@pytest.fixture(params=["pg18", "mariadb"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    """An empty target of each kind."""
    server = request.getfixturevalue(request.param)
    return End(server, database(server))


@pytest.fixture
def postgres(pg18: Server, database: Any) -> End:
    """An empty PostgreSQL target."""
    return End(pg18, database(pg18))


def document(target: Any, *, name: str | None = None, **sources: Any) -> dict[str, Any]:
    """A document of these sources by alias: an end, or an end with keys of its own."""
    connections = []
    for alias, source in sources.items():
        end, more_keys = source if isinstance(source, tuple) else (source, {})
        url = end.url if isinstance(end, End) else str(end)
        connections.append({"alias": alias, "connection": url, **more_keys})
    into = target.url if isinstance(target, End) else str(target)
    made: dict[str, Any] = {
        "mode": "convert",
        "source": {"connections": connections, "options": {"dataBundleSize": 100}},
        "target": {"connection": into},
    }
    return made | ({"name": name} if name else {})


def stream(target: Any, **sources: Any) -> Stream:
    return Stream.from_config(document(target, **sources))


def tables(end: End) -> list[str]:
    """The tables of a target, as the server lists them."""
    own = "'public'" if end.server.kind == "postgresql" else "DATABASE()"
    found = end.rows(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {own} ORDER BY 1"
    )
    return [row[0] for row in found]


NAMES = ["crm_customers", "files_customers", "files_visits", "shop_customers", "shop_orders"]


# All together


def test_tables_carry_their_aliases(target: End, shop: End, crm: End, folder: Path) -> None:
    made = stream(target, shop=shop, crm=crm, files=folder)
    stats = made.run()
    assert stats.rows == 2 + 3 + 3 + 1 + 2
    assert tables(target) == NAMES
    names = {name: target.rows(f"SELECT id, name FROM {name} ORDER BY id") for name in
             ("shop_customers", "crm_customers", "files_customers")}  # fmt: skip
    assert names == {
        "shop_customers": [(1, "Ann"), (2, "Bob")],
        "crm_customers": [(1, "Cid"), (2, "Dee"), (3, "Eve")],
        "files_customers": [(7, "Fay")],
    }
    assert target.rows("SELECT id, customer, kind FROM shop_orders ORDER BY id") == [
        (1, 1, "a"), (2, 2, "b"), (3, 2, None),
    ]  # fmt: skip
    assert target.rows("SELECT id, page FROM files_visits ORDER BY id") == [(1, "/"), (2, None)]
    # Counters go on, each in its own table.
    target.run("INSERT INTO shop_customers (name) VALUES ('new')")
    target.run("INSERT INTO crm_customers (name) VALUES ('new')")
    assert target.rows("SELECT max(id) FROM shop_customers") == [(3,)]
    assert target.rows("SELECT max(id) FROM crm_customers") == [(4,)]


def test_keys_stay_within_their_source(target: End, shop: End, crm: End) -> None:
    stream(target, shop=shop, crm=crm).run()
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        target.run("INSERT INTO shop_orders VALUES (9, 99, NULL)")
    with pytest.raises(Exception, match=r"(?i)duplicate"):
        target.run("INSERT INTO crm_customers (id, name) VALUES (9, 'Cid')")


def test_verify_compares_all_sources(postgres: End, shop: End, crm: End, folder: Path) -> None:
    made = stream(postgres, shop=shop, crm=crm, files=folder)
    made.run()
    report = made.verify()
    assert report.ok and len(report.tables) == 5, report
    postgres.run("UPDATE crm_customers SET name = 'x' WHERE id = 1")
    assert sum(not table.equal for table in made.verify().tables) == 1


def test_the_plan_names_every_table(postgres: End, shop: End, crm: End, folder: Path) -> None:
    plan = stream(postgres, shop=shop, crm=crm, files=folder).plan()
    assert sorted(table.target.name for table in plan.tables) == NAMES
    assert tables(postgres) == []


def test_selections_and_queries_are_of_their_source(postgres: End, shop: End, crm: End) -> None:
    chosen = {"filters": [{"column": "id", "operator": ">", "value": 1}]}
    stream(
        postgres,
        shop=(shop, {"tables": [{"name": "customers", "selection": chosen}]}),
        crm=(crm, {"tables": [{"name": "customers"}],
                   "queries": [{"name": "count", "query": "SELECT count(*) AS n FROM customers"}]}),
    ).run()  # fmt: skip
    assert tables(postgres) == ["crm_count", "crm_customers", "shop_customers"]
    assert postgres.rows("SELECT id FROM shop_customers") == [(2,)]
    assert postgres.rows("SELECT count(*) FROM crm_customers") == [(3,)]
    assert postgres.rows("SELECT n FROM crm_count") == [(3,)]


def test_into_files(shop: End, crm: End, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stream(f"file://{out}?format=jsonl", shop=shop, crm=crm, files=folder).run()
    assert sorted(path.name for path in out.iterdir() if path.name[0] != "_") == NAMES
    [part] = (out / "crm_customers").glob("part-*")
    assert [json.loads(line)["name"] for line in part.read_text().splitlines()] == [
        "Cid", "Dee", "Eve",
    ]  # fmt: skip


def test_the_same_database_twice(postgres: End, shop: End) -> None:
    stream(postgres, a=shop, b=shop).run()
    assert tables(postgres) == ["a_customers", "a_orders", "b_customers", "b_orders"]
    found = [postgres.rows(f"SELECT * FROM {x}_orders ORDER BY id") for x in "ab"]
    assert found[0] == found[1] and len(found[0]) == 3


def test_one_source_needs_no_alias_and_gives_no_prefix(postgres: End, shop: End) -> None:
    stream(postgres, only=shop).run()
    assert tables(postgres) == ["customers", "orders"]


# Clashes


@pytest.mark.parametrize("aliases", [("a", "a"), (None, "b"), (None, None)])
def test_aliases_are_needed_and_unique(aliases: Any) -> None:
    made = document("postgresql://h/d", a="mysql://h/d", b="mysql://h/e")
    for connection, alias in zip(made["source"]["connections"], aliases, strict=True):
        connection["alias"] = alias
    with pytest.raises(ConfigError, match="alias"):
        Stream.from_config(made)


@pytest.mark.parametrize("alias", ["1a", "a-b", "a b", "ä", "a.b", "", '"', "_a"])
def test_an_alias_is_a_plain_word(alias: str) -> None:
    made = document("postgresql://h/d", a="mysql://h/d", b="mysql://h/e")
    made["source"]["connections"][1]["alias"] = alias
    with pytest.raises(ConfigError) as caught:
        Stream.from_config(made)
    assert "$.source.connections[1].alias" in str(caught.value)


def clashing(shop: End, crm: End) -> dict[str, Any]:
    """``a`` with ``b_t`` and ``a_b`` with ``t``: both would be ``a_b_t``."""
    shop.run("CREATE TABLE b_t (id INT PRIMARY KEY)", "INSERT INTO b_t VALUES (1)")
    crm.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (2)")
    return {
        "a": (shop, {"tables": [{"name": "b_t"}]}),
        "a_b": (crm, {"tables": [{"name": "t"}]}),
    }


def test_two_tables_of_one_name_are_never_mixed(target: End, shop: End, crm: End) -> None:
    made = stream(target, **clashing(shop, crm))
    with pytest.raises(StreamsError, match="a_b_t") as caught:
        made.run()
    assert caught.value.code == "TARGET_CONFLICT"
    assert tables(target) == []


def test_two_tables_of_one_folder_are_never_mixed(shop: End, crm: End, tmp_path: Path) -> None:
    made = stream(tmp_path / "out", **clashing(shop, crm))
    with pytest.raises(StreamsError, match="a_b_t") as caught:
        made.run()
    assert caught.value.code == "TARGET_CONFLICT"


def test_two_types_of_one_name_are_a_conflict(
    postgres: End, crm: End, pg15: Server, database: Any
) -> None:
    other = End(pg15, database(pg15))
    other.run("CREATE TYPE mood AS ENUM ('good')", "CREATE TABLE t (id int, m mood)")
    with pytest.raises(StreamsError, match="mood") as caught:
        stream(postgres, crm=crm, other=other).run()
    assert caught.value.code == "TARGET_CONFLICT"
    assert tables(postgres) == []


# Broken


def test_an_unreachable_source_is_named_and_nothing_is_made(
    postgres: End, shop: End, crm: End
) -> None:
    broken = "postgresql://nobody:s3cret@127.0.0.1:1/none"
    with pytest.raises(StreamsError) as caught:
        stream(postgres, shop=shop, lost=broken, crm=crm).run()
    assert caught.value.code == "CONNECTION_FAILED"
    assert "127.0.0.1" in str(caught.value) and "s3cret" not in str(caught.value.to_dict())
    assert tables(postgres) == []


def test_a_missing_table_of_one_source_is_named(postgres: End, shop: End, crm: End) -> None:
    with pytest.raises(StreamsError, match="nowhere") as caught:
        stream(postgres, shop=shop, crm=(crm, {"tables": [{"name": "nowhere"}]})).run()
    assert caught.value.code == "NOT_FOUND"
    assert tables(postgres) == []


@pytest.mark.parametrize("what", ["server", "table"])
def test_an_error_names_the_alias(postgres: End, shop: End, crm: End, what: str) -> None:
    """Two sources may be of one server and hold tables of one name."""
    lost = (crm, {"tables": [{"name": "nowhere"}]}) if what == "table" else (
        "postgresql://nobody@127.0.0.1:1/none")  # fmt: skip
    with pytest.raises(StreamsError) as caught:
        stream(postgres, shop=shop, zulu=lost).run()
    assert "zulu" in f"{caught.value} {caught.value.to_dict()}"


def test_a_bad_row_of_one_source_does_not_hold_up_the_others(
    postgres: End, shop: End, crm: End, folder: Path
) -> None:
    shop.run(
        "CREATE TABLE bad (id INT PRIMARY KEY, v VARCHAR(9))", "INSERT INTO bad VALUES (1, CHAR(0))"
    )
    made = stream(postgres, shop=shop, crm=crm, files=folder)
    with pytest.raises(StreamsError) as caught:
        made.run()
    assert caught.value.code == "ROW_REJECTED"
    assert "shop" in str(caught.value) and "bad" in str(caught.value)
    assert postgres.rows("SELECT count(*) FROM crm_customers") == [(3,)]
    assert postgres.rows("SELECT count(*) FROM shop_orders") == [(3,)]
    assert postgres.rows("SELECT count(*) FROM files_visits") == [(2,)]
    assert postgres.rows("SELECT count(*) FROM shop_bad") == [(0,)]


def test_a_malformed_file_of_one_source_is_named(postgres: End, shop: End, folder: Path) -> None:
    (folder / "visits.jsonl").write_text('{"id": 1}\n{"id": s3cret}\n')
    with pytest.raises(StreamsError, match=r"visits\.jsonl.*line 2") as caught:
        stream(postgres, shop=shop, files=folder).run()
    assert caught.value.code == "MALFORMED_FILE" and "s3cret" not in str(caught.value)


# Stopped and resumed


@pytest.fixture
def large(mysql9: Server, pg15: Server, database: Any) -> dict[str, End]:
    """Two sources, each with a table ``t`` of 20,000 rows; the contents differ."""
    found = {"my": End(mysql9, database(mysql9)), "pg": End(pg15, database(pg15))}
    for number, end in enumerate(found.values()):
        big(end, first=number * 1_000_000)
    return found


def halt(made: Stream, rows: int) -> None:
    with held(rows) as gate:
        made.start()
        gate.wait()
        made.stop()
        gate.open()
        assert made.wait(timeout=SECONDS) == "STOPPED"


def same(target: End, sources: dict[str, End]) -> None:
    for alias, end in sources.items():
        assert sums(end) == sums(target, f"{alias}_t"), alias


def test_a_stopped_run_goes_on_with_both(postgres: End, large: dict[str, End]) -> None:
    halt(stream(postgres, **large), 5000)
    first = sums(postgres, "my_t")[0] + sums(postgres, "pg_t")[0]
    assert 0 < first < 40_000
    again = stream(postgres, **large)
    assert again.run().rows == 40_000 - first
    same(postgres, large)
    assert records(postgres) == []


def test_one_changed_source_is_enough_to_load_again(postgres: End, large: dict[str, End]) -> None:
    halt(stream(postgres, **large), 5000)
    more(large["my"], "t", 10, first=500_000)
    again = stream(postgres, **large)
    again.run()
    assert "reloaded" in {finding.code for finding in again.stats().findings}
    same(postgres, large)


def test_a_checkpoint_of_other_sources_does_not_fit(postgres: End, large: dict[str, End]) -> None:
    halt(Stream.from_config(document(postgres, name="s", **large)), 5000)
    swapped = {"my": large["pg"], "pg": large["my"]}
    with pytest.raises(StreamsError) as caught:
        Stream.from_config(document(postgres, name="s", **swapped)).run()
    assert caught.value.code == "CHECKPOINT_MISMATCH"


def test_the_row_limit_is_of_all_sources_together(postgres: End, large: dict[str, End]) -> None:
    config = document(postgres, **large)
    first = Stream.from_config(config | {"limits": {"numberOfEvents": 21_000}})
    first.run()
    assert first.state == "EVENT_LIMIT_REACHED"
    there = [name for name in tables(postgres) if name.endswith("_t")]
    assert sum(sums(postgres, name)[0] for name in there) == 21_000
    Stream.from_config(config).run()
    same(postgres, large)
