"""Plays entries of the catalogue on a route and says what came of each.

Entries share databases and one stream. Where the stream ends, the entry at fault is searched for:
what the error names is played alone, else halves are.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streams_engine import State, Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.errors import StateConflict, StreamsError
from streams_engine.testing.servers import Server
from tests.manuals.entries import RELOAD, Absent, Carried, Entry, Refused, Verdict
from tests.manuals.routes import Route
from tests.support.file_rows import comparable, read_folder
from tests.support.two_ends import Content, difference, read

__all__ = ["Outcome", "Player", "crowd", "judged", "scripts_refused"]

NOISE = "noise_beside"
SECONDS = 60.0
"""How long a stream may take for one step; a group gets a little more for each entry.

On a machine that others use too it is longer, by the work that waits for each processor.
"""


def patience(entries: int) -> float:
    """Return how many seconds a group may take for one step."""
    return (SECONDS + entries * 0.5) * crowd()


def crowd() -> float:
    """Return how many processes wait for each processor; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass(frozen=True)
class Outcome:
    """What came of an entry: ``equal``, or what was wrong.

    ``remedied``: the stream ended with ``code``, and the promised remedy made the ends equal.

    ``rows`` and ``structure`` differ in silence; ``verify`` disagrees with the servers' texts;
    the stream ``ended`` with ``code``, or came to no end (``stuck``); the ``script`` is wrong.
    """

    kind: str
    code: str = ""
    words: str = ""
    findings: tuple[str, ...] = ()

    def __str__(self) -> str:
        codes = f"(findings {', '.join(sorted(set(self.findings)))})" if self.findings else ""
        return " ".join(part for part in (self.kind, self.code, self.words, codes) if part)


EQUAL = Outcome("equal")


def judged(outcome: Outcome, verdict: Verdict) -> bool:
    """Whether the promise holds."""
    match verdict:
        case Refused() as refused:
            kind = "remedied" if refused.remedied else "ended"
            return outcome.kind == kind and outcome.code == refused.code
        case Carried(finding=finding):
            if finding is None:
                return outcome.kind == "equal"
            # What the finding says is not there: that is its difference in structure.
            kinds = ("equal",) if verdict == RELOAD else ("equal", "structure")
            return outcome.kind in kinds and finding in outcome.findings
        case Absent():
            return True


