"""Secrets and references to them: never shown, resolved at use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from streams_engine.errors import ConfigError

__all__ = ["Resolver", "Secret"]

Resolver = Callable[[str], str]
"""Turns what follows ``scheme:`` of a reference into the secret; raises `KeyError` if unknown."""


def _from_environment(name: str) -> str:
    return os.environ[name]


def _from_file(path: str) -> str:
    return Path(path).read_text().rstrip("\n")


BUILT_IN: Mapping[str, Resolver] = {"env": _from_environment, "file": _from_file}


class Secret:
    """A secret or a reference (``env:NAME``, ``file:PATH``, a registered scheme). Never shown."""

    __slots__ = ("_literal", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._literal = False

    @classmethod
    def literal(cls, value: str) -> Secret:
        """The secret itself, also where it looks like a reference."""
        secret = cls(value)
        secret._literal = True
        return secret

    def reveal(self, resolvers: Mapping[str, Resolver] | None = None) -> str:
        """The secret itself, references resolved. Raises `ConfigError` naming the reference."""
        if self._literal:
            return self._value
        scheme, colon, rest = self._value.partition(":")
        resolver = {**BUILT_IN, **(resolvers or {})}.get(scheme) if colon else None
        if resolver is None:
            return self._value
        try:
            return resolver(rest)
        except (KeyError, OSError) as error:
            raise ConfigError(
                f"The secret's reference {scheme}:{rest} leads nowhere.",
                remedy="Set the variable, or write the file.",
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __repr__(self) -> str:
        return "Secret(***)"
