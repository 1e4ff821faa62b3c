"""Documents as people keep them: JSON, YAML or TOML, with ``env:NAME`` for any text."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from streams_engine.config.validation import SECRET_KEYS
from streams_engine.errors import ConfigError

__all__ = ["expanded", "from_environment", "read_document", "read_object", "write_document"]

NUMBERS = frozenset({"port"})
"""Keys of whole numbers that a variable may hold."""


def read_document(name: str) -> Any:
    """Read a document by the ending of its name; ``-`` is standard input: JSON, else YAML.

    Any text ``env:NAME`` is replaced by that variable, but a secret keeps its reference, which is
    resolved where a connection is opened. Raises `ConfigError`, which never shows what is written
    there: it may be a password.
    """
    text = sys.stdin.read() if name == "-" else _text(Path(name))
    return expanded(_parsed(text, name))


def read_object(name: str, what: str) -> dict[str, Any]:
    """Read a document that must be an object. Raises `ConfigError`."""
    made = read_document(name)
    if not isinstance(made, dict):
        raise ConfigError(
            f"{name} is not an object.", remedy=f"A {what} must be an object of keys and values."
        )
    return made


def _parsed(text: str, name: str) -> Any:
    ending = Path(name).suffix.lower()
    if name == "-" or ending not in PARSERS:
        ending = ".json" if text.lstrip()[:1] in ("{", "[", "") or name != "-" else ".yaml"
    return PARSERS[ending](text, name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {reason}.") from None


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as fault:
        _refuse(name, "JSON", fault.lineno, fault.colno, fault.msg)


def _yaml(text: str, name: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(
            f"{name}: YAML is not installed.", remedy="pip install 'streams-engine[cli]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        problem = str(getattr(fault, "problem", None) or "not understood").split("'")[0].strip()
        _refuse(name, "YAML", getattr(mark, "line", -1) + 1, getattr(mark, "column", -1) + 1,
                problem)  # fmt: skip


def _toml(text: str, name: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        place = str(fault).rpartition("(")[2].rstrip(")")
        raise ConfigError(f"{name} is not valid TOML: {place}.") from None


def _refuse(name: str, language: str, line: int, column: int, rule: str) -> NoReturn:
    # position and rule only: the text around it may hold a password
    raise ConfigError(f"{name} is not valid {language}: line {line}, column {column}: {rule}.")


PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": _toml,
}


def expanded(value: Any, path: str = "$") -> Any:
    """Return the document with each text ``env:NAME`` replaced, secrets left out.

    Raises `ConfigError`, by path, for a variable that is not set.
    """
    if isinstance(value, list):
        return [expanded(inner, f"{path}[{i}]") for i, inner in enumerate(value)]
    if isinstance(value, dict):
        return {
            key: inner
            if key in SECRET_KEYS or key == "credentials_ref" or (path == "$" and key == "url")
            else _number(key, expanded(inner, f"{path}.{key}"))
            for key, inner in value.items()
        }
    return from_environment(value, path) if isinstance(value, str) else value


def _number(key: str, value: Any) -> Any:
    numeric = key in NUMBERS and isinstance(value, str) and value.isdecimal()
    return int(value) if numeric else value


def from_environment(text: str, path: str) -> str:
    """Return what a text ``env:NAME`` stands for, and any other text as it is."""
    scheme, _, name = text.partition(":")
    if scheme != "env" or not name:
        return text
    if name not in os.environ:
        raise ConfigError(
            f"{path}: the environment variable {name} is not set.", path=path, remedy="Set it."
        )
    return os.environ[name]


def write_document(path: Path, text: str, *, force: bool) -> None:
    """Write a new file. Raises `ConfigError` if it exists, unless ``force``."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already.", remedy="Give --force to replace it.") from None
    except OSError as fault:
        raise ConfigError(f"{path} cannot be written: {fault.strerror}.") from None
