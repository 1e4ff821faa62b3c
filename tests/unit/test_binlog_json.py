"""Binary JSON, byte by byte, and how doubles are printed. The server's own text is in
tests/adapters/test_mysql_change_values.py."""

from __future__ import annotations

import pytest

from streams_engine.adapters.mysql.binlog.json_binary import double_text, render


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("00010016000b000100020c006102000a00050100050200", '{"a": [1, 2]}'),
        ("0000000400", "{}"),
        ("0200000400", "[]"),
        ("0400", "null"),
        ("0401", "true"),
        ("0402", "false"),
        ("05ffff", "-1"),
        ("06ffff", "65535"),
        ("0affffffffffffffff", "18446744073709551615"),
        ("0b000000000000f03f", "1.0"),
        ("0c0361220a", '"a\\"\\n"'),
    ],
)
def test_documents(data: str, text: str) -> None:
    assert render(bytes.fromhex(data)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e15, "1e15"),
        (123456789012345.0, "123456789012345"),
        (1234567890123456.7, "1234567890123456.8"),
        (1e20, "1e20"),
        (1.5e-20, "1.5e-20"),
        (1e-5, "0.00001"),
        (0.0, "0"),
        (100.0, "100"),
    ],
)
def test_doubles_are_printed_as_the_server_prints_them(value: float, text: str) -> None:
    assert double_text(value) == text
