"""What the validators of documents demand beyond types, as keywords of JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from streams_engine.config.adapters import known_kinds
from streams_engine.config.documents import OPERATORS, POSITIONS
from streams_engine.config.server_urls import SCHEMES
from streams_engine.config.validation import IGNORED_IN_CONNECTIONS, SCHEMA

__all__ = ["REFINEMENTS", "connection_schema", "flat_schema"]

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
NOT_NULL: Schema = {"not": NULL}
EMPTY: Schema = {"enum": [None, ""]}


def each_of(keys: Iterable[str], value: Schema) -> Schema:
    """Return the properties that have one schema."""
    return {key: value for key in keys}


def given(key: str, value: Schema | None = None) -> Schema:
    """Return the condition that a key is there, and not null; or that its value is such."""
    return {"required": [key], "properties": {key: NOT_NULL if value is None else value}}


def not_given(key: str) -> Schema:
    """Return the condition that a key is left out or null."""
    return {"properties": {key: NULL}}


def when(condition: Schema, demanded: Schema) -> Schema:
    """Return the rule that one condition demands another."""
    return {"if": condition, "then": demanded}


def exactly_one(*keys: str) -> Schema:
    """Return the rule that one of these keys is given."""
    return {"oneOf": [given(key) for key in keys]}


def not_both(one: str, other: str) -> Schema:
    """Return the rule that two keys exclude each other."""
    return when(given(one), not_given(other))


def inside(*path: str, value: Schema) -> Schema:
    """Return a schema for what lies, if it is there, at a path of keys."""
    for key in reversed(path):
        value = {"properties": {key: value}}
    return value


def in_any_case(*words: str) -> str:
    """Return a pattern for words in any letter case; the standard has no flag for that."""
    letters = (
        "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else re.escape(c) for c in word)
        for word in words
    )
    return f"^({'|'.join(letters)})$"


def plain(pattern: re.Pattern[str]) -> str:
    """Return a pattern that needs no flags."""
    text = pattern.pattern
    return text.replace("a-f", "a-fA-F").replace("a-z", "a-zA-Z") if pattern.flags & re.I else text


ENDS = "^[ \\t\\r\\n]*({})?[ \\t\\r\\n]*$"
POSITION = ENDS.format("|".join(f"(?:{plain(form)})" for form in POSITIONS))
BYTES = "^[ \\t\\r\\n]*[0-9]+[ \\t\\r\\n]*[kKmMgG]?[bB]?[ \\t\\r\\n]*$"
BELOW: Schema = {
    "anyOf": [
        {"type": "string", "pattern": r"^(?![/~])(?!(?:.*/)?\.\.(?:/|$))"},
        NULL,
    ]
}
CREDENTIALS: Schema = {"anyOf": [{"type": "string", "pattern": r"^(?!\s*\{)"}, NULL]}
CONVERT = given("mode", {"enum": ["convert", "load"]})
CDC = given("mode", {"const": "cdc"})
INSERTS: Schema = {"anyOf": [NULL, {"contains": {"const": "insert"}}]}
ONLY_FILES: Schema = {
    "properties": {
        "structureOptions": False,
        "schemaPolicy": False,
        "database": NULL,
        "schema": NULL,
    }
}
NO_ALIAS = inside("connections", value={"items": given("alias")})


def bytes_from(lowest: int) -> Schema:
    """Return the schema of a number of bytes, or a text such as 256MB."""
    return {
        "anyOf": [
            {"type": "integer", "minimum": lowest},
            {"type": "string", "pattern": BYTES},
        ]
    }


CONNECTION: Schema = {
    "anyOf": [NULL, {"type": "string"}, {"$ref": "#/$defs/Connection"}],
}

REFINEMENTS: Mapping[str, Mapping[str, Any]] = {
    "StreamDocument": {
        "properties": {"mode": {"enum": ["convert", "load", "cdc"]}},
        "allOf": [
            {"not": {"required": ["reportingInterval", "reportingIntervals"],
                     "properties": {"reportingIntervals": NOT_NULL}}},
            when(
                inside("source", "connections", value={"minItems": 2})
                | {"required": ["source"]},
                inside("source", value=NO_ALIAS),
            ),
            when(CDC, inside("target", "spec", "db", "writeMode",
                             value={"enum": ["upsert", None]})),
            when(CDC, inside("source", "connections",
                             value={"items": inside("queries", value={"maxItems": 0})})),
            when(CDC, inside("source", "options", value=when(
                given("binlogPosition", {"type": "string", "minLength": 1}),
                given("initialLoad", {"const": False}),
            ))),
            when(CONVERT, inside("source", "options", "operations", value=INSERTS)),
            when(CONVERT, inside("source", "connections", value={"items": inside("tables", value={
                "items": inside("operations", value=INSERTS),
            })})),
        ],
    },
    "SourceConnection": {
        "properties": {"connection": CONNECTION, "scopePath": BELOW},
        "allOf": [exactly_one("connection", "connectionId")],
    },
    "TargetDocument": {
        "properties": {"connection": CONNECTION},
        "allOf": [exactly_one("connection", "id")],
    },
    "TargetSpec": {
        "allOf": [
            not_both("files", "s3"),
            when(given("files"), inside("db", value=ONLY_FILES)),
            when(given("s3"), inside("db", value=ONLY_FILES)),
        ]
    },
    "DatabaseSpec": {
        "allOf": [
            when(
                given("structureOptions", given("tables", {"const": False})),
                inside("schemaPolicy",
                       value={"enum": ["validate_existing", "create_missing_only"]}),
            ),
            when(
                given("schemaPolicy", {"const": "drop_and_recreate"}),
                inside("writeMode", value={"not": {"const": "append"}}),
            ),
        ]
    },
    **{
        name: {
            "allOf": [
                when(
                    given("fileFormat", {"not": {"const": "parquet"}}),
                    inside("format", "parquet", value={"additionalProperties": NULL}),
                )
            ]
        }
        for name in ("FilesSpec", "S3Spec")
    },
    "FileFormat": {"properties": {"useDuckDB": {}}},
    "ParquetFormat": {
        "properties": {
            "compressionCodec": {
                "anyOf": [
                    {"type": "string", "pattern": in_any_case(
                        "none", "uncompressed", "snappy", "gzip", "zstd")},
                    NULL,
                ]
            }
        }
    },
    "QueryDocument": {"properties": {"columns": {}, "validated": {}}},
    "FilterDocument": {
        "properties": {"operator": {"type": "string", "pattern": in_any_case(*OPERATORS)}},
        "allOf": [
            when(
                given("operator", {"type": "string",
                                   "pattern": in_any_case("IS NULL", "IS NOT NULL")}),
                not_given("value"),
            )
        ],
    },
    "SourceOptions": {
        "properties": {
            "replicationSlot": {
                "anyOf": [{"type": "string", "pattern": "^[a-z0-9_]{0,63}$"}, NULL]
            },
            "publicationName": {
                "anyOf": [{"type": "string", "maxLength": 63, "pattern": "^[^\\u0000]*$"}, NULL]
            },
            "binlogPosition": {"anyOf": [{"type": "string", "pattern": POSITION}, NULL]},
        }
    },
    "FilesSourceDocument": {"properties": {"maxRecordBytes": bytes_from(1 << 10)}},
    "S3SourceDocument": {"properties": {"maxRecordBytes": bytes_from(1 << 10)}},
    "Options": {
        "properties": {
            "memoryBudget": bytes_from(16 << 20),
            "executor": {"anyOf": [NULL, {"$ref": "#/$defs/Dask"}]},
        }
    },
    "TypeOverride": {"allOf": [exactly_one("column", "from"), exactly_one("type", "to")]},
    "Upload": {
        "allOf": [
            when(
                given("kmsKeyId", {"type": "string", "minLength": 1}),
                given("serverSideEnc", {"enum": ["aws:kms", "aws:kms:dsse"]}),
            )
        ]
    },
    # Of connections
    "Ssl": {
        "allOf": [
            when(
                given("mode", {"const": "disabled"}),
                {"properties": each_of(("ca", "client_cert", "client_key"), EMPTY)},
            ),
            when(
                given("client_key", {"type": "string", "minLength": 1}),
                given("client_cert", {"type": "string", "minLength": 1}),
            ),
        ]
    },
    "SshDocument": {
        "anyOf": [given("password"), given("privateKey")],
        "allOf": [when(given("passphrase"), given("privateKey"))],
    },
    "CredentialsDocument": {
        "properties": {"credentialsRef": CREDENTIALS},
        "anyOf": [
            given("credentialsRef")
            | {"properties": {"credentialsRef": NOT_NULL, **each_of(
                ("accessKey", "secretKey", "sessionToken"), EMPTY)}},
            {"allOf": [given("accessKey"), given("secretKey"), not_given("credentialsRef")]},
        ],
    },
    "FolderDocument": {"properties": {"scopePath": BELOW}},
    "FilesSpecDocument": {"allOf": [exactly_one("files", "s3", "store")]},
    "StorageDocument": {
        "properties": {"credentials_ref": CREDENTIALS},
        "allOf": [
            {
                "if": given("provider", {"const": "s3"}),
                "then": inside("uri", value={"pattern": "^s3://"}),
                "else": {
                    "properties": {
                        "uri": {"not": {"pattern": "^s3://"}},
                        **each_of(("region", "endpoint", "credentials_ref"), NULL),
                    }
                },
            }
        ],
    },
}  # fmt: skip
"""By model: keywords that are added to its schema."""


def flat_schema(ignored: Mapping[str, Schema]) -> Schema:
    """Return the schema of the flat document, whose parts are those of the nested one."""
    interval = {"type": "integer", "minimum": 0}
    query = {
        "type": "object",
        "required": ["name", "query"],
        "properties": {"name": {"type": "string"}, "query": {"type": "string", "minLength": 1}},
    }
    return {
        "description": "The flat document, the form of the first generation.",
        "type": "object",
        "required": ["source", "target", "mode"],
        "additionalProperties": False,
        "properties": {
            **ignored,
            SCHEMA: {"type": "string"},
            "name": {"anyOf": [{"type": "string", "minLength": 1}, NULL]},
            "source": {"type": "string", "description": "The id or name of a connection."},
            "target": {"type": "string", "description": "The id or name of a connection."},
            "mode": {"enum": ["convert", "load", "cdc"]},
            "dataBundleSize": {"type": "integer", "minimum": 10, "maximum": 1000},
            "reportingIntervals": {
                "type": "object",
                "properties": {"source": interval, "target": interval},
                "additionalProperties": False,
            },
            "tables": {
                "type": "array",
                "items": {
                    "if": given("query", {"type": "string", "minLength": 1}),
                    "then": query,
                    "else": {"$ref": "#/$defs/TableDocument"},
                },
            },
            "limits": {"$ref": "#/$defs/Limits"},
            "createStructure": {"type": "boolean"},
            "skipIndexCreation": {"type": "boolean"},
            "options": {"$ref": "#/$defs/Options"},
        },
    }


def connection_schema(definitions: Mapping[str, Schema]) -> Schema:
    """Return the schema of a connection document: of a server, of files, or of another adapter."""
    others = [
        kind for kind in known_kinds() if kind not in {*SCHEMES, "files", "file", "s3", "null"}
    ]
    ignored = {name: {"description": "Has no meaning here."} for name in IGNORED_IN_CONNECTIONS}
    ignored[SCHEMA] = {"type": "string"}
    server, files = definitions["ServerDocument"], definitions["FilesDocument"]
    keys = server["properties"]
    server = {
        **server,
        "required": ["type"],
        "properties": {
            **ignored,
            **keys,
            "spec": {
                "anyOf": [
                    NULL,
                    {
                        "type": "object",
                        "required": ["database"],
                        "properties": {
                            "database": {
                                "type": "object",
                                "properties": keys,
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": NULL,
                    },
                ]
            },
        },
        "allOf": [
            {
                "anyOf": [
                    {"required": [key], "properties": {key: {"type": "string"}}},
                    {
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "required": ["database"],
                                "properties": {"database": {"required": [key]}},
                            }
                        },
                    },
                ]
            }
            for key in ("host", "username")
        ]
        + [
            when(
                given("type", {"type": "string", "pattern": in_any_case("mysql", "mariadb")}),
                {
                    "properties": {
                        "schema": {"enum": [None, ""]},
                        "spec": inside("database", "schema", value={"enum": [None, ""]}),
                    }
                },
            )
        ],
    }
    files = {
        **files,
        "properties": {**ignored, **files["properties"]},
        "allOf": [
            exactly_one("spec", "storage_config"),
            when(
                given("type", {"type": "string", "pattern": in_any_case("s3")}),
                {
                    "anyOf": [
                        given("spec", given("s3")),
                        given("storage_config", given("provider", {"const": "s3"})),
                    ]
                },
            ),
        ],
    }
    choices = [(in_any_case(*SCHEMES), server), (in_any_case("files", "s3"), files)]
    if others:
        choices.append((in_any_case(*others), {"type": "object"}))
    return {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {
                "type": "string",
                "pattern": in_any_case(*SCHEMES, "files", "s3", *others),
                "description": "The kind of place, in any letter case.",
            }
        },
        "allOf": [
            when(given("type", {"type": "string", "pattern": pattern}), schema)
            for pattern, schema in choices
        ],
    }
