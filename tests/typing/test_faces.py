"""The public faces are typed: a type checker and an editor know all that a user may say."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from streams_engine import AsyncEngine, AsyncStream, Engine, Stats, Stream
from streams_engine.config import documents, options
from streams_engine.config.keywords import KEYWORDS
from streams_engine.config.secret import BUILT_IN, Scheme
from streams_engine.engine import aio
from streams_engine.engine.configs import Configs
from streams_engine.engine.connections import Connections
from streams_engine.engine.files import Files
from streams_engine.engine.rows import Rows
from streams_engine.engine.streams import Streams
from streams_engine.events import Event, EventLog, subscribe
from streams_engine.query.editor import SqlHelp
from tests.support.input_types import described, hovered

HERE = Path(__file__).parent
ERROR = re.compile(r"^.*?(\w+\.py):(\d+): error: .*\[([\w-]+)\]$", re.M)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, set[str]]]:
    """By file, by line: the codes of mypy's errors, as a user's project would see them."""
    files = ("service.py", "misuses.py")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent",
         "--cache-dir", str(tmp_path_factory.mktemp("mypy")), "--no-error-summary",
         *(str(HERE / name) for name in files)],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found: dict[str, dict[int, set[str]]] = {name: {} for name in files}
    for name, line, code in ERROR.findall(ran.stdout):
        found[name].setdefault(int(line), set()).add(code)
    return found


def test_a_service_that_uses_every_face_is_clean(
    checked: dict[str, dict[int, set[str]]],
) -> None:
    assert checked["service.py"] == {}


def test_the_examples_are_clean() -> None:
    examples = HERE.parents[1] / "examples"
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent",
         "--no-error-summary", *sorted(map(str, examples.glob("*.py")))],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def said(checker: int) -> dict[int, set[str]]:
    """By line: the errors that the misuses name, mypy's (0) or pyright's (1)."""
    lines = (HERE / "misuses.py").read_text().splitlines()
    return {
        number: set(line.partition("  # E: ")[2].split("; ")[checker].split(", "))
        for number, line in enumerate(lines, 1)
        if "  # E: " in line
    }


def test_every_misuse_gives_the_errors_that_it_says(
    checked: dict[str, dict[int, set[str]]],
) -> None:
    assert checked["misuses.py"] == said(0)


def test_pyright_finds_the_same(tmp_path: Path) -> None:
    """In its standard mode, as Pylance in an editor: the service is clean, the misuses are not."""
    pytest.importorskip("basedpyright", reason="pyright is tried where tox installs it")
    files = {name: str(HERE / name) for name in ("service.py", "misuses.py")}
    settings = {"typeCheckingMode": "standard", "include": [*files.values()]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    ran = subprocess.run(
        [sys.executable, "-m", "basedpyright", "-p", str(tmp_path), "--outputjson",
         "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
    )  # fmt: skip
    found: dict[str, dict[int, set[str]]] = {path: {} for path in files.values()}
    for one in json.loads(ran.stdout)["generalDiagnostics"]:
        rules = found[one["file"]].setdefault(one["range"]["start"]["line"] + 1, set())
        rules.add(one.get("rule", one["message"]).removeprefix("report"))
    assert found[files["service.py"]] == {}
    assert found[files["misuses.py"]] == said(1)


# The keywords of Stream


def field(keyword: str) -> tuple[type[BaseModel], str]:
    """The document's model and attribute that a keyword stands for."""
    model: type[BaseModel] = documents.StreamDocument
    *parents, last = KEYWORDS[keyword]
    for step in parents:
        annotation = model.model_fields[attribute(model, step)].annotation
        assert isinstance(annotation, type)
        model = annotation
    return model, attribute(model, last)


def attribute(model: type[BaseModel], key: str) -> str:
    return next(n for n, one in model.model_fields.items() if key in (n, one.alias))


HINTS = typing.get_type_hints(options.StreamOptions)


def test_the_typed_keywords_are_those_that_stream_takes() -> None:
    assert set(HINTS) == set(KEYWORDS)


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_is_described_as_its_key(keyword: str) -> None:
    assert described(options)["StreamOptions", keyword] == hovered(*field(keyword))


def literals(annotation: Any) -> set[Any]:
    """Every text that an annotation names, also within."""
    inner = get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return set(inner)
    return {text for one in inner for text in literals(one)}


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_takes_the_texts_of_its_key(keyword: str) -> None:
    model, name = field(keyword)
    assert literals(HINTS[keyword]) == literals(model.model_fields[name].annotation)


EXAMPLES = {bool: True, int: 64 << 20, float: 2.5, str: "64MB"}
"""A value of each plain type."""


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_has_the_plain_types_of_its_key(keyword: str) -> None:
    """What the one takes the other takes too; bounds are not compared."""
    model, name = field(keyword)
    annotation = model.model_fields[name].annotation
    for kind, value in EXAMPLES.items():
        plain = HINTS[keyword] in (kind, kind | None)
        assert plain == (annotation in (kind, kind | None)) or keyword == "memory_budget", kind
        if plain:
            TypeAdapter(annotation).validate_python(value)


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        (options.LimitsDict, documents.Limits),
        (options.VerificationDict, documents.Verification),
        (options.StructureOptionsDict, documents.StructureOptions),
        (options.TypeOverrideDict, documents.TypeOverride),
        (options.DaskDict, documents.Dask),
    ],
)
def test_a_typed_document_has_the_keys_of_its_model(typed: type, model: type[BaseModel]) -> None:
    assert set(typed.__annotations__) == {
        one.alias or name for name, one in model.model_fields.items()
    }


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        ("LimitsDict", documents.Limits),
        ("VerificationDict", documents.Verification),
        ("StructureOptionsDict", documents.StructureOptions),
    ],
)
def test_a_key_of_a_typed_document_is_described_as_its_model(
    typed: str, model: type[BaseModel]
) -> None:
    told = described(options)
    for name, one in model.model_fields.items():
        if not one.is_required():
            assert told[typed, one.alias or name] == hovered(model, name)


