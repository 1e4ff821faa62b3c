"""Exit codes, what goes to which channel, and that no secret is ever among it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from streams_engine.cli import arguments as cli_arguments
from streams_engine.cli import main
from streams_engine.cli.error_output import error_line
from streams_engine.cli.exit_codes import MEANING, Exit
from streams_engine.cli.plan import plan_view
from streams_engine.contracts import Statement
from streams_engine.errors import ConfigError, ConnectionFailed, StreamsError
from streams_engine.lifecycle import State
from streams_engine.model import Finding, ObjectKind, ObjectRef, Severity, TableId
from streams_engine.pipeline.snapshot.plan import ColumnPlan, Plan, TablePlan
from tests.support.fake_stream import FINDINGS, LEFT, FakeStream, make_stats

URLS = ["mysql://root:hunter2@h/shop", "postgresql://me:hun@ter2@h/copy"]
SECRETS = ("hunter2", "hun@ter2", "ter2@")


def last_line(text: str) -> Any:
    return json.loads(text.splitlines()[-1])


# -- run -------------------------------------------------------------------------------------


def test_a_finished_run_is_reported_line_by_line(fake: FakeStream, capsys: Any) -> None:
    assert main(["run", *URLS]) == Exit.FINISHED
    out, err = capsys.readouterr()
    assert "finished shop.orders: 100 rows, 10.0 kB in 2.0 s (50/s)" in out
    assert "RUNNING copying: 50 rows" in out
    assert "FINISHED: 100 rows" in out
    assert "warning fulltext-index (2)" in out
    assert "not moved: view (2) shop.revenue, shop.best" in out
    assert "\x1b" not in out, "no colours and no cursor moves where there is no terminal"
    assert err == ""
    assert fake.closed and fake.fresh is False


def test_json_is_a_document_a_line_and_the_last_one_is_final(fake: FakeStream, capsys: Any) -> None:
    assert main(["run", "--json", "--fresh", *URLS]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [d["status"] for d in documents] == ["RUNNING", "FINISHED"]
    assert documents[-1]["nodes"][1]["stat"]["counter"] == 100
    assert documents[-1]["error"] is None
    assert fake.fresh is True


def test_quiet_says_nothing(fake: FakeStream, capsys: Any) -> None:
    assert main(["run", "--quiet", *URLS]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        (State.FINISHED, None, 0),
        (State.FAILED, ConnectionFailed("No answer.", remedy="Look at the server."), 1),
        (State.FAILED, ConfigError("Wrong."), 2),
        (State.STOPPED, None, 3),
        (State.TIME_LIMIT_REACHED, None, 4),
        (State.EVENT_LIMIT_REACHED, None, 4),
    ],
)
def test_each_end_has_its_exit_code(
    fake: FakeStream, capsys: Any, state: State, error: StreamsError | None, code: int
) -> None:
    fake.script[-1] = make_stats(state, error=error and error.to_dict())
    fake.error = error
    assert main(["run", "--json", *URLS]) == code
    out, err = capsys.readouterr()
    assert last_line(out)["status"] == state
    if error is not None:
        assert err == f"error [{error.code}]: {error}\n"
        assert last_line(out)["error"]["code"] == error.code


def test_ctrl_c_stops_cleanly(fake: FakeStream, capsys: Any) -> None:
    fake.script.insert(0, fake.script[0])
    fake.presses = {0}
    assert main(["run", *URLS]) == Exit.STOPPED
    out, err = capsys.readouterr()
    assert fake.stops == [False] and fake.closed
    assert "Press Ctrl-C again" in out
    assert err == "stopped; run the same command to continue\n"


def test_a_second_ctrl_c_stops_by_force(fake: FakeStream, capsys: Any) -> None:
    fake.script = [fake.script[0]] * 9
    fake.presses, fake.obeys = {0, 2}, 2
    assert main(["run", "--json", *URLS]) == Exit.STOPPED
    assert fake.stops == [False, True]
    assert last_line(capsys.readouterr().out)["status"] == "STOPPED"


# -- plan and verify -------------------------------------------------------------------------


SQL = "CREATE TABLE orders (total numeric(20))"


def the_plan(*more: Finding) -> Plan:
    """A plan of three tables, one of them with a long name."""
    columns = (
        ColumnPlan("id", "int", "int32", "integer"),
        ColumnPlan("total", "bigint unsigned", "uint64", "numeric(20)", ("wider",), True),
    )
    names = ("products", "notes", "orders", "x" * 60)
    tables = tuple(
        TablePlan(TableId("shop", name), TableId("public", name), columns, 60_000, 2_500_000)
        for name in names
    )
    made = Statement(SQL, ObjectRef(ObjectKind.TABLE, table=tables[2].target), tables[2].target)
    return Plan(tables, (made,), (*FINDINGS, *more), LEFT)


ORPHANS = Finding(Severity.ERROR, "orphans", "foreign key fk of public.orders", "3 rows.", "Fix.")


def test_a_plan_is_a_line_a_table_its_findings_and_a_count(fake: FakeStream, capsys: Any) -> None:
    fake.document = the_plan()
    assert main(["plan", *URLS]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [" ".join(line.split()) for line in lines]
    assert told[0] == "table rows, about size becomes changes findings"
    assert told[1] == "shop.products 60,000 2.50 MB public.products total numeric(20) 1 warning"
    assert told[3] == "shop.orders 60,000 2.50 MB public.orders total numeric(20)"
    assert f"shop.{'x' * 60}" in told[4] and SQL not in "".join(lines)
    assert lines[6:10] == [
        "warning fulltext-index (2)",
        "  Becomes a GIN index.",
        "    shop.products.words, shop.notes.words",
        "not moved: view (2) shop.revenue, shop.best",
    ]
    assert told[-2] == (
        "Plan: 4 tables, about 240,000 rows, 10.0 MB, 1 statement, 2 warnings; not moved: 2 views"
    )
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_line_of_a_plan_fits_the_terminal(width: int) -> None:
    out = Console(width=width, file=StringIO(), force_terminal=True, color_system=None)
    out.print(plan_view(the_plan(ORPHANS), width=width))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in lines)
    assert sum("60,000  2.50 MB" in line for line in lines) == 4, "numbers stay whole"
    assert sum("1 error" in line for line in lines) == 2
    heads = "table of shop" in lines[0] and "in public" in lines[0]
    assert heads == (width < 200), "a schema that all tables share is named once"


def test_a_table_of_a_plan_is_shown_with_columns_and_statements(
    fake: FakeStream, capsys: Any
) -> None:
    fake.document = the_plan(ORPHANS)
    assert main(["plan", *URLS, "--table", "orders", "--accept", "orphans"]) == 0
    out, err = capsys.readouterr()
    assert "shop.orders → public.orders, about 60,000 rows" in out and "wider" in out
    assert SQL in out and "orphans" in out and "fulltext" not in out and err == ""
    assert main(["plan", *URLS, "--table", "ordres"]) == 2
    assert "Similar names: orders." in capsys.readouterr().err


def test_a_plan_in_a_file_has_all_findings_and_wraps_nothing(fake: FakeStream, capsys: Any) -> None:
    long = "x" * 300
    fake.document = the_plan(
        *(Finding(Severity.WARNING, "zero-dates", f"t{n}", f"{n} {long}") for n in range(20))
    )
    assert main(["plan", *URLS]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("warning zero-dates (20)")
    assert lines[at + 1 : at + 21] == [f"  t{n}: {n} {long}" for n in range(20)]


def test_plan_sql_is_nothing_but_statements(fake: FakeStream, capsys: Any) -> None:
    fake.document = the_plan()
    assert main(["plan", "--sql", *URLS]) == 0
    assert capsys.readouterr().out == f"{SQL};\n"


def test_plan_as_json(fake: FakeStream, capsys: Any) -> None:
    fake.document = the_plan()
    assert main(["plan", "--json", *URLS]) == 0
    told = json.loads(capsys.readouterr().out)["tables"][0]
    assert (told["changes"], told["findings"], told["bytes"]) == (["total numeric(20)"], 1, 2500000)


# -- findings of severity error --------------------------------------------------------------


def test_a_run_that_finished_with_errors_says_so(fake: FakeStream, capsys: Any) -> None:
    done = make_stats(State.FINISHED, findings=(*FINDINGS, ORPHANS))
    fake.script[-1] = done
    assert main(["run", *URLS]) == Exit.ERRORS_TOLD
    out, err = capsys.readouterr()
    assert "FINISHED with 1 error:" in out
    assert err == "1 error was found: orphans (1). If you want it so: --accept orphans\n"
    assert done.errors == (ORPHANS,) and "FINISHED with 1 error" in str(done)


@pytest.mark.parametrize(
    ("accepted", "code"), [("orphans", Exit.FINISHED), ("orphan", Exit.ERRORS_TOLD)]
)
def test_errors_that_are_accepted_are_none(
    fake: FakeStream, capsys: Any, accepted: str, code: Exit
) -> None:
    fake.script[-1] = make_stats(State.FINISHED, findings=(ORPHANS,))
    assert main(["run", *URLS, "--accept", accepted]) == code
    assert ("--accept orphans" in capsys.readouterr().err) == (code is Exit.ERRORS_TOLD)


def test_a_plan_with_errors_says_so(fake: FakeStream, capsys: Any) -> None:
    fake.document = the_plan(ORPHANS)
    assert main(["plan", *URLS]) == Exit.ERRORS_TOLD
    assert "orphans (1)" in capsys.readouterr().err
    assert main(["plan", *URLS, "--accept", "orphans"]) == Exit.FINISHED


@pytest.mark.parametrize(("equal", "code"), [(True, 0), (False, 5)])
def test_verify_tells_equal_from_different(
    fake: FakeStream, capsys: Any, equal: bool, code: int
) -> None:
    verdict = SimpleNamespace(
        table=TableId("shop", "orders"),
        source_rows=100,
        target_rows=100,
        equal=equal,
        differing=0 if equal else 2,
        keys=() if equal else ("7", "9"),
        note=None,
    )
    fake.document = SimpleNamespace(
        ok=equal,
        same_structure=True,
        structure=(),
        tables=(verdict,),
        to_dict=lambda: {"ok": equal},
    )
    assert main(["verify", *URLS]) == code
    assert ("equal" if equal else "DIFFERENT at 7, 9") in capsys.readouterr().out
    assert main(["verify", "--json", *URLS]) == code
    assert json.loads(capsys.readouterr().out) == {"ok": equal}


# -- from arguments to the document ----------------------------------------------------------


def test_two_urls_and_options_make_a_nested_document() -> None:
    made = cli_arguments.document(
        cli_arguments.Arguments(
            URLS,
            tables=("a", "b"),
            write_mode="upsert",
            schema_policy="drop_and_recreate",
            bundle_size=100,
            limit_rows=7,
            settings=("options.onError=quarantine", "target.spec.db.skipData=true"),
        )
    )
    assert made == {
        "mode": "convert",
        "source": {
            "connections": [{"connection": URLS[0], "tables": [{"name": "a"}, {"name": "b"}]}],
            "options": {"dataBundleSize": 100},
        },
        "target": {
            "connection": URLS[1],
            "spec": {
                "db": {
                    "createDatabase": False,
                    "writeMode": "upsert",
                    "schemaPolicy": "drop_and_recreate",
                    "skipData": True,
                }
            },
        },
        "limits": {"numberOfEvents": 7},
        "options": {"onError": "quarantine"},
    }


def test_options_change_a_flat_document_in_its_own_terms(tmp_path: Path) -> None:
    config = tmp_path / "flat.json"
    config.write_text('{"source": "conn_1", "target": "conn_2", "mode": "convert"}')
    made = cli_arguments.document(
        cli_arguments.Arguments([str(config)], bundle_size=10, tables=("a",))
    )
    assert made["dataBundleSize"] == 10 and made["tables"] == [{"name": "a"}]
    with pytest.raises(ConfigError, match="no key for --write-mode"):
        cli_arguments.document(cli_arguments.Arguments([str(config)], write_mode="upsert"))


@pytest.mark.parametrize("text", ['{"c1": {"type": "mysql"}}', '[{"id": "c1", "type": "mysql"}]'])
def test_connections_come_by_id(tmp_path: Path, text: str) -> None:
    path = tmp_path / "connections.json"
    path.write_text(text)
    assert cli_arguments.connections_of(path)["c1"]["type"] == "mysql"


# -- bad usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], "USAGE", "Missing argument"),
        (["run", URLS[0]], "INVALID_CONFIG", "The target is missing."),
        (["run", *URLS, URLS[0]], "INVALID_CONFIG", "got 3 arguments"),
        (["run", "nowhere.json"], "INVALID_CONFIG", "nowhere.json cannot be read"),
        (["run", *URLS, "--bundle-size", "many"], "USAGE", "--bundle-size"),
        (["run", *URLS, "--no-such"], "USAGE", "--no-such"),
        (["run", *URLS, "--set", "what"], "INVALID_CONFIG", "--set expects KEY=VALUE."),
        (["run", *URLS, "--set", "mode.a.b=1"], "INVALID_CONFIG", "no key mode.a.b"),
        (["walk"], "USAGE", "walk"),
        (["demo", "--mysql", "--postgres"], "USAGE", "Choose either"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    fake: FakeStream, capsys: Any, arguments: list[str], code: str, words: str
) -> None:
    assert main([*arguments, "--json"] if arguments[0] == "run" else arguments) == Exit.USAGE
    out, err = capsys.readouterr()
    assert err.startswith(f"error [{code}]: ") and err.count("\n") == 1 and words in err
    assert not any(secret in out + err for secret in SECRETS)
    if arguments[0] == "run":
        assert json.loads(out)["error"]["code"] == code


def test_broken_json_is_named_by_place_and_never_quoted(
    tmp_path: Path, fake: FakeStream, capsys: Any
) -> None:
    config = tmp_path / "c.json"
    config.write_text('{"password": "hunter2",\n oops}')
    assert main(["run", str(config)]) == Exit.USAGE
    err = capsys.readouterr().err
    assert "line 2, column 2" in err and "hunter2" not in err


def test_the_log_becomes_warnings_and_never_a_second_error(
    fake: FakeStream, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(fresh: bool = False) -> None:
        logging.getLogger("streams_engine.stream").warning("A key means nothing here.")
        logging.getLogger("streams_engine.stream").error("stream failed")
        raise ConnectionFailed("No answer.")

    monkeypatch.setattr(fake, "start", start)
    assert main(["run", *URLS]) == Exit.FAILED
    assert capsys.readouterr().err.splitlines() == [
        "warning: A key means nothing here.",
        "error [CONNECTION_FAILED]: No answer.",
    ]


def test_a_fault_of_ours_shows_no_traceback_and_no_text_unless_asked(
    fake: FakeStream, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(fresh: bool = False) -> None:
        raise RuntimeError("dsn=hunter2")

    monkeypatch.setattr(fake, "start", burst)
    assert main(["run", *URLS]) == Exit.FAILED
    err = capsys.readouterr().err
    assert err.startswith("error [INTERNAL_ERROR]: Unexpected RuntimeError.")
    assert "hunter2" not in err and err.count("\n") == 1
    assert main(["run", "--debug", *URLS]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "message",
    [*URLS, "password=hunter2 host=h", "{'password': 'hunter2'}", "s3://b?secretKey=hunter2&x=1"],
)
def test_an_error_line_holds_no_secret(message: str) -> None:
    line = error_line("X", message, "Try\n again.")
    assert not any(secret in line for secret in SECRETS) and "***" in line
    assert line.startswith("error [X]: ") and line.endswith("Try again.")


def test_an_error_line_keeps_that_a_password_was_used() -> None:
    line = error_line("X", "Access denied for user 'me' (using password: YES).")
    assert line.endswith("(using password: YES).")


# -- the process -----------------------------------------------------------------------------


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams_engine.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"COLUMNS": "100"},
    )


def test_version_and_help_as_a_process() -> None:
    shown = process("--version")
    assert (shown.returncode, shown.stderr) == (0, "") and "streams-engine" in shown.stdout
    helped = process("run", "--help")
    assert helped.returncode == 0
    assert all(f"{code.value}  {meaning}" in helped.stdout for code, meaning in MEANING.items())
    assert process("walk").returncode == Exit.USAGE


def test_without_its_extra_the_command_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['typer'] = None\n"
        "from streams_engine.cli import main; sys.exit(main(['run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == Exit.USAGE
    assert "pip install 'streams-engine[cli]'" in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_option_refers_to_the_help_of_its_command(capsys: Any) -> None:
    assert main(["verify", "--smaple", "1", "a", "b"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("See: streams-engine verify --help")
    assert main(["veriyf"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("See: streams-engine --help")
