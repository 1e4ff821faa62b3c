"""The dialect of files, whose types are Arrow's."""

from __future__ import annotations

from streams_engine.model import Dialect
from streams_engine.schema.dialects import DialectSpec
from streams_engine.schema.mapping.databases_to_files import file_type, map_to_files
from streams_engine.schema.types.files import arrow_type

__all__ = ["SPEC"]

SPEC = DialectSpec(
    dialect=Dialect.FILES,
    arrow_type=arrow_type,
    parse_type=file_type,
    through_arrow=map_to_files,
)
