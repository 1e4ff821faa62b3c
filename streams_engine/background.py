"""`options.verification`: a comparison beside a cdc, and what becomes of its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from streams_engine.assembly import Assembly
from streams_engine.config.documents import Verification
from streams_engine.errors import StreamsError
from streams_engine.lifecycle import State
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters, VerificationStats
from streams_engine.verify.background import BackgroundVerification
from streams_engine.verify.progress import MemoryProgress
from streams_engine.verify.report import VerifyReport
from streams_engine.verify.verification import VerifySettings

__all__ = ["verification_beside"]


def verification_beside(
    wanted: Verification,
    parts: Assembly,
    control: Control,
    counters: Counters,
    catch_up: Callable[[], bool],
) -> AbstractContextManager[None]:
    """Compare source and target of a cdc while the block runs; nothing of it ends the stream.

    ``catch_up`` waits until the target has what the source has now.
    """
    share = wanted.sample if wanted.sample < 1 else None
    settings = VerifySettings(sample=share, catch_up=catch_up, shuffled=share is not None)
    kept = MemoryProgress()

    def compare(between: Callable[[], None]) -> VerifyReport:
        return parts.verify(settings, lambda *_: between(), store=kept)

    def report(outcome: VerifyReport | StreamsError | None, seconds: float) -> None:
        counters.verified(_stats(outcome, seconds))

    return BackgroundVerification(
        wanted.every,
        wanted.max_seconds,
        lambda: control.state is State.RUNNING and counters.phase == "following",
        compare,
        report,
    ).beside("verify")


def _stats(outcome: VerifyReport | StreamsError | None, seconds: float) -> VerificationStats:
    at = datetime.now(UTC)
    if not isinstance(outcome, VerifyReport):
        code = None if outcome is None else outcome.code
        return VerificationStats(at, None, seconds=seconds, error=code)
    return VerificationStats(
        at,
        outcome.ok,
        len(outcome.tables),
        tuple(table.table for table in outcome.tables if table.equal is False),
        tuple(table.table for table in outcome.tables if table.equal is None),
        sum(table.differing for table in outcome.tables),
        seconds,
    )
