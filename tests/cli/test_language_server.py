"""`streams-engine lsp`: a whole session of an editor, played by pytest-lsp's client."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.cli import main

types = pytest.importorskip("lsprotocol.types")
pytest_lsp = pytest.importorskip("pytest_lsp", reason="tox installs pytest-lsp")

ANSWER_SECONDS = 60
SQL = "SELECT o.totl\nFROM shop.orders o -- ünï 𝄞\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An engine that knows a folder of two tables."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/orders.csv").write_text("id,total\n1,2.50\n")
    (tmp_path / "in/accounts.csv").write_text("id,name\n1,Ann\n")
    with Engine(tmp_path / "engine.db") as engine:
        spec = {"files": {"basePath": str(tmp_path / "in")}}
        engine.connections.create({"name": "shop", "type": "files", "spec": spec})
    return tmp_path / "engine.db"


class Editor:
    """An editor with one document."""

    uri = "file:///home/me/query.sql"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.version = 0

    async def faults(self) -> list[Any]:
        """The diagnostics of the present version."""
        published = types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS
        while True:
            told = await self.client.wait_for_notification(published)
            if told.version == self.version:
                return list(told.diagnostics)

    def open(self, text: str) -> None:
        document = types.TextDocumentItem(self.uri, "sql", self.version, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def change(self, text: str) -> None:
        self.version += 1
        whole = types.TextDocumentContentChangeWholeDocument(text)
        document = types.VersionedTextDocumentIdentifier(self.version, self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [whole]))

    def place(self, line: int, character: int) -> dict[str, Any]:
        return {
            "text_document": types.TextDocumentIdentifier(self.uri),
            "position": types.Position(line, character),
        }


def session(file: Path, play: Callable[[Editor], Awaitable[None]], *arguments: str) -> None:
    """Start the server as an editor does, play, and end it as an editor does."""

    async def run() -> None:
        command = [sys.executable, "-m", "streams_engine", "lsp", "--engine", str(file)]
        config = pytest_lsp.ClientServerConfig([*command, *arguments], server_env={**os.environ})
        client = await config.start()
        try:
            capabilities = pytest_lsp.client_capabilities("visual-studio-code")
            await client.initialize_session(types.InitializeParams(capabilities))
            await asyncio.wait_for(play(Editor(client)), ANSWER_SECONDS)
            await client.shutdown_session()
        finally:
            await client.stop()

    asyncio.run(run())


def test_a_session_of_an_editor(file: Path) -> None:
    """Also: a document names its connection, and a wrong one is told."""

    async def play(editor: Editor) -> None:
        client = editor.client
        editor.open(SQL)
        (fault,) = await editor.faults()
        assert fault.message == "There is no column 'totl' in orders. Did you mean 'total'?"
        assert fault.range == types.Range(types.Position(0, 9), types.Position(0, 13))

        items = await client.text_document_completion_async(
            types.CompletionParams(**editor.place(0, 11))
        )
        assert [(item.label, item.detail) for item in items] == [
            ("total", "orders: decimal128(3, 2)")
        ]
        editor.change(SQL.replace("totl", "total"))
        assert await editor.faults() == []

        hover = await client.text_document_hover_async(types.HoverParams(**editor.place(0, 11)))
        assert "orders.total: decimal128(3, 2)" in hover.contents.value
        defined = await client.text_document_definition_async(
            types.DefinitionParams(**editor.place(0, 7))
        )
        assert defined.uri == editor.uri
        assert defined.range.start == types.Position(1, 17)

        editor.change("SELECT round(total, 2) FROM shop.orders")
        assert await editor.faults() == []
        told = await client.text_document_signature_help_async(
            types.SignatureHelpParams(**editor.place(0, 20))
        )
        assert told.signatures[0].label == "round(number, digits)"
        assert told.active_parameter == 1
        (edit,) = await client.text_document_formatting_async(
            types.DocumentFormattingParams(
                types.TextDocumentIdentifier(editor.uri), types.FormattingOptions(2, True)
            )
        )
        assert edit.new_text == "SELECT\n  ROUND(total, 2)\nFROM shop.orders\n"

        editor.change("-- connection: shop\nSELECT nme FROM accounts")
        (fault,) = await editor.faults()
        assert fault.message == "There is no column 'nme' in accounts. Did you mean 'name'?"
        assert fault.range.start == types.Position(1, 7)
        editor.change("-- connection: shp\nSELECT nme FROM accounts")
        assert await editor.faults() == []
        assert "NOT_FOUND" in editor.client.messages[-1].message

    session(file, play)


def test_what_prevents_a_server_is_told(file: Path, capsys: Any) -> None:
    assert main(["lsp", "--engine", str(file), "--connection", "shp"]) == 2
    assert "There is no connection 'shp'" in capsys.readouterr().err
    assert main(["lsp"]) == 2
    assert "STREAMS_ENGINE_FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "module", "extra"), [
    ("lsp", "pygls", "lsp"), ("top", "textual", "top"),
])  # fmt: skip
def test_a_missing_library_is_named_with_its_extra(
    file: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    for loaded in [one for one in sys.modules if one.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delitem(sys.modules, "streams_engine.cli.language_server", raising=False)
    monkeypatch.delitem(sys.modules, "streams_engine.cli.top", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert main([name, "--engine", str(file)]) == 2
    assert f"pip install 'streams-engine[{extra}]'" in capsys.readouterr().err
