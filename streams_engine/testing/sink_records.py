"""The part of the suite for sinks that is about the records of a stream."""

from __future__ import annotations

from typing import Any

from streams_engine.contracts import Sink, WritePlan
from streams_engine.testing.sink_place import (
    STREAM,
    SinkPlace,
    expect,
    numbers,
    stored,
    write,
)

__all__ = ["RecordsConformance"]


class RecordsConformance:
    """Tests of how records are stored, told apart and forgotten."""

    def test_records_come_back(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """Records come back by key with exactly their documents, from a new sink too; no
        records are no error."""
        assert dict(stored(sink).load_state(STREAM)) == {}
        records: dict[str, dict[str, Any]] = {
            "run": {"a": [1, None, {"b": "ü😀'\"\\\n"}], "n": 2**53 + 1, "f": 0.5, "t": True},
            "chunk:db.table:0": {"done": False, "last": ["x", 7]},
            'it\'s a "key"': {"x": None},
        }
        stored(sink).save_state(STREAM, records)
        write(sink, plan, [numbers(plan, 0, 1)], "chunk:db.table:1", rows=1)
        wanted = {**records, "chunk:db.table:1": {"rows": 1}}
        for one in (sink, place.open()):
            loaded = stored(one).load_state(STREAM)
            assert {key: dict(document) for key, document in loaded.items()} == wanted

    def test_an_empty_document_is_a_record(self, sink: Sink) -> None:
        """Only None removes a record: a document without keys is one like any other."""
        stored(sink).save_state(STREAM, {"empty": {}, "other": {"x": 1}})
        assert dict(stored(sink).load_state(STREAM)) == {"empty": {}, "other": {"x": 1}}

    def test_none_removes_and_a_document_replaces(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """None removes a record, a document replaces one, other keys stay as they are; what
        is not there is removed without an error."""
        stored(sink).save_state(STREAM, {"a": {"x": 1, "old": 1}, "b": {"x": 2}, "c": {"x": 3}})
        stored(sink).save_state(STREAM, {"a": {"x": 10}, "b": None, "unknown": None})
        assert dict(stored(sink).load_state(STREAM)) == {"a": {"x": 10}, "c": {"x": 3}}
        stored(sink).save_state(STREAM, {})
        write(sink, plan, [], "c", x=30)
        assert dict(stored(place.open()).load_state(STREAM)) == {"a": {"x": 10}, "c": {"x": 30}}

    def test_streams_are_told_apart(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """A stream is told apart by its whole name: case, spaces, accents, and odd characters."""
        names = ["s", "S", "s ", " s", "é", "e", "it's/a\\name", "x.json", "s%", "s" * 150]
        for number, name in enumerate(names):
            stored(sink).save_state(name, {"run": {"n": number}})
        for number, name in enumerate(names):
            assert dict(stored(sink).load_state(name)) == {"run": {"n": number}}, name
        stored(sink).forget("s")
        assert dict(stored(sink).load_state("s")) == {}
        assert all(stored(sink).load_state(name) for name in names[1:])

    def test_keys_are_told_apart(self, sink: Sink) -> None:
        """A record is told apart by its whole key: case, spaces at the end, and accents."""
        records = {key: {"key": key} for key in ("k", "K", "k ", " k", "ké", "ke", "k" * 300)}
        stored(sink).save_state(STREAM, records)
        assert dict(stored(sink).load_state(STREAM)) == records

    def test_forget_removes_one_stream(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """`forget` removes every record of a stream, those of its writes too; rows and other
        streams stay; it may be called again, and the stream may begin anew."""
        stored(sink).forget("never heard of")
        write(sink, plan, [numbers(plan, 0, 10)], "chunk")
        stored(sink).save_state(STREAM, {"run": {"x": 1}})
        stored(sink).save_state("other", {"run": {"x": 2}})
        for _ in range(2):
            stored(sink).forget(STREAM)
            assert dict(stored(place.open()).load_state(STREAM)) == {}
        assert dict(stored(sink).load_state("other")) == {"run": {"x": 2}}
        expect(place, plan, range(10))
        stored(sink).forget("other")
        stored(sink).save_state(STREAM, {"run": {"x": 3}})
        assert dict(stored(place.open()).load_state(STREAM)) == {"run": {"x": 3}}

    def test_another_sink_forgets_meanwhile(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """A sink goes on working where another one on the same target has just forgotten the
        last stream: the end of one run is no hindrance to another."""
        stored(sink).save_state("one", {"run": {"x": 1}})
        stored(place.open()).forget("one")
        stored(sink).save_state(STREAM, {"run": {"x": 2}})
        stored(place.open()).forget(STREAM)
        write(sink, plan, [numbers(plan, 0, 10)], "chunk")
        assert dict(stored(sink).load_state(STREAM)) == {"chunk": {"done": True}}
        expect(place, plan, range(10))
