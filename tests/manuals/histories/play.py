"""Plays a history between two servers, and says what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from streams_engine import State, Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.errors import StateConflict, StreamsError
from streams_engine.testing.servers import Server
from tests.manuals.entries import Entry, Refused
from tests.manuals.histories.compose import fitting, refusing
from tests.manuals.histories.promises import PROMISES, REMEDIED
from tests.manuals.histories.script import Step
from tests.manuals.routes import Route
from tests.manuals.runner import Outcome, crowd
from tests.support.kills import Child, child
from tests.support.relaunch import down
from tests.support.two_ends import difference, read

__all__ = ["play"]

SECONDS = 40.0
"""How long a stream may take to catch up; longer on a machine that others use too."""
REMEDIES = 6
"""Refusals that are followed in one history at most."""
CHILD = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("ready", flush=True)
import streams_engine.faults as faults
from streams_engine import Stream
from streams_engine.stats import Counters
source, target, point, count, fresh, seconds = sys.argv[1:7]
left = int(count)
keep = Counters.found

def found(self, findings):
    findings = list(findings)
    for one in findings:
        print("finding", one.code, one.object, flush=True)
    keep(self, findings)

def reached(here):
    global left
    if here == point:
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

Counters.found = found
faults.install(reached)
more = {"schema_policy": "drop_and_recreate"} if fresh else {}
stream = Stream(source, target, mode="cdc", name="history", allow_lossy=True, **more)
try:
    stream.start()
    signal.sigwait({signal.SIGUSR1})
    stream.catch_up(float(seconds))
    if stream.error is not None:
        raise stream.error
except Exception as error:
    cause = stream.error or error
    words = " ".join(f"{cause} | {getattr(cause, 'remedy', '')}".split())
    print("failed", getattr(cause, "code", "CRASH"), words, flush=True)
    os._exit(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def play(
    source: Server,
    target: Server,
    route: Route,
    history: Iterable[Step],
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Play a history; ``say`` gets a line for whatever happens.

    ``equal``: both ends hold the same; ``remedied``: the stream ended as an entry promises,
    its remedy was followed, and both ends hold the same; else what was wrong.
    """
    with _Stage(source, target, route, say or (lambda _: None)) as stage:
        return stage.played(history)


