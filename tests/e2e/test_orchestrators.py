"""The recipes for Airflow, Dagster and Prefect run as they are printed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from tests.support.databases import End

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/orchestrators.md").read_text()
BLOCK = re.compile(r"^<!-- executed (?:with )?([\w -]+) -->\n```python\n(.*?)^```$", re.M | re.S)
BLOCKS = dict(BLOCK.findall(PAGE))
PLAIN = BLOCKS.pop("beside servers")
ROWS = "SELECT id, v FROM t ORDER BY id"

CALLS = {
    "apache-airflow": """
import recipe, subprocess, sys
for words in (["db", "migrate"], ["dags", "reserialize"]):
    subprocess.run([sys.executable, "-m", "airflow", *words], check=True)
print("state", str(recipe.shop_dag.test().state) == "success")
""",
    "dagster": """
import dagster, recipe
print("state", dagster.materialize([recipe.shop], raise_on_error=False).success)
""",
    "prefect": """
import recipe
from prefect.testing.utilities import prefect_test_harness
with prefect_test_harness(server_startup_timeout=300):
    print("state", recipe.shop(return_state=True).is_completed())
""",
}
COUNTED = """

def counted(work):
    def call():
        with open("tries", "a") as tries:
            tries.write(".")
        return work()
    return call

copy_shop, follow_shop = counted(copy_shop), counted(follow_shop)
"""
MODULES = {"apache-airflow": "airflow"}


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Callable[..., str]) -> Iterator[dict[str, Any]]:
    made = {}
    for side, name in (("SOURCE", "mysql9"), ("TARGET", "pg18")):
        server = request.getfixturevalue(name)
        made[side] = End(server, database(server))
    made["SOURCE"].run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(20))",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
    )
    yield made


def test_the_plain_functions(ends: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = ends["SOURCE"], ends["TARGET"]
    monkeypatch.setenv("SOURCE", source.url)
    monkeypatch.setenv("TARGET", target.url)
    names: dict[str, Any] = {"__name__": "shop_tasks"}
    exec(compile(PLAIN, "shop_tasks.py", "exec"), names)
    for _ in range(2):
        assert names["copy_shop"]() == {"rows": 2, "tables": 1}
        assert target.rows(ROWS) == source.rows(ROWS)
    names["follow_shop"]()
    source.run("INSERT INTO t VALUES (3, 'three')", "DELETE FROM t WHERE id = 1")
    assert names["follow_shop"]()["rows"] == 2
    assert target.rows(ROWS) == source.rows(ROWS) == [(2, "two"), (3, "three")]
    Stream(source.url, target.url, name="shop-log", mode="cdc").release()


def python_with(package: str, tmp_path: Path) -> Path | str:
    """An interpreter that has the package: this one, else one of an environment made for it."""
    if importlib.util.find_spec(MODULES.get(package, package)) is not None:
        return sys.executable
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", package, str(ROOT)], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"{package} does not install here: {installed.stderr[-300:]}")
    return python


@pytest.mark.soak
@pytest.mark.parametrize("package", CALLS)
def test_a_recipe_runs_in_its_orchestrator(
    package: str, ends: dict[str, Any], tmp_path: Path
) -> None:
    python = python_with(package, tmp_path)
    (tmp_path / "shop_tasks.py").write_text(PLAIN + COUNTED)
    (tmp_path / "recipe.py").write_text(BLOCKS[package])
    source, target = ends["SOURCE"], ends["TARGET"]
    given = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "DAGSTER_HOME": "",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "SOURCE": source.url,
    }

    def told(url: str) -> str:
        ran = subprocess.run(
            [python, "-c", CALLS[package]], cwd=tmp_path, env={**given, "TARGET": url},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    assert "state True" in told(target.url)
    assert target.rows(ROWS) == source.rows(ROWS)
    wrong = target.url.replace(target.server.password, "wrong")
    refused = told(wrong)
    assert "state False" in refused and "Check user name and password" in refused
    assert (tmp_path / "tries").read_text() == ".."  # one each: this is not tried again
