"""The documentation: its code runs, its documents are valid, its tables are complete."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import streams_engine
from streams_engine import AsyncEngine, AsyncStream, Engine, State, Stats, Stream, errors, telemetry
from streams_engine.adapters.files.stores import store
from streams_engine.cli.exit_codes import MEANING
from streams_engine.config import parse_connection, server_urls
from streams_engine.config.flat import FLAT_KEYS
from streams_engine.config.stream import parse_config
from streams_engine.contracts import (
    Adapter,
    ChangeSource,
    CheckpointStorage,
    LagSource,
    LayoutSink,
    Sink,
    Source,
    StructureSink,
    TableWriter,
)
from streams_engine.engine.configs import Configs
from streams_engine.engine.connections import Connections
from streams_engine.engine.files import Files
from streams_engine.engine.rows import Rows
from streams_engine.engine.streams import Streams
from streams_engine.errors import StreamsError
from streams_engine.events import OF_EVENTS
from streams_engine.faults import POINTS
from streams_engine.lifecycle import TRANSITIONS
from streams_engine.model import TableId, TypeKind
from streams_engine.schema.mapping.mysql_to_postgres_types import RULES
from streams_engine.schema.types import files, mysql, postgres
from streams_engine.stats import ChangeStats, Counters

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("tutorials", "howto", "explanations", "notebooks")
PAGES = sorted(
    page for folder in (DOCS, *(DOCS / name for name in FOLDERS)) for page in folder.glob("*.md")
)
TEXTS = {page.name: page.read_text() for page in (*PAGES, ROOT / "README.md")}
FENCED = re.compile(r"^(<!-- executed -->\n)?```(\w+)\n(.*?)^```$", re.M | re.S)


def load_hook(name: str) -> ModuleType:
    """As mkdocs does."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"hooks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = load_hook("reference")
pictures = load_hook("pictures")
type_tables = load_hook("type_tables")
measurements = load_hook("measurements")
tables = load_hook("tables")


def blocks(page: str, language: str, *, executed: bool = False) -> list[str]:
    found = FENCED.findall(TEXTS[page])
    return [text for mark, kind, text in found if kind == language and (mark or not executed)]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, up to the next one."""
    section = re.split(r"^##+ ", TEXTS[page].split(f"# {heading}\n", 1)[1], flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


# Code

EXECUTED = [name for name, text in TEXTS.items() if "<!-- executed -->" in text]


@pytest.mark.parametrize("page", EXECUTED)
def test_what_needs_no_server_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store._made.cache_clear()  # it keeps where a relative path led to at first
    namespace: dict[str, Any] = {"__name__": page}
    for text in blocks(page, "python", executed=True):
        exec(compile(text, page, "exec"), namespace)


KNOWN: dict[str, type] = {
    "stream": Stream,
    "engine": Engine,
    "engine.connections": Connections,
    "engine.configs": Configs,
    "engine.streams": Streams,
    "stats": Stats,
    "changes": ChangeStats,
    "error": StreamsError,
}
"""What names of the examples stand for."""

OF_ERRORS = ("message", "remedy", "details")
"""What an error has that its class does not."""


def python() -> Iterator[tuple[str, str]]:
    for name in TEXTS:
        yield from ((name, text) for text in blocks(name, "python"))


@pytest.mark.parametrize(("page", "text"), list(python()))
def test_names_in_examples_are_there(page: str, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("streams_engine"):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.Attribute):
            known = KNOWN.get(ast.unparse(node.value))
            if known is not None:
                fields = {*dir(known), *known.__annotations__, *OF_ERRORS}
                assert node.attr in fields, ast.unparse(node)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for page in PAGES:
        for text in blocks(page.name, "json"):
            if text.lstrip().startswith("{"):
                yield page.name, json.loads(text)


@pytest.mark.parametrize(("page", "document"), list(documents()))
def test_documents_are_valid(page: str, document: dict[str, Any]) -> None:
    if "mode" not in document:
        parse_connection(document)
        return
    known = {"conn_1": "mysql://reader@db1/shop", "conn_2": "postgresql://me@db2/shop"}
    assert not parse_config(document, known).warnings


# The site


def navigation() -> list[str]:
    return re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(navigation()) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as mkdocs makes them."""
    text = re.sub(
        r'^--8<-- "(.+\.md)"$', lambda part: (ROOT / part[1]).read_text(), TEXTS[page], flags=re.M
    )
    text = FENCED.sub("", reference.filled(text))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    plain = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", reference.filled(TEXTS[page.name]))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), target
        if anchor:
            assert anchor in anchors(there.name), target


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_what_is_included_is_there(page: str) -> None:
    for path in re.findall(r'^--8<-- "(.+)"$', TEXTS[page], re.M):
        assert (ROOT / path).is_file(), path


