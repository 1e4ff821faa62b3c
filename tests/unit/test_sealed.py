"""What travels to workers is complete, and is no reference any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streams_engine.config.connection import Ssh
from streams_engine.config.keywords import from_keywords
from streams_engine.config.secret import Secret
from streams_engine.config.stream import parse_config
from streams_engine.dask.sealed import _pem, _with_texts, carried, new_key, seal, unseal


def test_ssh_files_travel_as_texts_and_what_is_no_path_stays(tmp_path: Path) -> None:
    hosts = tmp_path / "known_hosts"
    hosts.write_text("host ssh-ed25519 AAAA")
    found = _with_texts(Ssh("h", "u", known_hosts=str(hosts), private_key=Secret.literal("x")))
    assert found.known_hosts == "host ssh-ed25519 AAAA"
    lines = "host ssh-ed25519 " + "A" * 5000
    found = _with_texts(Ssh("h", "u", known_hosts=lines, private_key=Secret.literal("k" * 5000)))
    assert (found.known_hosts, found.private_key) == (lines, Secret.literal("k" * 5000))
    assert _pem(str(tmp_path)) == str(tmp_path)


def test_a_reference_is_resolved_here_and_its_secret_is_no_reference_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HERE", "env:THERE")
    document = from_keywords(
        "postgresql://u@h/d", "mysql://u@h/d", mode="convert", tables=None, options={}
    )
    config = parse_config(document)
    secret = Secret("env:HERE")
    config = replace(config, sources=tuple(replace(s, password=secret) for s in config.sources))
    config = replace(config, target=replace(config.target, password=secret))
    key = new_key()
    text = seal(key, carried(config, {}))
    assert b"THERE" not in text
    monkeypatch.setenv("HERE", "other")
    monkeypatch.setenv("THERE", "wrong")
    found = unseal(key, text)
    for end in (*found.sources, found.target):
        assert end.password.reveal({}) == "env:THERE"
