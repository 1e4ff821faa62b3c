"""Values of every type case, written to a MySQL server's log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pymysql

from streams_engine.model import Column, TableSchema
from tests.support.mysql_log import Place

WIDTH = 20

Case = dict[str, Any]


def natural(schema: TableSchema) -> Sequence[Column]:
    return schema.columns


def session(case: Case) -> list[str]:
    if "sql_mode" not in case:
        return ["SET time_zone = '+00:00'"]
    mode = "ALLOW_INVALID_DATES" if "ALLOW_INVALID" in case["sql_mode"] else ""
    return ["SET time_zone = '+00:00'", f"SET SESSION sql_mode = '{mode}'"]


def possible(place: Place, cases: Sequence[Case]) -> list[Case]:
    """Those that this server has type and value for."""
    found = []
    with closing(place.server.connect(place.database)) as connection:
        cursor = connection.cursor()
        for case in cases:
            try:
                cursor.execute("SET SESSION sql_mode = DEFAULT")
                for statement in session(case):
                    cursor.execute(statement)
                cursor.execute("DROP TEMPORARY TABLE IF EXISTS probe")
                cursor.execute(f"CREATE TEMPORARY TABLE probe (v {case['type']})")
                cursor.execute(f"INSERT INTO probe VALUES ({case['literal_sql']})")
                found.append(case)
            except pymysql.MySQLError:
                continue
    return found


def grouped(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Tables of a few cases each; those of one sql_mode together."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(str(session(case)), []).append(case)
    parts = [k[i : i + WIDTH] for k in kinds.values() for i in range(0, len(k), WIDTH)]
    return {f"t{number}": part for number, part in enumerate(parts)}
