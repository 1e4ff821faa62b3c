"""Find the adapter of a kind of place: a built-in one, or one that an installed package brings."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from streams_engine.contracts.adapter import Adapter
from streams_engine.errors import ConfigError

__all__ = ["BUILT_IN", "GROUP", "adapter_of", "frames_adapter", "known_kinds"]

GROUP = "streams_engine.adapters"
"""The group of entry points: name is a kind, value is ``module:ADAPTER``."""

MYSQL = "streams_engine.adapters.mysql.adapter:ADAPTER"
POSTGRES = "streams_engine.adapters.postgres.adapter:ADAPTER"
FILES = "streams_engine.adapters.files.adapter:ADAPTER"
FRAMES = "streams_engine.adapters.files.frames:ADAPTER"

BUILT_IN: Mapping[str, str] = {
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "postgresql": POSTGRES,
    "postgres": POSTGRES,
    "files": FILES,
    "file": FILES,
    "s3": FILES,
    "null": "streams_engine.adapters.null:ADAPTER",
}
"""The entry points of this package, for a checkout that is on the path and not installed."""


EXTRAS: Mapping[str, str] = {
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "gcs": "gcs",
    "gs": "gcs",
    "http": "http",
    "https": "http",
    "sftp": "sftp",
    "ssh": "sftp",
}
"""The extras that bring the packages of well known fsspec filesystems."""


def frames_adapter() -> Adapter:
    """Return the adapter of tables in memory, which no document names."""
    return _loaded("frames", FRAMES)


def known_kinds() -> tuple[str, ...]:
    """Return every kind that an adapter is known for, installed packages' too."""
    return tuple(sorted({*BUILT_IN, *entry_points(group=GROUP).names}))


def adapter_of(kind: str, path: str) -> Adapter:
    """Return the adapter of a kind. Raises `ConfigError` with ``path`` if there is none, or its
    package cannot be loaded."""
    return _loaded(kind, BUILT_IN[kind]) if kind in BUILT_IN else _installed(kind, path)


@cache
def _loaded(kind: str, value: str) -> Adapter:
    module, _, name = value.partition(":")
    adapter: Adapter = getattr(import_module(module), name)
    return adapter


def _installed(kind: str, path: str) -> Adapter:
    points = entry_points(group=GROUP, name=kind)
    if not points and _is_filesystem(kind, path):
        return _loaded(kind, FILES)
    if not points:
        near = get_close_matches(kind, known_kinds(), 1)
        meant = f"Did you mean '{near[0]}'? " if near else ""
        raise ConfigError(
            f"{path}: no installed adapter serves connections of type '{kind}'.",
            path=path,
            remedy=(
                f"{meant}Known are {', '.join(known_kinds())}. For another type install a package "
                f"that has '{kind}' among its entry points {GROUP}."
            ),
        )
    (point, *others) = points
    if others:
        raise ConfigError(
            f"{path}: several packages serve connections of type '{kind}': "
            f"{', '.join(sorted(_package(point) for point in points))}.",
            path=path,
            remedy="Uninstall all but one.",
        )
    return _from_package(point, path)


def _is_filesystem(kind: str, path: str) -> bool:
    """Return True if ``kind`` is a protocol of fsspec.

    Raises `ConfigError` if its package is not installed.
    """
    import fsspec

    if kind not in fsspec.available_protocols():
        return False
    try:
        fsspec.get_filesystem_class(kind)
    except ImportError as error:
        extra = EXTRAS.get(kind)
        raise ConfigError(
            f"{path}: the fsspec filesystem of {kind}:// cannot be loaded: {error}.",
            path=path,
            remedy=f"pip install 'streams-engine[{extra}]'"
            if extra
            else "Install its package: see the documentation of fsspec.",
        ) from None
    return True


def _from_package(point: EntryPoint, path: str) -> Adapter:
    """Load an entry point. Raises `ConfigError` naming the package and the missing part."""
    try:
        adapter = point.load()
    except Exception as error:
        raise ConfigError(
            f"{path}: the adapter '{point.name}' of {_package(point)} cannot be loaded: {error}.",
            path=path,
            remedy="Install what is missing, or another version of the package.",
        ) from error
    if not isinstance(adapter, Adapter):
        raise ConfigError(
            f"{path}: {point.value} of {_package(point)} is not a "
            "streams_engine.contracts.Adapter.",
            path=path,
            remedy="Install another version of the package.",
        )
    return adapter


def _package(point: EntryPoint) -> str:
    return point.value if point.dist is None else point.dist.name
