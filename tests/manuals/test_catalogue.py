"""The catalogue itself: every alternative of the grammar has an entry, and the page is current."""

from __future__ import annotations

from collections import Counter

from tests.manuals.catalogue import CHAPTERS, ENTRIES
from tests.manuals.coverage import PAGE, page
from tests.manuals.entries import Absent, steps
from tests.manuals.grammar import GRAMMAR
from tests.manuals.ledger import Ledger
from tests.manuals.routes import PLACES, ROUTES


def played() -> dict[tuple[str, str], set[str]]:
    """The alternatives that entries name, by server and statement."""
    found: dict[tuple[str, str], set[str]] = {}
    for chapter in CHAPTERS:
        server = "mysql9" if "mysql9" in chapter.servers else chapter.servers[-1]
        names = found.setdefault((server, chapter.statement), set())
        names.update(name for entry in chapter.entries for name in entry.clauses)
    return found


def test_every_alternative_of_the_grammar_has_an_entry() -> None:
    found = played()
    for key, names in GRAMMAR.items():
        assert not set(names) - found[key], f"{key}: no entry"


def test_an_entry_without_a_script_says_why() -> None:
    for entry in ENTRIES.values():
        if not entry.work and not entry.after:
            assert isinstance(entry.verdict, Absent) and entry.verdict.why, entry.id


def test_every_clause_of_an_entry_is_in_the_grammar() -> None:
    for key, names in played().items():
        assert not names - set(GRAMMAR[key]), key


def test_an_id_is_given_once_and_names_no_two_tables() -> None:
    counted = Counter(entry.id for chapter in CHAPTERS for entry in chapter.entries)
    assert [id for id, count in counted.items() if count > 1] == []
    assert [id for id in ENTRIES if "__" in id or len(id) > 40] == []


def test_a_transaction_is_one_step() -> None:
    assert steps("A; BEGIN; B 'x;y'; SAVEPOINT s; ROLLBACK TO s; COMMIT; C $$ d; e $$") == [
        ["A"],
        ["BEGIN", "B 'x;y'", "SAVEPOINT s", "ROLLBACK TO s", "COMMIT"],
        ["C $$ d; e $$"],
    ]


def test_what_is_open_is_in_the_catalogue() -> None:
    for entry, routes in Ledger.load().lines.items():
        assert entry in ENTRIES
        assert set(routes) <= set(ROUTES)
        assert all(set(places) <= {*PLACES, "refusal"} for places in routes.values())


def test_the_page_of_the_documentation_is_current() -> None:
    assert PAGE.read_text() == page(), "python -m tests.manuals --coverage"
