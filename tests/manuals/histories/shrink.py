"""Makes a history as short as it can be while it still fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.manuals.histories.script import Step
from tests.manuals.runner import Outcome

__all__ = ["shrink"]

T = TypeVar("T")
_TABLE = re.compile(r"\bTABLE (?:IF NOT EXISTS )?(\w+)")
Fails = Callable[[Sequence[Step]], bool]


def alike(first: Outcome, second: Outcome) -> bool:
    """Whether two outcomes are the same failure, as far as one can tell."""
    return (first.kind, first.code) == (second.kind, second.code)


def shrink(history: Sequence[Step], fails: Fails, words: str = "") -> list[Step]:
    """Return the steps that are needed for the failure, by delta debugging.

    First the tables that ``words`` do not name are left out, all at once or as far as it fails
    without them; then steps, halves before quarters; then statements of transactions.
    """
    tables = sorted(set(_TABLE.findall("\n".join(s for step in history for s in step.statements))))
    named = [table for table in tables if re.search(rf"\b{re.escape(table)}\b", words)]

    def of(kept: Sequence[str]) -> list[Step]:
        others = [table for table in tables if table not in kept]
        return [step for step in history if not _mentions(step, others)]

    if not named or not fails(of(named)):
        named = _without(tables, lambda kept: fails(of(kept)))
    steps = _without(of(named), fails)
    for number, step in enumerate(steps):
        if len(step.statements) > 1:

            def still(statements: Sequence[str], number: int = number) -> bool:
                trial = replace(steps[number], statements=tuple(statements))
                return fails([*steps[:number], trial, *steps[number + 1 :]])

            kept = _without(list(step.statements), still)
            steps[number] = replace(step, statements=tuple(kept))
    return steps


def _mentions(step: Step, tables: Sequence[str]) -> bool:
    text = "\n".join(step.statements)
    return any(re.search(rf"\b{re.escape(table)}\b", text) for table in tables)


def _without(items: list[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    size = max(1, len(items) // 2)
    while True:
        start, shorter = 0, False
        while start < len(items):
            trial = items[:start] + items[start + size :]
            if trial and fails(trial):
                items, shorter = trial, True
            else:
                start += size
        if size == 1 and not shorter:
            return items
        size = max(1, size // 2) if not shorter or size > 1 else 1
