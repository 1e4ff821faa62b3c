"""The hierarchy and its codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import streams_engine.errors as errors
from streams_engine.errors import ConfigError, StreamsError


def _subclasses(root: type[StreamsError]) -> Iterator[type[StreamsError]]:
    for child in root.__subclasses__():
        yield child
        yield from _subclasses(child)


def test_each_class_has_a_code_of_its_own_and_stands_in_the_docstring() -> None:
    found = {cls.__name__: cls.code for cls in _subclasses(StreamsError)}
    assert len(set(found.values())) == len(found)
    drawn = dict(re.findall(r"[├└]── (\w+) +([A-Z_]+)", errors.__doc__ or ""))
    assert drawn == found
    assert set(errors.__all__) == {*found, "StreamsError"}


def test_as_a_document() -> None:
    error = ConfigError("No such key.", path="$.a", remedy="Take it out.", key="a")
    assert str(error) == "No such key. Take it out."
    assert json.loads(json.dumps(error.to_dict())) == {
        "code": "INVALID_CONFIG",
        "category": "config",
        "message": "No such key.",
        "remedy": "Take it out.",
        "retryable": False,
        "details": {"path": "$.a", "key": "a"},
    }