class _Ended(Exception):
    """The stream ended, and nobody promised it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class _Stage:
    """Two databases, sessions on the source, and a stream in this process or in another one."""

    def __init__(
        self, source: Server, target: Server, route: Route, say: Callable[[str], None]
    ) -> None:
        self.source, self.target, self.route, self.say = source, target, route, say
        self.stream: Stream | None = None
        self.child: Child | None = None
        self.findings: list[tuple[str, str]] = []
        self.down = False
        """A server was down since the stream started: a start does not wait for one."""
        self.remedied: list[str] = []
        """Refusals that were promised, whose remedies were followed."""
        self.options: dict[str, Any] = {}
        self._open = contextlib.ExitStack()
        self._sessions: dict[str, Any] = {}
        self._began = time.monotonic()

    def __enter__(self) -> _Stage:
        self.one, self.other = self.source.create_database(), self.target.create_database()
        if self.route.postgres and not self.route.bare:
            with closing(self.source.connect(self.one)) as connection:
                connection.execute(TRIGGERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._close_sessions()
        self._open.close()
        with contextlib.suppress(Exception):
            self._end(force=True)
        with contextlib.suppress(Exception):
            self._made().release()
        if self.route.postgres:
            with contextlib.suppress(Exception), closing(self.source.connect(self.one)) as c:
                own = "FROM pg_replication_slots WHERE database = current_database()"
                c.execute(f"SELECT pg_terminate_backend(active_pid, 5000) {own} AND active")
                c.execute(f"SELECT pg_drop_replication_slot(slot_name) {own}")
        self.source.drop_database(self.one)
        self.target.drop_database(self.other)

    def played(self, history: Iterable[Step]) -> Outcome:
        try:
            for step in history:
                self._step(step)
            self._close_sessions()
            return self._compared()
        except _Ended as ended:
            return ended.outcome

    # --- statements

    def _step(self, step: Step) -> None:
        if step.marker:
            self.say(f"-- {step.marker}")
            self._roll_back()
            self._marked(step)
            self.say(f"--   at {time.monotonic() - self._began:.1f} s")
            return
        cursor = self._session(step.session).cursor()
        for statement in step.statements:
            try:
                cursor.execute(statement)
                while getattr(cursor, "nextset", lambda: None)():
                    pass
            except Exception as error:  # what the server refuses is no part of the history
                words = " ".join(str(error).split())
                self.say(f"{statement};  -- left out: {words[:150]}")
                continue
            self.say(f"{statement};")

    def _session(self, name: str) -> Any:
        if name not in self._sessions:
            connection = self.source.connect(self.one)
            if self.route.postgres:
                connection.execute("SET lock_timeout = '10s'")
            else:
                connection.cursor().execute(
                    "SET SESSION lock_wait_timeout = 10, SESSION innodb_lock_wait_timeout = 5"
                )
            self._sessions[name] = connection
        return self._sessions[name]

    def _roll_back(self) -> None:
        """End what is open: a stream may wait for it, and nobody else ends it."""
        for session in self._sessions.values():
            with contextlib.suppress(Exception):
                session.cursor().execute("ROLLBACK")

    def _close_sessions(self) -> None:
        for session in self._sessions.values():
            with contextlib.suppress(Exception):
                session.close()
        self._sessions.clear()

    # --- the stream

    def _marked(self, step: Step) -> None:
        match step.marker.split():
            case ["start"]:
                self._stop()
                self._start()
            case ["stop"]:
                self._stop()
            case ["catch", "up"]:
                self._ended_by(self._caught_up())
            case ["kill"]:
                self._kill()
            case ["restart", which]:
                self.down = self.child is not None or self.stream is not None
                self._close_sessions()
                with down(self.source if which == "source" else self.target):
                    pass
            case ["crash", *_]:
                assert step.crash is not None
                self._stop()
                self._crash(*step.crash)

    def _made(self) -> Stream:
        urls = self.source.url(self.one), self.target.url(self.other)
        options = {"allow_lossy": True, **self.options}
        return Stream(*urls, mode="cdc", name="history", **options)

    def _start(self, fresh: bool = False) -> None:
        self.down = False
        try:
            self.stream = self._made()
            self.stream.start(fresh=True) if fresh else self.stream.start()
        except StreamsError as error:
            seen = self.stream.error if self.stream else None
            self._ended_by(_ended(seen or error))

    def _crash(self, point: str, count: int) -> None:
        self.down = False
        fresh = "fresh" if self.options else ""
        urls = self.source.url(self.one), self.target.url(self.other)
        self.child = self._open.enter_context(
            child(CHILD, *urls, point, str(count), fresh, str(_patience()))
        )
        self.child.out.readline()

    def _kill(self) -> None:
        if self.child is not None:
            self.child.process.kill()
            self._read_child()

    def _read_child(self) -> None:
        """Wait for the end of the stream's process, and hear what it told."""
        if self.child is None:
            return
        told, self.child = self.child.told(_patience() + 20), None
        self._open.close()
        for line in told.splitlines():
            what, _, words = line.partition(" ")
            if what == "finding":
                code, _, label = words.partition(" ")
                self.findings.append((code, label))
            elif what == "failed":
                code, _, rest = words.partition(" ")
                self._ended_by(Outcome("ended", code, rest))

    def _stop(self) -> None:
        """Let no stream run: where one ended and its remedy was followed, another one does."""
        self._end()
        while self.stream is not None:
            self._end()

    def _end(self, force: bool = False) -> None:
        """Stop the stream here, or let the other process come to its point; then it is gone."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child.process.pid or 0, signal.SIGUSR1)
            self._read_child()
        stream, self.stream = self.stream, None
        if stream is None:
            return
        try:
            with contextlib.suppress(StateConflict):  # it failed a moment ago
                stream.stop(force=force)
            seconds = _patience()
            if not stream.wait(timeout=seconds).final and not force:
                raise _Ended(Outcome("stuck", "", f"{stream.state} {seconds:.0f} s after stop()"))
        except StreamsError:
            if stream.error is None:
                raise
        finally:
            self._noted(stream)
            stream.__exit__(None, None, None)
        if stream.error is not None and not force:
            self._ended_by(_ended(stream.error))

    def _noted(self, stream: Stream) -> None:
        with contextlib.suppress(StreamsError):
            self.findings += [(str(f.code), str(f.object)) for f in stream.stats().findings]

    def _caught_up(self) -> Outcome | None:
        """Wait until the target has all; why it has not, or None."""
        stream = self.stream
        if stream is None:
            return None
        seconds = _patience()
        try:
            if stream.catch_up(seconds):
                return None
        except StreamsError as error:  # it asked the source when the stream failed
            if stream.wait(timeout=seconds) is not State.FAILED:
                return _ended(error)
        if stream.error is not None:
            return _ended(stream.error)
        waits = getattr(stream.stats(), "connection", None)
        last = [str(f.message) for f in stream.stats().findings][-1:]
        return Outcome("stuck", "", f"{stream.state} after {seconds:.0f} s {waits} {last}")

    # --- refusals

    def _ended_by(self, outcome: Outcome | None) -> None:
        """Follow the remedy of a refusal that an entry promises. Raises `_Ended` for any other."""
        if outcome is None:
            return
        self.say(f"--   {outcome}")
        if self.down and outcome.code == "CONNECTION_FAILED":
            self._let_go()
            self._start()
            self._ended_by(self._caught_up())
            return
        promise = self._promised(outcome)
        if promise is None or len(self.remedied) == REMEDIES:
            raise _Ended(outcome)
        entry, refused = promise
        self.remedied.append(f"{outcome.code} of {entry.id if entry else 'what lies around'}")
        self._let_go()
        for end, database, script in (
            (self.target, self.other, refused.target), (self.source, self.one, refused.source)
        ):  # fmt: skip
            if script and entry is not None:
                with closing(end.connect(database)) as connection:
                    for statement in (one for step in entry.named(script) for one in step):
                        self.say(f"--   remedy: {statement}")
                        connection.cursor().execute(statement)
        if entry is None:
            self._follow(outcome.words.rpartition(" | ")[2])
        if refused.fresh:
            self.options = {"schema_policy": "drop_and_recreate"}
            self._drop_what_is_gone()
        self.say("--   started again" + (", fresh" if refused.fresh else ""))
        self._start(fresh=refused.fresh)
        self._ended_by(self._caught_up())

    def _follow(self, remedy: str) -> int:
        """Execute on the source the statements that a remedy gives its reader; how many worked."""
        done = 0
        with closing(self.source.connect(self.one)) as connection:
            for statement in re.findall(r"ALTER TABLE [^;]+;", remedy):
                self.say(f"--   remedy: {statement}")
                try:
                    connection.cursor().execute(statement)
                except Exception as error:  # its table has gone since
                    self.say(f"--   left out: {error}")
                else:
                    done += 1
        return done

    def _follow_findings(self) -> None:
        """Have tables join that were left out with a finding, by its remedy."""
        assert self.stream is not None
        for finding in self.stream.stats().findings:
            if str(finding.code) in REMEDIED and self._follow(str(finding.remedy)):
                self.remedied.append(f"{finding.code} {finding.object}")
        self._ended_by(self._caught_up())

    def _drop_what_is_gone(self) -> None:
        """Drop on the target what the source dropped: what is loaded anew does not know of it."""
        there = read(self.source, self.one, _followed).tables
        gone = [n for n in read(self.target, self.other, _followed).tables if n not in there]
        with closing(self.target.connect(self.other)) as connection:
            cursor = connection.cursor()
            if self.target.kind != "postgresql":
                cursor.execute("SET foreign_key_checks = 0")
            for name in gone:
                self.say(f"--   remedy: DROP TABLE {name}")
                cascade = " CASCADE" if self.target.kind == "postgresql" else ""
                cursor.execute(f"DROP TABLE {name}{cascade}")

    def _let_go(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            self._noted(stream)
            stream.__exit__(None, None, None)

    def _promised(self, outcome: Outcome) -> tuple[Entry | None, Refused] | None:
        """The promise of such an end, and the entry that makes it, if the words name one."""
        for entry in refusing(self.route):
            verdict = entry.verdict_on(
                self.route.source, self.route.target, bare=self.route.bare, load=False
            )
            named = re.search(rf"\b{entry.table}(__|\b)", outcome.words)
            if isinstance(verdict, Refused) and verdict.code == outcome.code and named:
                return entry, verdict
        for words, refused in PROMISES.items():
            if words in outcome.words and refused.code == outcome.code:
                return None, refused
        return None

    # --- what came of it

    def _compared(self) -> Outcome:
        """Bring the stream up to date, verify and compare."""
        if self.stream is None:
            self._stop()
            self._start()
        self._ended_by(self._caught_up())
        self._follow_findings()
        assert self.stream is not None
        unequal = [
            f"{table.table}: {table.differing} {table.kinds} {table.note}"
            for table in self.stream.verify().tables
            if not table.equal
        ]
        self._end()
        found = self._differences()
        findings = tuple(sorted({code for code, _ in self.findings}))
        if rows := [words for kind, words in found if kind == "rows"]:
            said = "verify sees it" if unequal else "verify says equal"
            return Outcome("rows", "", self._plain(f"{'; '.join(rows)} ({said})"), findings)
        if unequal:
            return Outcome("verify", "", self._plain("; ".join(unequal)), findings)
        if found:
            return Outcome("structure", "", self._plain("; ".join(w for _, w in found)), findings)
        if self.remedied:
            return Outcome("remedied", "", "; ".join(self.remedied), findings)
        return Outcome("equal", findings=findings)

    def _differences(self) -> list[tuple[str, str]]:
        """What differs by the servers' own texts and is neither told nor left unpromised."""
        source = read(self.source, self.one, _followed)
        target = read(self.target, self.other, _followed)
        loose = {entry.table for entry in fitting(self.route) if not entry.structure}
        told = {word for _, label in self.findings for word in re.findall(r"\w+", label)}

        def excused(words: str) -> bool:
            table = re.split(r"[: ]", words)[0]
            return table in told or any(table == n or table.startswith(n + "__") for n in loose)

        return [
            (kind, words)
            for kind, words in difference(source, target, structure=True)
            if kind == "rows" or not excused(words)
        ]

    def _plain(self, words: str) -> str:
        """Without what differs from run to run."""
        return words.replace(self.one, "SOURCE").replace(self.other, "TARGET")


def _ended(error: BaseException) -> Outcome:
    code = str(getattr(error, "code", "CRASH"))
    return Outcome("ended", code, f"{error} | {getattr(error, 'remedy', None)}")


def _patience() -> float:
    """Return how many seconds a stream gets for a step."""
    return SECONDS * crowd()


def _followed(name: str) -> bool:
    """Whether a table is no record of the stream's own."""
    return not name.startswith(("streams_engine", "_streams_engine"))