PLACES = [f"/{path.relative_to(ROOT)}" for part in ("streams_engine", "tests", "docs", "examples")
          for path in (ROOT / part, *(ROOT / part).rglob("*"))]  # fmt: skip


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", DOCS / "architecture.md"])
def test_modules_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`([\w/*.]+(?:\.py|/))`", page.read_text())
    assert len(named) > 20
    assert [name for name in named if not fnmatch.filter(PLACES, f"*/{name.rstrip('/')}")] == []


def test_every_example_is_shown() -> None:
    shown = re.findall(r'^--8<-- "examples/(.+)"$', TEXTS["examples.md"], re.M)
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_the_site_fetches_nothing() -> None:
    settings = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in settings
    assert not re.search(r"extra_javascript|https?:", settings)
    for text in (settings, *TEXTS.values()):
        assert not re.search(r"<(script|link|img)\b", text)
    drawing = '<head></head><pre class="mermaid"></pre>'
    page = SimpleNamespace(url="explanations/values/")
    assert '<head><script src="../../assets/mermaid.tiny.js">' in pictures.on_post_page(
        drawing, page
    )
    assert (DOCS / pictures.MERMAID).is_file(), "else the theme fetches it"
    assert pictures.on_post_page("<head></head>", page) == "<head></head>"
    for picture in (DOCS / "assets").glob("*.svg"):
        text = picture.read_text()
        assert not re.search(r"<script|@import|url\(|href", text), picture


@pytest.mark.parametrize("name", list(pictures.PANELS))
def test_what_is_plotted_was_measured(name: str) -> None:
    results = pictures.RESULTS.read_text()
    for panel in pictures.PANELS[name]:
        for bar in pictures.bars(panel, results):
            assert 0 < bar.least <= bar.value <= bar.most, bar
            if panel.rates:
                assert f"| {bar.value:,.0f} |" in results
    drawn = ElementTree.fromstring(pictures.plotted(pictures.PANELS[name], results))
    assert len(drawn.findall(".//rect")) == sum(len(p.works) for p in pictures.PANELS[name])
    assert name in pictures.MARKER.findall(TEXTS["index.md"])


# The configuration reference

MODELS = list(reference.models())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_a_meaning(model: Any) -> None:
    silent = [key.name for key in reference.keys(model) if not key.meaning.endswith((".", ")"))]
    assert not silent


def test_every_key_of_a_document_is_in_the_reference() -> None:
    page = reference.filled(TEXTS["configuration.md"])
    assert "<!-- generated" not in page
    for model in MODELS:
        for field in model.model_fields.values():
            assert field.alias is None or f"| `{field.alias}` |" in page
    assert "| `dataBundleSize` | whole number | `500` | 10 to 1000 |" in page
    assert "| `memoryBudget` | whole number or text | `256MB` | at least 16MB |" in page
    assert "| `mode` | text | required | `convert`, `cdc` |" in page
    assert "### `source.connections[].tables[].selection.filters[]`" in page
    assert "`target.spec.s3.format` has the keys of `target.spec.files.format`." in page


def test_every_flat_key_is_told() -> None:
    told = {
        name for row in rows("configuration.md", "The flat document") for name in quoted(row[0])
    }
    assert told == FLAT_KEYS


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# The tables


