"""The examples of docs/cluster.md, as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from distributed import LocalCluster

from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS
from tests.support.databases import End

TEXT = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SHOP = (
    "CREATE TABLE orders (id int PRIMARY KEY, total numeric(9,2))",
    "CREATE TABLE stock (sku text PRIMARY KEY, pieces int)",
    "INSERT INTO orders VALUES (1, 9.90), (2, 5)",
    "INSERT INTO stock VALUES ('a', 3)",
)


def test_the_examples_run(pg18: Server, pg15: Server, database: Any, local: LocalCluster) -> None:
    names: dict[str, Any] = {"scheduler": local.scheduler_address}
    for number, example in enumerate(EXAMPLES):
        source, target = End(pg18, database(pg18)), End(pg15, database(pg15))
        source.run(*SHOP)
        names |= {"source": source.url, "target": target.url}
        if "config" in example:
            target.run(*SHOP)
        lines = "from streams_engine import Stream\n" + example
        exec(compile(lines, f"docs/cluster.md, example {number + 1}", "exec"), names)
        for table in ("orders", "stock"):
            query = f"SELECT * FROM {table} ORDER BY 1"
            assert source.rows(query) == target.rows(query)
        assert source.rows(f"SELECT slot_name {OWN_SLOTS}") == []
    assert len(EXAMPLES) == 3


def test_the_seconds_are_those_of_the_code() -> None:
    from streams_engine.dask.cluster import JOIN_SECONDS

    assert JOIN_SECONDS == 5
    assert "at most five seconds" in TEXT
