"""Secrets and references to them: never shown, resolved at use."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streams_engine.errors import ConfigError, ConnectionFailed, StreamsError

__all__ = ["BUILT_IN", "DEFAULT", "References", "Resolver", "Secret", "allowed"]

Resolver = Callable[[str], str]
"""Turns what follows ``scheme:`` of a reference into the secret; raises `KeyError` if unknown."""


def _from_environment(name: str) -> str:
    return os.environ[name]


def _from_file(path: str) -> str:
    return Path(path).read_text().rstrip("\n")


BUILT_IN: Mapping[str, Resolver] = {"env": _from_environment, "file": _from_file}


DEFAULT = "default"
"""The resolver of references without a scheme, where only a reference can stand."""

Scheme = Literal["env", "file"]
References = Literal["none"] | Scheme | Collection[Scheme]
"""Which built-in schemes are resolved: ``"none"``, or some of ``env`` and ``file``."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """In place of a resolver: references of this scheme lead nowhere."""

    scheme: str

    def __call__(self, rest: str) -> str:
        raise ConfigError(
            f"The secret's reference {self.scheme}:{rest} is not resolved here.",
            remedy="Give the secret itself, or register your own resolver. If nobody else writes "
            f"the documents, such references may be allowed with references={{'{self.scheme}'}}.",
        )


def allowed(
    resolvers: Mapping[str, Resolver] | None, references: References
) -> dict[str, Resolver]:
    """Return the resolvers, and a `Refusal` for each built-in scheme that is not allowed.

    Raises `ConfigError` for a name that is no built-in scheme.
    """
    chosen = {references} - {"none"} if isinstance(references, str) else set(references)
    unknown = sorted(chosen - set(BUILT_IN))
    if unknown:
        raise ConfigError(
            f"references: unknown scheme '{unknown[0]}'; expected {', '.join(sorted(BUILT_IN))}.",
            path="references",
            remedy="Use 'none', or a set of these; register your own schemes with resolvers.",
        )
    refused = {scheme: Refusal(scheme) for scheme in BUILT_IN if scheme not in chosen}
    return {**refused, **(resolvers or {})}


class Secret:
    """A secret, a reference (``env:NAME``, ``file:PATH``, a registered scheme), or a callable that
    returns the secret. Never shown."""

    __slots__ = ("_literal", "_value")

    def __init__(self, value: str | Callable[[], str]) -> None:
        self._value = value
        self._literal = False

    @classmethod
    def literal(cls, value: str) -> Secret:
        """Create a secret whose value is never read as a reference."""
        secret = cls(value)
        secret._literal = True
        return secret

    @classmethod
    def reference(cls, value: str) -> Secret:
        """Create a secret from a text that is known to be a reference: one without a scheme is the
        default resolver's."""
        return cls(value if ":" in value else f"{DEFAULT}:{value}")

    def reveal(self, resolvers: Mapping[str, Resolver] | None = None) -> str:
        """Return the secret as it is now: a reference is resolved, a callable called.

        Raises `ConfigError` that names the reference, `ConnectionFailed` if the callable fails.
        """
        if not isinstance(self._value, str):
            return _called(self._value)
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
                f"The secret's reference {scheme}:{rest} could not be resolved.",
                remedy="Set the environment variable, or write the file.",
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __repr__(self) -> str:
        return "Secret(***)"


def _called(give: Callable[[], str]) -> str:
    """Return a callable's secret; what the callable raises is the cause of a `ConnectionFailed`,
    for its own server may be away."""
    try:
        secret = give()
    except StreamsError:
        raise
    except Exception as error:
        raise ConnectionFailed(
            f"The callable that gives the password raised {type(error).__name__}.",
            remedy="See the cause of this error.",
        ) from error
    if not isinstance(secret, str):
        raise ConfigError(
            f"The callable that gives the password returned a {type(secret).__name__}.",
            remedy="Return a text.",
        )
    return secret