def test_every_error_is_told_as_it_is() -> None:
    found = [getattr(errors, name) for name in errors.__all__ if name != "StreamsError"]
    told = {
        name: (code, category, retry)
        for code, name, category, retry in re.findall(
            r"^### (\w+)\n\n`(\w+)` · `(\w+)` · (retryable|not retryable)\n\n"
            r"(?=.+\n\n\*\*What to do:\*\* .+)",
            TEXTS["errors.md"],
            re.M,
        )
    }
    assert set(told) == {cls.__name__ for cls in found}
    for cls in found:
        retry = "retryable" if cls.retryable else "not retryable"
        assert told[cls.__name__] == (cls.code, cls.category, retry)


MADE_BY_NAME = {"max-replication-slots", "max-wal-senders"}
"""Codes of findings that are made of the name of a setting."""


def finding_codes() -> set[str]:
    """The codes of the findings that are made by name, wherever that is."""
    codes: set[str] = set()
    for path in (ROOT / "streams_engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            place = {"Finding": 1, "warning": 0, "warn": 0, "_error": 0}.get(
                ast.unparse(node.func).rsplit(".")[-1]
            )
            if place is None or len(node.args) < 3:
                continue
            code = node.args[place]
            if isinstance(code, ast.Constant) and re.fullmatch("[a-z-]+", str(code.value)):
                codes.add(str(code.value))
    return codes


def test_every_finding_is_told_and_there() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "streams_engine").rglob("*.py"))
    cells = re.findall(r"^\| ((?:`[a-z0-9-]+`(?:, )?)+) \|", TEXTS["findings.md"], re.M)
    told = [code for cell in cells for code in quoted(cell)]
    assert finding_codes() - {*told} == set()
    assert [c for c in told if f'"{c}"' not in sources and c not in MADE_BY_NAME] == []
    assert len(told) == len({*told}) + told.count("server-version") - 1


def test_what_troubleshooting_names_is_there() -> None:
    """Each symptom has a cause and a remedy; the codes of its heading are told elsewhere."""
    told = {cls.code for cls in (getattr(errors, name) for name in errors.__all__)}
    told |= set(quoted(TEXTS["findings.md"]))
    symptoms = re.split(r"^### ", TEXTS["troubleshooting.md"], flags=re.M)[1:]
    assert len(symptoms) > 30
    for symptom in symptoms:
        heading, _, text = symptom.partition("\n")
        codes = [
            code for code in quoted(heading) if re.fullmatch(r"[A-Z_]+|[a-z]+(-[a-z]+)+", code)
        ]
        assert {*codes} - {"streams-engine"} <= told, heading
        assert "**Do:**" in text, heading


def events() -> dict[str, int]:
    """The events that are noted by name, wherever that is; and with how many levels."""
    names: dict[str, int] = {}
    for path in (ROOT / "streams_engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ournal.note")):
                continue
            if isinstance(node.args[1], ast.Constant):
                names[node.args[1].value] = names.get(node.args[1].value, 0) + 1
    return names


def test_every_event_is_told_with_its_category() -> None:
    told = {quoted(row[0])[0]: row[1] for row in rows("events.md", "Events")[1:] if quoted(row[0])}
    assert set(told) == set(events())
    assert {name: told[name] for name in OF_EVENTS} == OF_EVENTS
    others = {told[name] for name in told if name not in OF_EVENTS}
    assert others == {"general", "error"}, "failed is of level ERROR"


def test_every_metric_is_told() -> None:
    counters = Counters()
    counters.follow()
    counters.expect(TableId("s", "t"), 1)
    counters.behind(1, 1)
    given = {"config_id": "c", "stream_id": "s", "intervals": (3, 3), "error": None}
    text = counters.freeze(name="n", state=State.RUNNING, **given).to_prometheus()
    told = {quoted(row[0])[0]: row[1] for row in rows("events.md", "Metrics")[1:]}
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    assert told == families
    for name, kind in told.items():
        assert kind == ("counter" if name.endswith("_total") else "gauge")


def test_every_fault_point_is_told_and_reached() -> None:
    told = re.findall(
        r"^\| `([\w ]+: [\w ]+)` \|", reference.filled(TEXTS["fault-points.md"]), re.M
    )
    assert told == list(POINTS)
    sources = "".join(path.read_text() for path in (ROOT / "streams_engine").rglob("*.py"))
    assert [point for point in POINTS if f'reach("{point}")' not in sources] == []