@dataclass
class Player:
    """Plays entries between two servers."""

    servers: dict[str, Server]
    route: Route
    say: Any = None
    """Called with a line for whatever happens, where somebody looks on."""
    count: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def play(
        self, entries: Sequence[Entry], place: str, refused: Refused | None = None, **options: Any
    ) -> dict[str, Outcome]:
        """What came of each entry, by id; ``options`` are the stream's.

        ``refused`` is what a single entry is refused with, so that its remedy is tried.
        """
        groups: list[Sequence[Entry]] = [entries]
        outcomes: dict[str, Outcome] = {}
        while groups:
            group = groups.pop()
            played, error = self._once(group, place, refused, options)
            if len(group) == 1:
                outcomes |= played
                continue
            # Another entry's locks may have stood in the way of a script.
            scripts = {id for id, outcome in played.items() if outcome.kind == "script"}
            groups += [[entry] for entry in group if entry.id in scripts]
            rest = [entry for entry in group if entry.id not in scripts]
            if error is None:
                outcomes |= {entry.id: played[entry.id] for entry in rest}
                continue
            named = [entry for entry in rest if re.search(rf"\b{entry.table}(__|\b)", error.words)]
            if len(named) == 1 and len(rest) > 1:
                groups += [[e for e in rest if e is not named[0]], named]
            elif len(rest) > 1:
                groups += [rest[: len(rest) // 2], rest[len(rest) // 2 :]]
            elif rest:
                groups.append(rest)
        return outcomes

    def _once(
        self, entries: Sequence[Entry], place: str, refused: Refused | None, options: dict[str, Any]
    ) -> tuple[dict[str, Outcome], Outcome | None]:
        """(what came of each, why the stream ended or None)."""
        began = time.monotonic()
        self.count += 1
        with _Stage(self.servers, self.route, list(entries), options, self.say) as stage:
            error = stage.run(place)
            if refused and error and refused.code == error.code and refused.remedied:
                outcomes = stage.remedied(entries[0], refused, error)
            else:
                outcomes = stage.outcomes(error)
        self._tell(f"{place}: {len(entries)} in {time.monotonic() - began:.1f} s")
        return outcomes, error

    def _tell(self, line: str) -> None:
        if self.say:
            self.say(line)


def scripts_refused(server: Server, name: str, entries: Iterable[Entry]) -> dict[str, str]:
    """What a server refuses of the entries' scripts, by entry; no stream takes part."""
    refused: dict[str, str] = {}
    servers = {name: server}
    with _Stage(servers, Route(name, name), list(entries), {}, None) as stage:
        for entry in stage.entries:
            for part in ("setup", "before", "work", "after"):
                for step in entry.script(part):
                    stage.step(entry, step)
            stage.close_sessions()
        refused |= stage.broken
    return refused


class _Stage:
    """Two databases and a stream for some entries."""

    def __init__(
        self,
        servers: dict[str, Server],
        route: Route,
        entries: list[Entry],
        options: dict[str, Any],
        say: Any,
    ) -> None:
        self.route, self.entries, self.say = route, entries, say
        self.source, self.target = servers[route.source], servers.get(route.target)
        self.folder = Path()
        self.options = {"name": "manuals", **options}
        self.broken: dict[str, str] = {}
        self.findings: tuple[Any, ...] = ()
        self.fresh = False
        self.last = True
        """Whether this is the last run of the stream, to be verified."""
        self.patience = patience(len(entries))
        self.verified: dict[str, str] = {}
        self.unmet = 0
        self._sessions: dict[str, Any] = {}

    def __enter__(self) -> _Stage:
        self.one = self.source.create_database()
        if self.target is None:
            self.folder = Path(tempfile.mkdtemp(prefix="manuals-"))
            self.other = self.folder.name
        else:
            self.other = self.target.create_database()
        if self.route.postgres and not self.route.bare:
            self._noise(TRIGGERS)
        self._noise(f"CREATE TABLE {NOISE} (id int PRIMARY KEY, n int)")
        self._noise(f"INSERT INTO {NOISE} VALUES (1, 0), (2, 0)")
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions.values():
            with contextlib.suppress(Exception):
                session.close()
        with contextlib.suppress(Exception):
            self._stream().release()
        if self.route.postgres:
            with contextlib.suppress(Exception), closing(self.source.connect(self.one)) as c:
                own = "FROM pg_replication_slots WHERE database = current_database()"
                c.execute(f"SELECT pg_terminate_backend(active_pid, 5000) {own} AND active")
                c.execute(f"SELECT pg_drop_replication_slot(slot_name) {own}")
            self._roll_back_prepared()
        self.source.drop_database(self.one)
        if self.target is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.target.drop_database(self.other)

    def _roll_back_prepared(self) -> None:
        """Roll back what a script prepared and did not end, for it holds the database."""
        with contextlib.suppress(Exception), closing(self.source.connect(self.one)) as c:
            left = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            for (gid,) in c.execute(left).fetchall():
                c.execute(f"ROLLBACK PREPARED '{gid}'")

    def _stream(self) -> Stream:
        if self.target is not None:
            urls = self.source.url(self.one), self.target.url(self.other)
            return Stream(*urls, mode="cdc", **self.options)
        return Stream.from_config(
            {
                "mode": "cdc",
                "name": "manuals",
                "source": {"connections": [{"connection": self.source.url(self.one)}]},
                "target": {
                    "connection": {
                        "type": "files",
                        "spec": {"files": {"basePath": str(self.folder)}},
                    },
                    "spec": {"files": {"fileFormat": "jsonl", "format": {"compression": "none"}}},
                },
                "options": {
                    "allowLossy": bool(self.options.get("allow_lossy")),
                    "typeOverrides": self.options.get("type_overrides", []),
                },
            }
        )

    # --- statements

    def _session(self, owner: str) -> Any:
        if owner not in self._sessions:
            connection = self.source.connect(self.one)
            if self.route.postgres:
                connection.execute("SET lock_timeout = '15s'")
            else:
                connection.cursor().execute("SET SESSION lock_wait_timeout = 15")
            self._sessions[owner] = connection
        return self._sessions[owner]

    def _noise(self, *statements: str) -> None:
        with self._session(NOISE).cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def step(self, entry: Entry, step: Iterable[str]) -> None:
        """Run a step in the entry's own session; an entry whose script fails plays no more."""
        if entry.id in self.broken:
            return
        cursor = self._session(entry.id).cursor()
        for statement in step:
            self._tell(f"  {statement}")
            try:
                _execute(cursor, statement)
            except Exception as error:
                if entry.tolerant:
                    self._tell(f"    left out: {error}")
                    continue
                self.broken[entry.id] = f"{statement}: {error}"
                self._tell(f"    {error}")
                with contextlib.suppress(Exception):
                    self._sessions.pop(entry.id).close()
                return

    def _part(self, part: str) -> None:
        for entry in self.entries:
            for step in entry.script(part):
                self.step(entry, step)

    # --- places

    def run(self, place: str) -> Outcome | None:
        """Play; why the stream ended, or None."""
        self._part("setup")
        self.last = place in ("load", "live")
        if place == "load":
            for part in ("before", "work", "after"):
                self._part(part)
            self.close_sessions()
            return self._follow([])
        if place == "live":
            return self._follow(self._rounds())
        if error := self._follow([]):
            return error
        {"backlog": self._backlog, "between": self._between, "within": self._within}[place]()
        self.last = True
        self.close_sessions()
        return self._follow([])

    def _rounds(self) -> Iterator[None]:
        """A step of every entry, and then the next one of every entry."""
        scripts = [
            (entry, [*entry.script("before"), *entry.script("work"), *entry.script("after")])
            for entry in self.entries
        ]
        for number in range(max(len(script) for _, script in scripts)):
            for entry, script in scripts:
                if number < len(script):
                    self.step(entry, script[number])
            yield
        self.close_sessions()
        yield

    def _backlog(self) -> None:
        for part in ("before", "work", "after"):
            self._part(part)

    def _between(self) -> None:
        for number, part in enumerate(("before", "work", "after")):
            for entry in self.entries:
                for step in entry.script(part):
                    self._noise(f"UPDATE {NOISE} SET n = n + 1 WHERE id = 1")
                    self.step(entry, step)
                    self._noise(f"DELETE FROM {NOISE} WHERE id = {2 + number}")
                    self._noise(f"INSERT INTO {NOISE} VALUES ({2 + number}, {number})")

    def _within(self) -> None:
        for entry in self.entries:
            work = [one for step in entry.script("work") for one in step]
            rows = [
                [one for step in entry.script(part) for one in step] for part in ("before", "after")
            ]
            noise = f"UPDATE {NOISE} SET n = n + 1 WHERE id = 1"
            if any(_controls(one) for one in (*rows[0], *work, *rows[1])):
                self.step(entry, [*rows[0], *work, *rows[1]])
            elif entry.alone:
                self.step(entry, ["BEGIN", noise, *rows[0], "COMMIT"])
                self.step(entry, [*work, "BEGIN", *rows[1], noise, "COMMIT"])
            else:
                self.step(
                    entry, ["BEGIN", *rows[0], noise, *work, "BEGIN", *rows[1], noise, "COMMIT"]
                    if not self.route.postgres
                    else ["BEGIN", *rows[0], noise, *work, *rows[1], noise, "COMMIT"],
                )  # fmt: skip
            if entry.id in self._sessions:
                with contextlib.suppress(Exception):
                    self._sessions[entry.id].cursor().execute("ROLLBACK")

    def close_sessions(self) -> None:
        for owner in [owner for owner in self._sessions if owner != NOISE]:
            with contextlib.suppress(Exception):
                self._sessions.pop(owner).close()

    # --- the stream

    def _follow(self, rounds: Iterable[None]) -> Outcome | None:
        """Start, catch up after every round, and stop; why it ended, or None."""
        try:
            stream = self._stream()
        except StreamsError as error:
            return Outcome("ended", error.code, str(error))
        try:
            return self._followed(stream, rounds)
        except StreamsError as error:
            return Outcome("ended", error.code, f"{error} | {error.remedy}")
        except Exception as error:
            return Outcome("ended", "CRASH", f"{type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(Exception):
                self.findings = (*self.findings, *stream.stats().findings)
                changes = stream.stats().changes
                self.unmet = changes.unmet if changes is not None else 0
            with contextlib.suppress(Exception):
                if not stream.state.final:
                    stream.stop(force=True)
                    stream.wait(timeout=SECONDS)
            with contextlib.suppress(Exception):
                stream.__exit__(None, None, None)

    def _followed(self, stream: Stream, rounds: Iterable[None]) -> Outcome | None:
        stream.start(fresh=True) if self.fresh else stream.start()
        if error := self._caught_up(stream):
            return error
        for _ in rounds:
            if error := self._caught_up(stream):
                return error
        self._tell("  the stream has caught up")
        if self.last:
            self._verify(stream)
        with contextlib.suppress(StateConflict):  # it failed a moment ago
            stream.stop()
        stream.wait(timeout=SECONDS)
        if stream.error is not None:
            raise stream.error
        return None

    def _verify(self, stream: Stream) -> None:
        with contextlib.suppress(StreamsError):
            self.verified = {
                table.table: "" if table.equal else f"{table.differing} {table.kinds} {table.note}"
                for table in stream.verify().tables
            }

    def _caught_up(self, stream: Stream) -> Outcome | None:
        try:
            if stream.catch_up(self.patience):
                return None
        except StreamsError:  # it asked the source when the stream failed
            if stream.wait(timeout=SECONDS) is not State.FAILED:
                raise
        if stream.error is not None:
            return Outcome("ended", stream.error.code, f"{stream.error} | {stream.error.remedy}")
        if stream.state.final:
            return Outcome("ended", str(stream.state), "without an error")
        last = [str(f.message) for f in stream.stats().findings][-1:]
        waits = getattr(stream.stats(), "connection", None)
        return Outcome("stuck", "", f"{stream.state} after {self.patience:.0f} s {waits} {last}")

    def remedied(self, entry: Entry, refused: Refused, error: Outcome) -> dict[str, Outcome]:
        """Follow the remedy of a refusal, go on, and compare."""
        for end, database, script in (
            (self.target, self.other, refused.target), (self.source, self.one, refused.source)
        ):  # fmt: skip
            if end is None or not script:
                continue
            with closing(end.connect(database)) as connection:
                for step in entry.named(script):
                    for statement in step:
                        self._tell(f"  remedy: {statement}")
                        connection.cursor().execute(statement)
        self.fresh = refused.fresh
        again = {"schema_policy": "drop_and_recreate"} if refused.fresh else {}
        self.options |= {**refused.options, **again}
        error_again = self._follow([])
        outcome = self.outcomes(error_again)[entry.id]
        if outcome.kind == "equal":
            return {entry.id: Outcome("remedied", error.code, findings=outcome.findings)}
        return {
            entry.id: replace(outcome, words=f"after {error.code} and its remedy: {outcome.words}")
        }

    # --- what came of it

    def outcomes(self, error: Outcome | None) -> dict[str, Outcome]:
        """By entry."""
        outcomes = {id: Outcome("script", "", words) for id, words in self.broken.items()}
        playing = [entry for entry in self.entries if entry.id not in self.broken]
        if error is not None:
            return outcomes | {
                entry.id: replace(error, words=self._plain(error.words)) for entry in playing
            }

        def wanted(name: str) -> bool:
            return any(entry.owns(name) for entry in playing)

        source = read(self.source, self.one, wanted)
        if self.target is None:
            target = read_folder(self.folder, comparable(source), wanted)
            source = comparable(source)
        else:
            target = read(self.target, self.other, wanted)
        for entry in playing:
            outcomes[entry.id] = self._compared(entry, source, target)
        return outcomes

    def _compared(self, entry: Entry, source: Content, target: Content) -> Outcome:
        ends = []
        for content in (source, target):
            mine = {n: t for n, t in content.tables.items() if entry.owns(n.split(".")[-1])
                    or entry.owns(n.split(".")[0])}  # fmt: skip
            ends.append(Content(content.kind, mine))
        findings = tuple(
            str(f.code) for f in self.findings if any(entry.owns(n) for n in _names(str(f.object)))
        )
        found = difference(ends[0], ends[1], entry.structure and self.target is not None)
        verdicts = {
            table: words
            for table, words in self.verified.items()
            if entry.owns(table.split(".")[-1].strip('`"'))
        }
        unequal = [f"{table}: {words}" for table, words in verdicts.items() if words]
        rows = [words for kind, words in found if kind == "rows"]
        if rows:
            said = "verify says equal" if not unequal else "verify sees it"
            return Outcome("rows", "", self._plain(f"{'; '.join(rows)} ({said})"), findings)
        if unequal:
            return Outcome("verify", "", self._plain("; ".join(unequal)), findings)
        if found:
            return Outcome("structure", "", self._plain("; ".join(w for _, w in found)), findings)
        return Outcome("equal", findings=findings)

    def _plain(self, words: str) -> str:
        """Without what differs from run to run."""
        return words.replace(self.one, "SOURCE").replace(self.other, "TARGET")

    def _tell(self, line: str) -> None:
        if self.say:
            self.say(line)


def _execute(cursor: Any, statement: str) -> None:
    """Run a statement; a COPY FROM STDIN has its rows in the lines behind it."""
    command, _, rows = statement.partition(" FROM STDIN\n")
    if rows:
        with cursor.copy(f"{command} FROM STDIN") as copy:
            copy.write(rows)
        return
    cursor.execute(statement)
    while getattr(cursor, "nextset", lambda: None)():
        pass


_CONTROL = re.compile(
    r"(BEGIN|START|COMMIT|ROLLBACK|XA|PREPARE TRANS|SAVEPOINT|LOCK|UNLOCK|SET)", re.I
)


def _controls(statement: str) -> bool:
    return bool(_CONTROL.match(statement))


def _names(label: str) -> list[str]:
    return re.findall(r"\w+", label)
