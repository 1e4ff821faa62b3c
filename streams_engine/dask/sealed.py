"""Seal what travels to the workers of a cluster and back: encrypted, and complete in itself.

A scheduler logs what it cannot unpickle, and shows events and arguments: no secret and no
value of a row may stand in them. The key goes to the workers in a message of its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    S3Connection,
    Ssh,
)
from streams_engine.config.secret import Resolver, Secret
from streams_engine.config.stream import StreamConfig

__all__ = ["carried", "new_key", "seal", "unseal"]


def new_key() -> bytes:
    """Create an encryption key for one run."""
    return Fernet.generate_key()


def seal(key: bytes, thing: Any) -> bytes:
    """Pickle and encrypt."""
    return Fernet(key).encrypt(pickle.dumps(thing))


def unseal(key: bytes, sealed: bytes) -> Any:
    """Open a sealed message. Raises `cryptography.fernet.InvalidToken` where the key is another."""
    return pickle.loads(Fernet(key).decrypt(sealed))


def carried(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> StreamConfig:
    """Return the config in a form that another machine can use: references resolved, certificates
    as texts.

    Raises `ConfigError` if a reference cannot be resolved.
    """
    options = config.document.options.model_copy(update={"executor": None})
    return replace(
        config,
        document=config.document.model_copy(update={"options": options}),
        sources=tuple(_carried(source, resolvers) for source in config.sources),
        target=_carried(config.target, resolvers),
    )


def _carried(connection: Connection, resolvers: Mapping[str, Resolver]) -> Any:
    revealed = _revealed(connection, resolvers)
    if isinstance(revealed, S3Connection) and revealed.credentials_ref is not None:
        text = Secret.reference(revealed.credentials_ref).reveal(resolvers)
        return replace(revealed, credentials_ref=text)
    if isinstance(revealed, DatabaseConnection):
        names = ("ca", "client_cert", "client_key")
        texts = {name: _pem(getattr(revealed.ssl, name)) for name in names}
        revealed = replace(revealed, ssl=revealed.ssl.model_copy(update=texts))
        if revealed.ssh is not None:
            revealed = replace(revealed, ssh=_with_texts(revealed.ssh))
    return revealed


def _revealed(thing: Any, resolvers: Mapping[str, Resolver]) -> Any:
    """Return the dataclass with every reference inside, at any depth, resolved."""
    if isinstance(thing, Secret):
        return Secret.literal(thing.reveal(resolvers))
    if is_dataclass(thing) and not isinstance(thing, type):
        values = {f.name: _revealed(getattr(thing, f.name), resolvers) for f in fields(thing)}
        return replace(thing, **values)
    return thing


def _with_texts(ssh: Ssh) -> Ssh:
    hosts, key = ssh.known_hosts, ssh.private_key
    if hosts is not None:
        hosts = _read(hosts)
    if key is not None:
        key = Secret.literal(str(_pem(key.reveal())))
    return replace(ssh, known_hosts=hosts, private_key=key)


def _pem(text: str | None) -> str | None:
    """Return a key or certificate as text, reading it if the text is a path."""
    if text is None or "-----BEGIN" in text:
        return text
    return _read(text)


def _read(text: str) -> str:
    """Return the text of a file; the text itself if it is not the path of a file."""
    try:
        return Path(text).expanduser().read_text()
    except (OSError, RuntimeError, ValueError):
        return text
