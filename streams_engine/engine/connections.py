"""`engine.connections`: stored servers, folders and buckets, and what they contain."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from streams_engine.config.connection import parse_connection
from streams_engine.config.redaction import secret_paths, without_secrets
from streams_engine.config.secret import BUILT_IN
from streams_engine.config.tracebacks import without_locals
from streams_engine.display import documents_html
from streams_engine.engine.ids import new_id
from streams_engine.engine.lists import Conditions, Page, list_request
from streams_engine.engine.resolver import URL, ConnectionResolver, entry, plain
from streams_engine.engine.store import EngineStore, demand_confirmed
from streams_engine.engine.structure import ConnectionStructure
from streams_engine.errors import ConfigError, StateConflict, StreamsError

__all__ = ["Connections"]

Document = dict[str, Any]
Documents = list[Document]
Names = list[str]

KEYS = ("id", "name", "type", "created", "host", "port", "username", "database",
        "defaultDatabase", "schema", "ssl", "ssh", "spec")  # fmt: skip
"""Keys by which the list is filtered and sorted, beside those that its documents have."""


class Connections(ConnectionStructure):
    """Stored connections by id (or name), as documents. Thread-safe.

    Returned documents contain no secrets, but references to secrets (``env:NAME``). All methods
    that ask a server raise `ConnectionFailed` or a subclass, except `ping`.
    """

    def __init__(self, store: EngineStore, resolver: ConnectionResolver) -> None:
        super().__init__(resolver)
        self._store = store
        self._references = frozenset({*BUILT_IN, *resolver.resolvers})

    # What is stored

    @without_locals
    def create(self, document: Mapping[str, Any]) -> Document:
        """Store a connection; return its document, with ``id`` and ``created`` (Unix seconds).

        Raises `ConfigError` with the JSON path of the error, also if the name is taken.
        """
        kept = self._checked(document)
        given = {"id": new_id("conn"), "created": int(time.time())}
        with self._store.writing():
            self._demand_free(kept["name"])
            self._store.write(
                "INSERT INTO connections (id, name, created, document) VALUES (?, ?, ?, ?)",
                (given["id"], kept["name"], given["created"], json.dumps(kept)),
            )
        return self._shown(given | kept)

    def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return ``{"items", "total", "limit", "offset"}``, in the order of creation by default.

        ``filters`` and ``sort`` are those of `Engine.data`, over the keys of the documents; a dot
        leads into an object (``spec.database.host``). Raises `ConfigError` by path.
        """
        request = list_request(limit, offset, filters, sort)
        documents = [*self.all()]
        further = (key for document in documents for key in document)
        return request.page(documents, dict.fromkeys((*KEYS, *further)))

    def all(self) -> Iterator[Document]:
        """Iterate over all connections, in the order of creation."""
        for row in self._store.rows("SELECT * FROM connections ORDER BY rowid"):
            yield self._shown(entry(row))

    def _repr_html_(self) -> str:
        return documents_html("connections", ("name", "type", "host", "database", "id"), self.all())

    def get(self, connection: str) -> Document:
        """Return a connection by its id or name. Raises `NotFound`."""
        return self._shown(self._dialler.stored(connection))

    @without_locals
    def update(self, connection: str, document: Mapping[str, Any]) -> Document:
        """Replace a whole document; ``id`` and ``created`` stay.

        A stored secret must be given again (the same, another, or None): leaving it out is a
        `ConfigError`, because it would be lost silently.
        """
        kept = self._checked(document)
        with self._store.writing():
            old = self._dialler.stored(connection)
            _demand_secrets(plain(old), kept)
            if kept["name"] != old["name"]:
                self._demand_free(kept["name"])
            self._store.write(
                "UPDATE connections SET name = ?, document = ? WHERE id = ?",
                (kept["name"], json.dumps(kept), old["id"]),
            )
        return self._shown({"id": old["id"], "created": old["created"]} | kept)

    def delete(self, connection: str) -> None:
        """Delete a connection. Raises `StateConflict` naming the stream configs that use it."""
        with self._store.writing():
            stored = self._dialler.stored(connection)["id"]
            users = [
                row["name"]
                for row in self._store.rows("SELECT name, document FROM configs ORDER BY name")
                if stored in _used_by(json.loads(row["document"]))
            ]
            if users:
                raise StateConflict(
                    f"These stream configs use the connection {connection}: {', '.join(users)}.",
                    remedy="Delete those stream configs first.",
                    configs=users,
                )
            self._store.write("DELETE FROM connections WHERE id = ?", (stored,))

    def delete_all(self, *, confirm: bool = False) -> int:
        """Delete all connections; return how many.

        Raises `ConfigError` without ``confirm=True``, and `StateConflict` naming the stream
        configs, if there are any.
        """
        demand_confirmed(confirm, "delete_all removes every connection with its secrets.")
        with self._store.writing():
            configs = [row["name"] for row in self._store.rows("SELECT name FROM configs")]
            if configs:
                raise StateConflict(
                    f"These stream configs use connections: {', '.join(configs)}.",
                    remedy="Delete the stream configs first: configs.delete_all(confirm=True).",
                    configs=configs,
                )
            return self._store.write("DELETE FROM connections")

    def clone(self, connection: str) -> Document:
        """Store a copy, with its secrets, under a new id and a free name."""
        with self._store.writing():
            source = self._dialler.stored(connection)
            names = {row["name"] for row in self._store.rows("SELECT name FROM connections")}
            return self.create(plain(source) | {"name": free_name(source["name"], names)})

    def _checked(self, document: Mapping[str, Any]) -> Document:
        """Validate the document and return it without the keys that the engine adds."""
        if not isinstance(document, Mapping):
            raise ConfigError("$: expected a connection document (an object).", path="$")
        kept = {key: value for key, value in document.items() if key not in ("id", "created")}
        if URL in kept and "type" not in kept:
            self._demand_reference(kept)
        else:
            parse_connection(kept)
            _demand_json(kept)
        if not isinstance(kept.get("name"), str) or not kept["name"].strip():
            raise ConfigError("$.name: a connection needs a name.", path="$.name")
        return kept

    def _demand_reference(self, document: Document) -> None:
        """Raise `ConfigError` unless a URL is a reference, and stands alone."""
        scheme, _, rest = str(document[URL]).partition(":")
        if scheme not in self._references or not rest or rest.startswith("//"):
            raise ConfigError(
                "$.url: expected a reference to a URL, such as env:SHOP_URL.",
                path="$.url",
                remedy="Give the parts of the URL as a document with 'type'.",
            )
        others = sorted(document.keys() - {URL, "name"})
        if others:
            raise ConfigError(
                f"$.{others[0]}: a connection by its URL has no other keys than 'name'.",
                path=f"$.{others[0]}",
                remedy="Put it into the URL, or give a document with 'type'.",
            )

    def _demand_free(self, name: str) -> None:
        if self._store.row("SELECT id FROM connections WHERE name = ?", (name,)) is not None:
            raise ConfigError(
                f"$.name: a connection '{name}' exists already.",
                path="$.name",
                remedy="Use another name, or update that connection.",
            )

    def _shown(self, document: Document) -> Document:
        shown: Document = without_secrets(document, self._references)
        return shown if URL in shown else shown | {"type": str(document["type"]).lower()}

    # What is there

    def ping(self, connection: str | Mapping[str, Any]) -> Document:
        """Return ``{"ping": "ok"}``, or ``{"ping": "failed", "error": ...}`` with code and remedy.

        Takes an id, a name, or a document or URL that is not stored.
        """
        try:
            with self._dialler.explorer(connection) as explorer:
                explorer.ping()
        except StreamsError as error:
            return {
                "ping": "failed",
                "error": error.message,
                "code": error.code,
                "remedy": error.remedy,
            }
        return {"ping": "ok"}


