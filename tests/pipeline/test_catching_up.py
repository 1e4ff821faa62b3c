"""Who waits in `catch_up` while the stream fails learns of that, not of a cut connection."""

from __future__ import annotations

import logging
import threading

from streams_engine import State, Stream
from streams_engine.adapters.memory import MemorySource
from streams_engine.errors import ConnectionFailed, SchemaChangeRefused, StreamsError
from streams_engine.model import Position
from tests.support.fault_points import once_at
from tests.support.memory_run import MemoryRun, ends, filled

WAIT = 60


class CutByItsEnd(MemorySource):
    """A question of where the log ends is answered only by the end of the run, which cuts it."""

    def __init__(self, run: MemoryRun) -> None:
        super().__init__(run.source)
        self.hold = False
        self.asked, self.cut = threading.Event(), threading.Event()

    def end(self) -> Position:
        if not self.hold:
            return super().end()
        self.asked.set()
        assert self.cut.wait(WAIT)
        raise ConnectionFailed("The stream was stopped.", retryable=False)


class Ending(logging.Handler):
    """Cut what is asked when the stream has failed, and let who asks see that before its state."""

    def __init__(self, source: CutByItsEnd, waiter: threading.Thread) -> None:
        super().__init__(logging.ERROR)
        self.source, self.waiter = source, waiter

    def emit(self, record: logging.LogRecord) -> None:
        self.source.cut.set()
        self.waiter.join(0.5)


def test_a_stream_that_fails_beside_it() -> None:
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    source = CutByItsEnd(run)
    answers: list[object] = []
    with Stream(source, sink, **options) as stream:

        def ask() -> None:
            try:
                answers.append(stream.catch_up(WAIT))
            except StreamsError as error:
                answers.append(error)

        def fail() -> None:
            raise SchemaChangeRefused("A table is gone.")

        stream.start()
        assert stream.catch_up(WAIT)
        source.hold = True
        waiter = threading.Thread(target=ask)
        waiter.start()
        assert source.asked.wait(WAIT)
        handler = Ending(source, waiter)
        log = logging.getLogger("streams_engine.stream")
        log.addHandler(handler)
        try:
            with once_at("commit: before", fail):
                run.source.insert("orders", {"id": 999, "who": "new", "price": None})
                assert stream.wait(timeout=WAIT) is State.FAILED
        finally:
            log.removeHandler(handler)
        waiter.join(WAIT)
    assert answers == [stream.error], "the failure, not the source's cut connection"