def test_every_type_of_a_source_is_told() -> None:
    names = {origin: {t.name for _, t, _ in of.types} for origin, of in type_tables.ORIGINS.items()}
    unsigned = {t.name for _, t, _ in type_tables.ORIGINS["mysql"].types if t.unsigned}
    assert names["mysql"] == set(mysql.NAMES.values())
    assert unsigned == {rule.removesuffix(" unsigned") for rule in RULES if "unsigned" in rule}
    assert names["postgresql"] >= set(postgres.TYPNAMES.values())
    kinds = {t.kind for _, t, _ in type_tables.ORIGINS["postgresql"].types}
    assert kinds >= {*TypeKind} - {TypeKind.SET, TypeKind.MULTIRANGE}
    assert names["files"] >= {files.family(arrow) for arrow in files.ARROW.values()}
    assert set(type_tables.MARKER.findall(TEXTS["types.md"])) == set(type_tables.ORIGINS)


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ("mysql", "| `bigint unsigned` | `numeric(20)` | the same | the same | `uint64` |  |"),
        ("mysql", "| `uuid` | the same | `char(36)` | the same | `string` |  |"),
        ("postgresql", "| `boolean` | the same | `tinyint(1)` | `tinyint(1)` | `bool` |  |"),
        ("files", "| `uint64` | `numeric(20)` | `bigint unsigned` | `bigint unsigned` |  |"),
    ],
)
def test_types_are_told_as_they_are_mapped(origin: str, line: str) -> None:
    assert line in type_tables.filled(f"<!-- types: {origin} -->").splitlines()


def test_every_state_is_told_as_it_is() -> None:
    told = {row[0].strip("`"): row[2] for row in rows("guide.md", "States")[1:]}
    assert set(told) == {str(state) for state in TRANSITIONS}
    for state, moves in TRANSITIONS.items():
        if len(moves) < 6:
            named = set(quoted(told[str(state)]))
            assert named == {str(move) for move in moves}, state
        assert (told[str(state)] == "final") == state.final


def test_every_exit_code_is_told_as_it_is() -> None:
    told = dict(rows("guide.md", "On the command line")[1:])
    assert told == {str(code.value): meaning for code, meaning in MEANING.items()}


def test_every_parameter_of_a_url_is_told() -> None:
    told = {name for row in rows("configuration.md", "URLs")[1:] for name in quoted(row[-1])}
    known = {name for names in server_urls.NAMES.values() for name in names}
    assert told == known | {"format", "region", "endpoint"}


def test_every_key_of_the_stats_is_told() -> None:
    counters = Counters()
    counters.follow()
    counters.expect(TableId("s", "t"), 1)
    given = {"config_id": "c", "stream_id": "s", "intervals": (3, 3), "error": None}
    stats = counters.freeze(name="n", state=State.READY, **given).to_dict()
    told = {key: row[1] for row in rows("configuration.md", "The stats document")[1:]
            for key in quoted(row[0])}  # fmt: skip
    assert {key.removesuffix("[]") for key in told} == {*stats, "nodes[].stat"}
    below = {
        "nodes[]": stats["nodes"][0],
        "nodes[].stat": stats["nodes"][0]["stat"],
        "tables[]": stats["tables"][0],
        "changes": stats["changes"],
    }
    for place, document in below.items():
        assert set(quoted(told[place])) == set(document), place


def test_every_instrument_is_told() -> None:
    told = {name for row in rows("engine.md", "Telemetry")[1:] for name in quoted(row[0])}
    names = {*telemetry.COUNTED.values(), *telemetry.LAGS.values(), "transactions", "run"}
    assert told == {f"{telemetry.SCOPE}.{name}" for name in names}