def test_references_name_the_built_in_schemes() -> None:
    assert set(get_args(Scheme)) == set(BUILT_IN)


# The faces of asyncio

TWINS: list[tuple[type, type]] = [
    (Stream, AsyncStream),
    (Engine, AsyncEngine),
    (Connections, aio.AsyncConnections),
    (Configs, aio.AsyncConfigs),
    (Streams, aio.AsyncStreams),
    (Files, aio.AsyncFiles),
    (Rows, aio.AsyncRows),
    (SqlHelp, aio.AsyncSqlHelp),
]

AT_ONCE = {
    "stats",
    "health",
    "on_alert",
    "on_progress",
    "on_state",
    "on_record",
    "start",
    "pause",
    "resume",
    "stop",
}
"""Of `AsyncStream`: what does not block, and is not awaited."""


THREADED = {"asyncio.Event": "threading.Event"}
"""What an awaited method takes instead."""


def operations(kind: type) -> dict[str, Callable[..., Any]]:
    found = {name: one for name, one in inspect.getmembers(kind, callable) if name[0] != "_"}
    if kind is Streams:
        del found["close"]  # the engine's
    return found


def iterates(name: str) -> bool:
    """Return whether an operation gives its documents one by one."""
    return name == "all" or name.startswith("follow_")


def signature(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], str]:
    found = inspect.signature(function)
    given = list(found.parameters.values())
    returned = str(found.return_annotation).removeprefix("Async")
    return [
        one.replace(annotation=THREADED.get(one.annotation, one.annotation)) for one in given
    ], returned


@pytest.mark.parametrize(("face", "twin"), TWINS)
def test_the_awaited_twin_has_the_same_operations(face: type, twin: type) -> None:
    assert operations(twin).keys() == operations(face).keys()
    for name, function in operations(face).items():
        assert signature(operations(twin)[name]) == signature(function), name


@pytest.mark.parametrize(("face", "twin"), [pair for pair in TWINS[:2]])
def test_the_awaited_twin_is_made_as_the_other(face: Any, twin: Any) -> None:
    assert inspect.signature(twin) == inspect.signature(face)


def first_sentence(function: Callable[..., Any]) -> str:
    found = re.match(r".+?\.(?= [A-Z`]|$)", " ".join((function.__doc__ or "").split()))
    assert found is not None, function
    return found[0]


@pytest.mark.parametrize(("face", "twin"), TWINS)
def test_the_awaited_twin_is_described_as_the_other(face: type, twin: type) -> None:
    for name, function in operations(face).items():
        told = first_sentence(function).replace("Block until", "Wait until")
        assert first_sentence(operations(twin)[name]) == told, name


@pytest.mark.parametrize("twin", [twin for _, twin in TWINS])
def test_what_blocks_is_awaited(twin: type) -> None:
    for name, function in operations(twin).items():
        at_once = name == "from_config" or (twin is AsyncStream and name in AT_ONCE)
        iterated = iterates(name)
        assert inspect.iscoroutinefunction(function) != (at_once or iterated), name


class Recorder:
    """Stands for the object behind a face; keeps what is called."""

    def __init__(self) -> None:
        self.called: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.called.append((name, args, kwargs))
            return iter([{"name": name}] if iterates(name) else ["result"])

        return call


@pytest.mark.parametrize(("face", "twin"), TWINS[2:])
def test_every_operation_passes_all_that_it_is_given(face: type, twin: type) -> None:
    async def use() -> None:
        for name, function in operations(face).items():
            inner = Recorder()
            parameters = list(inspect.signature(function).parameters.values())[1:]
            values = {one.name: object() for one in parameters}
            result = getattr(twin(inner), name)(
                *(values[one.name] for one in parameters if one.kind is not one.KEYWORD_ONLY),
                **{
                    one.name: values[one.name] for one in parameters if one.kind is one.KEYWORD_ONLY
                },
            )
            if inspect.isawaitable(result):
                await result
            else:
                assert [one async for one in result] == [{"name": name}]
            ((called, args, kwargs),) = inner.called
            assert called == name
            assert {*args, *kwargs.values()} == set(values.values()), name

    asyncio.run(use())


# Callbacks


def test_ending_a_subscription_twice_leaves_the_same_callback_of_another() -> None:
    def keep(stats: Stats) -> None: ...

    callbacks = [keep]
    first, second = subscribe(callbacks, keep), subscribe(callbacks, keep)
    first()
    first()
    assert callbacks == [keep, keep]
    second()
    assert callbacks == [keep]


def test_a_listener_of_events_can_end_its_subscription() -> None:
    log, seen = EventLog("s"), []

    def keep(event: Event) -> None:
        seen.append(event.event)

    unsubscribe = log.listen(keep)
    log.note(20, "first", "1")
    unsubscribe()
    log.note(20, "second", "2")
    assert seen == ["first"]
