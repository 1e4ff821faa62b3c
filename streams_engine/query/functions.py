"""The functions that an editor offers, with what they take."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["functions_of", "parameters"]

COMMON: Mapping[str, str] = {
    "abs": "number", "avg": "value", "cast": "value AS type", "ceil": "number",
    "coalesce": "value, ...", "concat": "text, ...", "count": "value | *", "current_date": "",
    "current_timestamp": "", "dense_rank": "", "exp": "number",
    "extract": "part FROM moment", "first_value": "value", "floor": "number",
    "greatest": "value, ...", "lag": "value, rows, default", "last_value": "value",
    "lead": "value, rows, default", "least": "value, ...", "left": "text, length",
    "length": "text", "ln": "number", "lower": "text", "lpad": "text, length, fill",
    "ltrim": "text", "max": "value", "min": "value", "mod": "dividend, divisor",
    "nullif": "value, other", "power": "base, exponent", "rank": "",
    "replace": "text, search, replacement", "right": "text, length", "round": "number, digits",
    "row_number": "", "rpad": "text, length, fill", "rtrim": "text", "sign": "number",
    "sqrt": "number", "substring": "text, start, length", "sum": "number", "trim": "text",
    "upper": "text",
}  # fmt: skip
"""What all of them have, and its parameters."""
OWN: Mapping[str, Mapping[str, str]] = {
    "mysql": {
        "date_add": "moment, INTERVAL", "date_format": "moment, format",
        "date_sub": "moment, INTERVAL", "datediff": "later, earlier",
        "group_concat": "value ORDER BY ... SEPARATOR text", "ifnull": "value, otherwise",
        "json_extract": "document, path, ...", "json_unquote": "document", "now": "digits",
        "str_to_date": "text, format", "unix_timestamp": "moment",
    },
    "postgres": {
        "age": "later, earlier", "array_agg": "value", "date_trunc": "part, moment",
        "generate_series": "start, stop, step", "jsonb_agg": "value",
        "jsonb_build_object": "key, value, ...", "now": "",
        "regexp_replace": "text, pattern, replacement, flags", "split_part": "text, delimiter, n",
        "string_agg": "text, delimiter", "to_char": "value, format", "to_date": "text, format",
        "unnest": "array, ...",
    },
    "duckdb": {
        "date_diff": "part, start, end", "date_trunc": "part, moment", "list": "value",
        "median": "number", "now": "", "quantile_cont": "number, share", "read_csv": "path",
        "read_json": "path", "read_parquet": "path", "regexp_matches": "text, pattern, options",
        "string_agg": "text, delimiter", "strftime": "moment, format", "unnest": "list",
    },
}  # fmt: skip


def functions_of(dialect: str) -> list[str]:
    """Return the names of the functions of a dialect of sqlglot, sorted."""
    return sorted({**COMMON, **OWN.get(dialect, {})})


def parameters(name: str, dialect: str) -> list[str] | None:
    """Return the parameters of a function; None if it is not known."""
    known = OWN.get(dialect, {}).get(name.lower(), COMMON.get(name.lower()))
    return None if known is None else [one for one in known.split(", ") if one]