def operations(kind: type) -> set[str]:
    """What a user calls."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_") and name != "close"}


def test_every_operation_of_an_engine_is_told() -> None:
    table = "\n".join(row[1] for row in rows("engine.md", "From the REST API to Python"))
    for part, kind in (
        ("connections", Connections),
        ("configs", Configs),
        ("streams", Streams),
        ("files", Files),
        ("rows", Rows),
    ):
        assert set(re.findall(rf"engine\.{part}\.(\w+)\(", table)) == operations(kind)
    assert operations(Engine) <= set(re.findall(r"engine\.(\w+)\(", table))


def test_the_api_page_has_every_public_name() -> None:
    shown = set(re.findall(r"^::: streams_engine\.(\w+)$", TEXTS["api.md"], re.M))
    assert "::: streams_engine.errors\n" in TEXTS["api.md"]
    wanted = {name for name in streams_engine.__all__ if name[0] != "_"} - set(errors.__all__)
    assert wanted <= shown
    members = re.findall(r"- (\w+)$", TEXTS["api.md"], re.M)
    assert set(members) == operations(Connections)


def test_the_awaited_twins_lack_nothing() -> None:
    """What the pages say of them is true."""
    assert operations(Stream) - operations(AsyncStream) == set()
    assert operations(Engine) - operations(AsyncEngine) == set()


@pytest.mark.parametrize(
    "seam", [Source, Sink, ChangeSource, CheckpointStorage], ids=lambda seam: seam.__name__
)
def test_every_method_of_a_seam_is_told(seam: type) -> None:
    told = set(re.findall(r"`(\w+)[`(]", TEXTS["adapters.md"]))
    methods = {name for name, _ in inspect.getmembers(seam, inspect.isfunction) if name[0] != "_"}
    assert methods <= told


@pytest.mark.parametrize(
    "seam",
    [Adapter, ChangeSource, CheckpointStorage, LagSource, LayoutSink, StructureSink, TableWriter],
)
def test_every_further_seam_is_named(seam: type) -> None:
    assert f"`{seam.__name__}`" in TEXTS["adapters.md"]


@pytest.mark.parametrize("table", ["What each tool is", "The first copy", "Following changes"])
def test_what_is_said_of_a_tool_leads_to_its_source(table: str) -> None:
    """Each cell has a link, or says that nothing was found."""
    page = TEXTS["comparison.md"]
    assert re.search(r"read on \d+ \w+ 20\d\d", page)
    defined = set(re.findall(r"^\[([\w-]+)\]: https://", page, re.M))
    assert {*re.findall(r"\]\[([\w-]+)\]", page)} == defined
    found = rows("comparison.md", table)[1:]
    assert len(found) == 7 and all(len(row) == len(found[0]) for row in found)
    bare = [cell for row in found for cell in row[1:] if "](" not in cell and "][" not in cell]
    assert {cell.strip("| ") for cell in bare} <= {"not stated"}


def test_no_measurement_is_left_out() -> None:
    """The page of benchmarks lists each comparison and each missed target of the results."""
    results = measurements.RESULTS.read_text()
    found = measurements.comparisons(results)
    ratios = re.findall(
        r"^\| (?!ours)[^*\n]*?\| [\d,]+ \| [^|\n]+\| [\d,]+ \| [\d,]* *\| \d+\.\d\d \|",
        results,
        re.M,
    )
    assert len(found) == len(ratios), "whatever a contender read, it is listed"
    assert any(one.rows == "149,504 of 300,000" for one in found)
    assert len(measurements.missed(results)) == results.count("| **missed** |")
    assert {one.run for one in found} == set("ABEF")
    page = measurements.filled(TEXTS["results.md"])
    assert "<!-- measured" not in page
    for one in found:
        assert (
            f"| {one.case} | {one.contender} | {one.rows} | {one.ratio:.2f} | {one.run} |" in page
        )
    for run in set(re.findall(r"\*\*Run (\w)\*\*", results)):
        assert f"\n| {run} | " in TEXTS["results.md"]


def test_cells_of_tables_name_their_columns() -> None:
    table = (
        "<table>\n<thead>\n<tr>\n<th>key</th>\n<th>a &amp; b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n"
        '<td><code>x</code></td>\n<td style="text-align: right;"> </td>\n</tr>\n</tbody>\n</table>'
    )
    html = tables.on_page_content(f"{table}<table class='dataframe'><td>1</td></table>")
    assert '<td data-label="key"><code>x</code></td>' in html
    assert '<td style="text-align: right;" data-label="a &amp; b"></td>' in html
    assert "<table class='dataframe'><td>1</td></table>" in html
