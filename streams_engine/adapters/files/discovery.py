"""Discovery of tables among files, and their names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from streams_engine.adapters.files import manifest
from streams_engine.adapters.files.formats.options import format_of, stem_of
from streams_engine.adapters.files.stores.backend import FileInfo
from streams_engine.adapters.files.stores.store import Store
from streams_engine.errors import ConfigError, MalformedFile, NotFound

__all__ = ["DataFile", "DiscoveredTable", "Places", "discover", "select"]

PART = re.compile(r"part-(?:[a-z0-9]+-)?\d+-\d+\.")
"""The names that this library gives to parts; one that the manifest does not list does not
count before the table is complete."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of rows."""

    info: FileInfo
    file_format: str
    codec: str | None


@dataclass(frozen=True, slots=True)
class DiscoveredTable:
    """A table: the file or folder that it is, and its data files in order."""

    name: str
    path: str
    files: tuple[DataFile, ...]
    manifest: Any = None

    @property
    def file_format(self) -> str:
        """The one format of its files."""
        return self.files[0].file_format if self.files else str(self.manifest["format"])


@dataclass(frozen=True, slots=True)
class Places:
    """What a source reads below its root; nothing: everything."""

    paths: tuple[str, ...] = ()
    """Files and folders."""
    objects: tuple[str, ...] = ()
    """Single files."""
    listing: str | None = None
    """The path of a JSON document that lists single files."""


def discover(
    store: Store, places: Places | Sequence[str], file_format: str | None
) -> list[DiscoveredTable]:
    """Discover the tables at these places, or all below the root, sorted by name.

    Raises `NotFound` for a path without data, and `MalformedFile` naming both files if a folder
    contains two formats.
    """
    if not isinstance(places, Places):
        places = Places(tuple(places))
    discovered: dict[str, DiscoveredTable] = {}
    single = [*places.objects, *_listed(store, places.listing)]
    discovered.update((table.path, table) for table in _single(store, single, file_format))
    paths = places.paths
    for path in paths or (() if single or places.listing else ("",)):
        clean = _clean_path(path)
        infos = store.list(clean)
        tables = _tables(store, clean, infos, file_format)
        if not tables and paths:
            raise NotFound(f"{store.show(clean)} contains no data files.", path=store.show(clean))
        discovered.update((table.path, table) for table in tables)
    return _named(sorted(discovered.values(), key=lambda table: table.path))


def _clean_path(path: str) -> str:
    """Return a path as stores take it. Raises `ConfigError` for one that leads out."""
    clean = path.strip("/").removeprefix("./").strip("/")
    clean = "" if clean == "." else clean
    if ".." in clean.split("/"):
        raise ConfigError(f"files.paths: {path} is outside the base path.", path="$.files.paths")
    return clean


def _listed(store: Store, path: str | None) -> list[str]:
    """Return the paths of the files that a document lists: a list of them, ``files``, or the
    ``url`` of each of ``entries``. Raises `MalformedFile`, `NotFound`."""
    if path is None:
        return []
    document = store.read_json(_clean_path(path))
    where = store.show(_clean_path(path))
    if document is None:
        raise NotFound(f"{where} does not exist.", path=where)
    names = document
    if isinstance(document, dict):
        entries = document.get("entries")
        urls = [one.get("url") if isinstance(one, dict) else None for one in entries or ()]
        names = document.get("files") if entries is None else urls
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedFile(
            f"{where} lists no files: expected 'files', 'entries' with 'url', or a list of names.",
            file=where,
        )
    return [_within(store, name, where) for name in names]


def _within(store: Store, name: str, where: str) -> str:
    """Return a name below the root. Raises `MalformedFile` for a URL of another place."""
    if "://" not in name:
        return name
    root = store.show("").rstrip("/") + "/"
    if not name.startswith(root):
        raise MalformedFile(
            f"{where} lists a file that is not below {root}.",
            remedy="List only files of the connection's own bucket and prefix.",
            file=where,
        )
    return name.removeprefix(root)


def _single(store: Store, paths: Sequence[str], file_format: str | None) -> list[DiscoveredTable]:
    """Return the tables that single files make: parts in one folder are one table."""
    groups: dict[str, list[DataFile]] = {}
    for path in dict.fromkeys(map(_clean_path, paths)):
        infos = store.list(path)
        if [info.path for info in infos] != [path]:
            raise NotFound(f"There is no file {store.show(path)}.", path=store.show(path))
        [table] = _tables(store, path, infos, file_format)
        folder, _, name = path.rpartition("/")
        group = folder if folder and name.startswith("part-") else path
        groups.setdefault(group, []).extend(table.files)
    return [DiscoveredTable("", path, tuple(files)) for path, files in groups.items()]


