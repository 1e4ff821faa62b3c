"""`engine.sql` in the Language Server Protocol, by pygls (extra ``lsp``).

Over which connection a document is written, its first line may say: ``-- connection: shop``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

from streams_engine._version import __version__
from streams_engine.engine import Engine
from streams_engine.errors import StreamsError

__all__ = ["language_server"]

T = TypeVar("T")

CHOSEN = re.compile(r"\s*--\s*connection:\s*(\S+)", re.I)
KINDS = {
    "table": types.CompletionItemKind.Class,
    "view": types.CompletionItemKind.Interface,
    "schema": types.CompletionItemKind.Module,
    "connection": types.CompletionItemKind.Module,
    "cte": types.CompletionItemKind.Struct,
    "alias": types.CompletionItemKind.Variable,
    "column": types.CompletionItemKind.Field,
    "function": types.CompletionItemKind.Function,
    "keyword": types.CompletionItemKind.Keyword,
}
SOURCE = "streams-engine"


class Help:
    """The help for one editor. Its methods are called on threads: a server may be slow."""

    def __init__(self, server: LanguageServer, engine: Engine, connection: str | None) -> None:
        self._server = server
        self._engine = engine
        self._connection = connection
        self._told: set[str] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="streams_engine_lsp_")

    def close(self) -> None:
        """Remove the files that definitions led to."""
        self._folder.cleanup()

    def document(self, uri: str) -> TextDocument:
        """Return an open document."""
        return self._server.workspace.get_text_document(uri)

    def ask(self, uri: str, ask: Callable[..., T], *arguments: Any) -> T | None:
        """Ask about a document; what prevents an answer is shown once, and None returned."""
        match = CHOSEN.match(self.document(uri).source)
        try:
            return ask(*arguments, match[1] if match else self._connection)
        except StreamsError as error:
            self._tell(f"{error.code}: {error}")
        return None

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            shown = types.ShowMessageParams(types.MessageType.Warning, message)
            self._server.window_show_message(shown)

    def range(self, document: TextDocument, start: int, end: int) -> types.Range:
        """Return the range of two offsets."""
        return types.Range(_position(document, start), _position(document, end))

    def complete(self, params: types.CompletionParams) -> list[types.CompletionItem]:
        """Complete the word at a position."""
        uri, sql = params.text_document.uri, self._engine.sql
        document = self.document(uri)
        offset = document.offset_at_position(params.position)
        items = self.ask(uri, sql.complete, document.source, offset) or []
        return [
            types.CompletionItem(
                label=str(item["text"]),
                kind=KINDS.get(str(item["kind"])),
                detail=item["detail"],
                sort_text=f"{place:05}",
            )
            for place, item in enumerate(items)
        ]

    def hover(self, params: types.HoverParams) -> types.Hover | None:
        """Say what the name at a position is."""
        uri = params.text_document.uri
        document = self.document(uri)
        offset = document.offset_at_position(params.position)
        what = self.ask(uri, self._engine.sql.hover, document.source, offset)
        if what is None:
            return None
        text = types.MarkupContent(types.MarkupKind.Markdown, f"```sql\n{what['text']}\n```")
        return types.Hover(text, self.range(document, what["start"], what["end"]))

    def signature(self, params: types.SignatureHelpParams) -> types.SignatureHelp | None:
        """Say which arguments the function at a position takes."""
        uri = params.text_document.uri
        document = self.document(uri)
        offset = document.offset_at_position(params.position)
        told = self.ask(uri, self._engine.sql.signature, document.source, offset)
        if told is None:
            return None
        parameters = [types.ParameterInformation(label) for label in told["parameters"]]
        label = types.SignatureInformation(told["label"], parameters=parameters)
        return types.SignatureHelp([label], active_signature=0, active_parameter=told["active"])

    def definition(self, params: types.DefinitionParams) -> types.Location | None:
        """Return where a name comes from: a place in the document, or a file with the DDL."""
        uri = params.text_document.uri
        document = self.document(uri)
        offset = document.offset_at_position(params.position)
        made = self.ask(uri, self._engine.sql.definition, document.source, offset)
        if made is None:
            return None
        if made["start"] is not None:
            return types.Location(uri, self.range(document, made["start"], made["end"]))
        if made["ddl"] is None:
            return None
        name = re.sub(r"[^\w.-]", "_", f"{made['connection']}.{made['table']}")
        path = Path(self._folder.name) / f"{name}.sql"
        path.write_text(made["ddl"], encoding="utf-8")
        begin = types.Position(0, 0)
        return types.Location(path.as_uri(), types.Range(begin, begin))

    def format(self, params: types.DocumentFormattingParams) -> list[types.TextEdit] | None:
        """Lay the document out."""
        uri, sql = params.text_document.uri, self._engine.sql
        document = self.document(uri)
        text = self.ask(uri, lambda source, _: sql.format(source), document.source)
        if text is None:
            return None
        whole = self.range(document, 0, len(document.source))
        return [types.TextEdit(whole, f"{text}\n")]

    def publish(self, uri: str) -> None:
        """Send the errors of a document, unless it has changed meanwhile."""
        document = self.document(uri)
        version, source = document.version, document.source
        faults: list[dict[str, Any]] = []
        if source.strip():
            faults = self.ask(uri, self._engine.sql.diagnose, source) or []
        if self.document(uri).version != version:
            return
        diagnostics = [
            types.Diagnostic(
                self.range(document, fault["start"], fault["end"]),
                message=fault["message"]
                + (f" Did you mean '{fault['suggestion']}'?" if fault["suggestion"] else ""),
                severity=types.DiagnosticSeverity.Error,
                source=SOURCE,
            )
            for fault in faults
        ]
        self._server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri, diagnostics, version)
        )


def _position(document: TextDocument, offset: int) -> types.Position:
    before = document.source[:offset]
    begin = before.rfind("\n") + 1
    units = document.position_codec.client_num_units(before[begin:])
    return types.Position(before.count("\n"), units)


def language_server(engine: Engine, connection: str | None) -> tuple[LanguageServer, Help]:
    """Return a server over an engine, and the help that is to be closed after it."""
    server = LanguageServer(SOURCE, __version__)
    help_ = Help(server, engine, connection)
    answers: dict[str, tuple[Callable[[Any], Any], Any]] = {
        types.TEXT_DOCUMENT_COMPLETION: (help_.complete, types.CompletionOptions(["."])),
        types.TEXT_DOCUMENT_HOVER: (help_.hover, None),
        types.TEXT_DOCUMENT_SIGNATURE_HELP: (
            help_.signature, types.SignatureHelpOptions(["(", ","])
        ),
        types.TEXT_DOCUMENT_DEFINITION: (help_.definition, None),
        types.TEXT_DOCUMENT_FORMATTING: (help_.format, None),
        types.TEXT_DOCUMENT_DID_OPEN: (lambda p: help_.publish(p.text_document.uri), None),
        types.TEXT_DOCUMENT_DID_CHANGE: (lambda p: help_.publish(p.text_document.uri), None),
        types.TEXT_DOCUMENT_DID_SAVE: (lambda p: help_.publish(p.text_document.uri), None),
    }  # fmt: skip
    for method, (answer, options) in answers.items():
        server.feature(method, options)(server.thread()(_plain(answer)))
    return server, help_


def _plain(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of its own, which pygls marks: a bound method takes no marks."""

    def answered(params: Any) -> Any:
        return answer(params)

    return answered
