"""`engine.configs`: stream configs, stored in the nested form whichever way they came."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from streams_engine.config.documents import StreamDocument
from streams_engine.config.flat import is_flat, nested
from streams_engine.config.stream import parse_config
from streams_engine.config.tracebacks import without_locals
from streams_engine.display import documents_html
from streams_engine.engine.connections import free_name
from streams_engine.engine.ids import new_id
from streams_engine.engine.lists import Conditions, Page, list_request
from streams_engine.engine.resolver import ADDED, ConnectionResolver, entry, named, plain
from streams_engine.engine.runs import Runs
from streams_engine.engine.store import EngineStore, demand_confirmed
from streams_engine.errors import ConfigError, StateConflict

__all__ = ["Configs", "references"]

Document = dict[str, Any]

KEYS = tuple(field.alias or name for name, field in StreamDocument.model_fields.items())
"""The keys of a stream config, by which a list is filtered and sorted."""
SUFFIX = 5
"""A config's name ends with so many of the last characters of its id."""


class Configs:
    """Stream configs by id (or name). Thread-safe."""

    def __init__(self, store: EngineStore, resolver: ConnectionResolver, runs: Runs) -> None:
        self._store = store
        self._runs = runs
        self._dialler = resolver

    @without_locals
    def create(self, document: Mapping[str, Any]) -> Document:
        """Store a config of either generation; return the nested document with ``id``, ``created``
        and its name: the given one, ``_`` and the last five characters of the id.

        Raises `ConfigError` with the JSON path of each error.
        """
        kept = _nested(document)
        name = _name(kept)
        given: Document = {"id": new_id("config"), "created": int(time.time())}
        kept["name"] = f"{name}_{given['id'][-SUFFIX:]}"
        with self._store.writing():
            self._resolve(kept)
            self._store.write(
                "INSERT INTO configs (id, name, created, document) VALUES (?, ?, ?, ?)",
                (given["id"], kept["name"], given["created"], json.dumps(kept)),
            )
        return self._shown(given | kept)

    def list(
        self,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return ``{"items", "total", "limit", "offset"}``, in the order of creation by default.

        ``search`` selects configs whose name contains it, ignoring case. ``filters`` and ``sort``
        are those of `Engine.data`, over the keys of the documents; a dot leads into an object
        (``latestRun.status``). Raises `ConfigError` by path.
        """
        request = list_request(limit, offset, filters, sort)
        wanted = (search or "").casefold()
        documents = [one for one in self.all() if wanted in one["name"].casefold()]
        return request.page(documents, (*ADDED, *KEYS))

    def all(self) -> Iterator[Document]:
        """Iterate over all stream configs, in the order of creation."""
        self._runs.end_dead_runs()
        for row in self._store.rows("SELECT * FROM configs ORDER BY rowid"):
            yield self._shown(entry(row))

    def _repr_html_(self) -> str:
        return documents_html("stream configs", ("name", "mode", "id"), self.all())

    def get(self, config: str) -> Document:
        """Return a config by its id or name. Raises `NotFound`.

        ``stream`` is the stream that `Streams.start` would begin, ``{"id", "status": "READY"}``,
        or None while a run has not ended; ``latestRun`` the newest run, ``{"id", "status",
        "started", "ended", "error"}``, or None.
        """
        self._runs.end_dead_runs()
        return self._shown(self._stored(config))

    def _stored(self, config: str) -> Document:
        return named(self._store, "configs", "stream config", config)

    def _shown(self, document: Document) -> Document:
        latest = self._runs.latest(document["id"])
        running = latest is not None and latest["ended"] is None
        ready = None if running else {"id": self._runs.ready(document["id"]), "status": "READY"}
        return document | {"stream": ready, "latestRun": latest}

    @without_locals
    def update(self, config: str, document: Mapping[str, Any]) -> Document:
        """Replace a whole document; id, created, connections and target connection stay.

        A run in progress continues with the old document. Raises `ConfigError`, by path, if one of
        those keys would change.
        """
        kept = _nested(document)
        with self._store.writing():
            old = self._stored(config)
            same = {"id": document.get("id", old["id"])}
            same["created"] = document.get("created", old["created"])
            for key, value in same.items():
                _demand_same(f"$.{key}", old[key], value)
            self._resolve(kept)
            _demand_same("$.source.connections", _sources(old), _sources(kept))
            _demand_same("$.target.id", old["target"]["id"], kept["target"]["id"])
            name, suffix = _name(kept), f"_{old['id'][-SUFFIX:]}"
            kept["name"] = name if name.endswith(suffix) else name + suffix
            self._store.write(
                "UPDATE configs SET name = ?, document = ? WHERE id = ?",
                (kept["name"], json.dumps(kept), old["id"]),
            )
        return self._shown({"id": old["id"], "created": old["created"]} | kept)

    def clone(self, config: str) -> Document:
        """Store a copy under a new id and a name with a suffix."""
        with self._store.writing():
            source = self._stored(config)
            base = source["name"].removesuffix(f"_{source['id'][-SUFFIX:]}")
            return self.create(plain(source) | {"name": free_name(base, set())})

    def delete(self, config: str) -> None:
        """Delete a config and the history of its runs. Raises `StateConflict` during a run.

        This does not drop what a cdc created on its source: `Streams.release` does.
        """
        with self._store.writing():
            stored = self._stored(config)
            self._demand_idle("config_id = ?", (stored["id"],), stored["name"])
            self._store.write("DELETE FROM configs WHERE id = ?", (stored["id"],))

    def delete_all(self, *, confirm: bool = False) -> int:
        """Delete all configs; return how many. Raises `ConfigError` without ``confirm=True``."""
        demand_confirmed(confirm, "delete_all removes every stream config and its history.")
        with self._store.writing():
            self._demand_idle("1", (), "one of them")
            return self._store.write("DELETE FROM configs")

    def _demand_idle(self, condition: str, parameters: tuple[str, ...], name: str) -> None:
        query = f"SELECT id FROM runs WHERE ended IS NULL AND {condition}"
        running = self._store.value(query, parameters)
        if running is not None:
            raise StateConflict(
                f"A run of {name} has not ended: {running}.",
                remedy="Stop it first.",
                stream=running,
            )

    def _resolve(self, document: Document) -> None:
        """Replace names of connections by their ids.

        Raises what `Stream.from_config` would, and `ConfigError` for a connection that is not
        stored.
        """
        for path, place in _places(document):
            if place.get("connection") is not None:
                raise ConfigError(
                    f"{path}.connection: the stream configs of an Engine name stored connections.",
                    path=f"{path}.connection",
                    remedy="Store it with connections.create, and give its id.",
                )
        known = self._dialler.known(references(document))
        self._demand_stored(document, known)
        parse_config(document, known)
        for path, place in _places(document):
            key = _key(path)
            place[key] = self._dialler.stored(place[key])["id"]

    def _demand_stored(self, document: Document, known: Mapping[str, Any]) -> None:
        """Raise `ConfigError` for a name or id that is no stored connection's."""
        for path, place in _places(document):
            key = _key(path)
            reference = place.get(key)
            if not isinstance(reference, str) or reference in known:
                continue
            names = [row["name"] for row in self._store.rows("SELECT name FROM connections")]
            raise ConfigError(
                f"{path}.{key}: there is no connection '{reference}'.",
                path=f"{path}.{key}",
                remedy=f"Stored are: {', '.join(sorted(names)) or 'none'}.",
            )


def references(document: Document) -> list[str]:
    """Return the names by which a document refers to connections."""
    names = (place.get(_key(path)) for path, place in _places(document))
    return [reference for reference in names if isinstance(reference, str)]


def _nested(document: Mapping[str, Any]) -> Document:
    """Return the nested form of the document, as plain JSON."""
    if not isinstance(document, Mapping):
        raise ConfigError("$: expected a stream config document (an object).", path="$")
    try:
        as_json: Document = json.loads(
            json.dumps(nested(document) if is_flat(document) else dict(document))
        )
    except (TypeError, ValueError):
        raise ConfigError(
            "$: a stored stream config must be JSON.",
            path="$",
            remedy="Give an executor to a Stream instead.",
        ) from None
    return plain(as_json)


def _name(document: Document) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("$.name: a stream config needs a name.", path="$.name")
    return name


def _target(document: Document) -> Document:
    target = document.get("target")
    return target if isinstance(target, dict) else {}


def _places(document: Document) -> list[tuple[str, Document]]:
    """Return the JSON path and object of each place that names a connection; the document may be
    invalid."""
    source = document.get("source")
    connections = source.get("connections") if isinstance(source, dict) else None
    places = [
        (f"$.source.connections[{i}]", place)
        for i, place in enumerate(connections if isinstance(connections, list) else [])
        if isinstance(place, dict)
    ]
    return [*places, ("$.target", _target(document))]


def _key(path: str) -> str:
    """Return the key under which a place names its connection."""
    return "id" if path == "$.target" else "connectionId"


def _sources(document: Document) -> list[Any]:
    return [place.get("connectionId") for path, place in _places(document) if path != "$.target"]


def _demand_same(path: str, old: Any, new: Any) -> None:
    if old != new:
        raise ConfigError(
            f"{path}: an update cannot change this key.",
            path=path,
            remedy="Create another stream config, or leave the value as it is.",
        )
