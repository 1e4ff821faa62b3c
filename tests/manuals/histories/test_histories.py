"""Histories composed from the catalogue arrive equal, or are refused as an entry promises.

``python -m tests.manuals.histories --route R --seed N`` plays one by hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.manuals.histories.compose import GENERATED, compose, fitting
from tests.manuals.histories.model import LIMIT
from tests.manuals.histories.play import play
from tests.manuals.histories.script import Step, parse, render
from tests.manuals.histories.shrink import shrink
from tests.manuals.routes import ROUTES

SEEDS = st.integers(0, 2**32 - 1)
QUICK = 1
STEADY = ("mysql9-mysql9", "mariadb-mariadb")
"""The routes in each ordinary run: on the others some histories fail still, and which one a seed
gives depends on the catalogue."""
SOAK = 100
FOLDER = Path(__file__).with_name("scripts")
SCRIPTS = (
    ("names_swapped", "pg18-pg18", "equal"),
    ("names_swapped", "pg18-mysql9", "equal"),
    ("partition_truncated_unseen", "pg18-pg18", "equal"),
    ("wider_in_the_same_type", "mysql9-pg18", "equal"),
    ("altered_after_a_killed_load", "mysql9-pg18", "equal"),
    ("altered_after_a_killed_load", "pg18-mysql9", "equal"),
    ("labels_beside_a_killed_load", "mysql9-pg18", "equal"),
    ("names_in_a_ring_with_other_keys", "mysql9-mysql9", "equal"),
    ("composite_key_retyped", "pg18-mysql9", "equal"),
    ("renamed_beside_a_killed_load", "mysql9-pg18", "equal"),
    ("names_swapped_with_a_foreign_key", "mysql9-mysql9", "equal"),
    ("altered_beside_a_killed_reload", "mysql9-mysql9", "equal"),
    ("label_renamed_beside_swapped_names", "pg18-pg18", "equal"),
    ("partition_new_and_root_dropped", "pg18-pg18", "equal"),
    ("key_grows_in_a_backlog", "pg18-pg18", "equal"),
    ("two_primary_keys_at_once", "pg18-pg18", "equal"),
    ("columns_renamed_at_once", "pg18-pg18", "equal"),
    ("read_again_under_a_swapped_name", "pg18-pg18", "equal"),
    ("read_again_under_a_swapped_name", "pg18-mysql9", "equal"),
    ("read_again_between_two_swaps", "pg18-pg18", "equal"),
    ("read_again_between_two_swaps", "pg18-mysql9", "equal"),
    ("read_again_between_two_swaps", "pg15-pg18", "equal"),
    ("label_renamed_of_a_renamed_table", "pg18-pg18", "equal"),
    ("label_renamed_of_a_renamed_table", "pg15-pg18", "equal"),
    ("label_renamed_of_a_renamed_table", "pg18-mysql9", "equal"),
    ("label_renamed_after_rows_of_a_new_column", "pg18-pg18", "equal"),
    ("label_renamed_after_rows_of_a_new_column", "pg18-mysql9", "equal"),
    ("left_out_without_an_identity", "pg18-mysql9", "remedied"),
    ("altered_before_another_got_its_name", "pg18-pg18", "equal"),
    ("altered_before_another_got_its_name", "pg15-pg18", "equal"),
)
"""Shortened histories and what comes of them."""


def wrong(request: pytest.FixtureRequest, name: str, seed: int) -> str | None:
    """What was wrong with a history, or None."""
    route = ROUTES[name]
    source, target = request.getfixturevalue(route.source), request.getfixturevalue(route.target)
    outcome = play(source, target, route, compose(route, random.Random(seed)))
    if outcome.kind in ("equal", "remedied"):
        return None
    return f"python -m tests.manuals.histories --route {name} --seed {seed} --shrink: {outcome}"


@pytest.mark.parametrize("name", STEADY)
@pytest.mark.server
def test_some_histories_arrive_equal(request: pytest.FixtureRequest, name: str) -> None:
    @settings(
        max_examples=QUICK,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # it is made shorter by step, not by seed
        suppress_health_check=list(HealthCheck),
    )
    @given(SEEDS)
    def one(seed: int) -> None:
        assert wrong(request, name, seed) is None

    one()


@pytest.mark.parametrize(("script", "name", "kind"), SCRIPTS)
@pytest.mark.server
def test_what_a_history_found_stays_repaired(
    request: pytest.FixtureRequest, script: str, name: str, kind: str
) -> None:
    route, history = ROUTES[name], parse((FOLDER / f"{script}.sql").read_text())
    source, target = request.getfixturevalue(route.source), request.getfixturevalue(route.target)
    assert play(source, target, route, history).kind == kind


@pytest.mark.soak
@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.server
def test_a_hundred_histories_arrive_equal(
    request: pytest.FixtureRequest, name: str, counted: Callable[[str], None]
) -> None:
    found = [words for seed in range(SOAK) if (words := wrong(request, name, seed))]
    counted(f"{name}: {SOAK} histories, {SOAK - len(found)} equal or refused as promised")
    assert found == []


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(GENERATED))
def test_a_history_is_a_script_that_reads_back(seed: int, name: str) -> None:
    history = compose(ROUTES[name], random.Random(seed))
    assert render(parse(render(history))) == render(history)
    assert history == compose(ROUTES[name], random.Random(seed))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(GENERATED))
def test_a_history_has_no_more_tables_than_it_may(seed: int, name: str) -> None:
    history = compose(ROUTES[name], random.Random(seed))
    tables: set[str] = set()
    for step in history:
        for statement in step.statements:
            words = statement.replace("(", " ").split()
            if words[:2] == ["CREATE", "TABLE"]:
                tables.add(words[2])
            elif words[:2] == ["DROP", "TABLE"]:
                tables.discard(words[2])
    assert len(tables) <= 2 * LIMIT  # PostgreSQL's partitions are tables too


def test_every_route_has_many_entries_to_compose() -> None:
    for name in GENERATED:
        assert len(fitting(ROUTES[name])) > 60


def test_a_history_that_fails_becomes_short() -> None:
    history = parse("A TABLE t1; B; BEGIN; C; D t2; COMMIT;\n-- stop\nE; F;\n-- start\nG;")

    def fails(trial: object) -> bool:
        text = render(list(trial))  # type: ignore[call-overload]
        return "D t2" in text and text.find("-- stop") < text.find("F;") and "-- stop" in text

    short = shrink(history, fails)
    assert short == [Step(("D t2",)), Step(marker="stop"), Step(("F",))]