def free_name(name: str, taken: set[str]) -> str:
    """Return ``name-copy``, or the first of ``name-copy-2``, ``-3``, ... that is free."""
    numbers = iter(range(2, len(taken) + 3))
    wanted = f"{name}-copy"
    while wanted in taken:
        wanted = f"{name}-copy-{next(numbers)}"
    return wanted


def _demand_json(document: Document) -> None:
    """Raise `ConfigError` for a callable in the place of a password: it cannot be stored."""
    try:
        json.dumps(document)
    except TypeError:
        path = next((path for path in secret_paths(document) if path.endswith("password")), "$")
        raise ConfigError(
            f"{path}: an Engine stores texts, and no callable.",
            path=path,
            remedy="Write a reference such as tokens:shop, and give the callable that returns the "
            "password of 'shop' as Engine(resolvers={'tokens': ...}): each connection calls it.",
        ) from None


def _demand_secrets(old: Document, new: Document) -> None:
    """Demand that an update gives every stored secret again. Raises `ConfigError`."""
    given = {path.rpartition(".")[2] for path in secret_paths(new)}
    for path in secret_paths(old):
        if path.rpartition(".")[2] not in given:
            raise ConfigError(
                f"{path}: an update needs the whole document, including its secrets.",
                path=path,
                remedy="Give the secret again, or null for none.",
            )


def _used_by(config: Document) -> set[str]:
    """Return the ids of the connections that a stored stream config uses."""
    sources = [one.get("connectionId") for one in config["source"]["connections"]]
    return {*sources, config["target"].get("id")}