def select(
    discovered: Iterable[DiscoveredTable], names: Sequence[str] | None
) -> list[DiscoveredTable]:
    """Return the tables of these names. Raises `NotFound` that lists similar names."""
    tables = {table.name: table for table in discovered}
    if names is None:
        return list(tables.values())
    chosen = {}
    for name in names:
        table = tables.get(name)
        if table is None:
            near = difflib.get_close_matches(name, tables, n=3, cutoff=0.5)
            raise NotFound(
                f"There is no table {name} among the files.",
                remedy=f"Similar names: {', '.join(near)}." if near else None,
                table=name,
            )
        chosen[name] = table
    return list(chosen.values())


def _tables(
    store: Store, path: str, infos: Sequence[FileInfo], file_format: str | None
) -> list[DiscoveredTable]:
    if len(infos) == 1 and infos[0].path == path:
        kind = format_of(path) or ((file_format, None) if file_format else None)
        if kind is None:
            raise ConfigError(
                f"{store.show(path)}: the file name shows no known format.",
                remedy="Give fileFormat.",
            )
        return [DiscoveredTable("", path, (DataFile(infos[0], *kind),))]
    if path and not _holds_tables(path, infos):
        table = _folder(store, path, infos, file_format)
        return [table] if table else []
    return _children(store, path, infos, file_format)


def _holds_tables(path: str, infos: Sequence[FileInfo]) -> bool:
    """Return whether the folders in this folder are tables, because this library wrote them."""
    depth = path.count("/") + 3
    return any(
        info.path.endswith("/" + manifest.NAME) and info.path.count("/") + 1 == depth
        for info in infos
    )


def _children(
    store: Store, path: str, infos: Sequence[FileInfo], file_format: str | None
) -> list[DiscoveredTable]:
    """Return every file and every folder of a folder as a table."""
    groups: dict[str, list[FileInfo]] = {}
    begin = len(path) + 1 if path else 0
    for info in infos:
        groups.setdefault(info.path[begin:].split("/")[0], []).append(info)
    tables: list[DiscoveredTable] = []
    for name, group in groups.items():
        place = f"{path}/{name}" if path else name
        if name[0] in "_.":
            continue
        if group[0].path == place:
            file = _data(group[0], "", file_format)
            if file is not None:
                tables.append(DiscoveredTable("", place, (file,)))
        elif (table := _folder(store, place, group, file_format)) is not None:
            tables.append(table)
    return tables


def _data(info: FileInfo, folder: str, file_format: str | None) -> DataFile | None:
    inner = info.path[len(folder) :].strip("/").split("/")
    kind = format_of(info.path)
    if kind is None or any(part[0] in "_." for part in inner if part):
        return None
    return DataFile(info, *kind) if file_format in (None, kind[0]) else None


def _folder(
    store: Store, path: str, infos: Sequence[FileInfo], file_format: str | None
) -> DiscoveredTable | None:
    listed = any(info.path == f"{path}/{manifest.NAME}" for info in infos)
    document = manifest.read(store, path) if listed else None
    files = [file for info in infos if (file := _data(info, path, file_format)) is not None]
    if document is not None:
        files = _counting(store, path, files, document)
    elif not files:
        return None
    for file in files[1:]:
        if file.file_format != files[0].file_format:
            raise MalformedFile(
                f"All files of a folder must have one format: {store.show(files[0].info.path)} "
                f"is {files[0].file_format}, {store.show(file.info.path)} is {file.file_format}.",
                remedy="Set fileFormat, or move the files into separate folders.",
            )
    return DiscoveredTable("", path, tuple(files), document)


def _counting(store: Store, path: str, files: Sequence[DataFile], document: Any) -> list[DataFile]:
    """Return the parts that a manifest lists, and the files of others beside them, but no
    orphans."""
    listed = {f"{path}/{part['path']}" for part in document["parts"]}
    others = {f"{path}/{name}" for name in document.get("foreign", ())}
    there = {file.info.path for file in files}
    for missing in sorted(listed - there):
        raise MalformedFile(
            f"{store.show(missing)} does not exist, but the table's manifest lists it.",
            file=store.show(missing),
        )
    if document["complete"]:
        return list(files)
    kept = listed | others
    return [
        file
        for file in files
        if file.info.path in kept or not PART.match(file.info.path.rsplit("/", 1)[-1])
    ]


def _named(tables: Sequence[DiscoveredTable]) -> list[DiscoveredTable]:
    """Name tables by the last component of their paths; equal names also by the parent's, then by
    number.

    A table written by this library has the name in its manifest.
    """
    plain = [
        str(table.manifest["table"]) if table.manifest else _name(table.path) for table in tables
    ]
    given: set[str] = set()
    named = []
    for table, name in zip(tables, plain, strict=True):
        if plain.count(name) > 1 and "/" in table.path:
            parent = table.path.rsplit("/", 2)[-2]
            name = f"{_clean(parent)}_{name}"
        candidate, number = name, 2
        while candidate in given:
            candidate, number = f"{name}_{number}", number + 1
        given.add(candidate)
        named.append(DiscoveredTable(candidate, table.path, table.files, table.manifest))
    return sorted(named, key=lambda table: table.name)


def _name(path: str) -> str:
    last = path.rsplit("/", 1)[-1]
    return _clean(stem_of(unquote(last)))


def _clean(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", name.lower()) or "table"
