"""The parts of the results: one comparison, one measurement of memory, one of delays each."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.bench import Bench
from benchmarks.cdc.contenders import (
    DEBEZIUM,
    DRAIN,
    MARIADB_BINLOG,
    MYSQL_EVENT_STREAM,
    MYSQL_REPLICATION,
    OURS,
    PG_RECVLOGICAL,
    Reader,
    child,
)
from benchmarks.cdc.latency import RATE, Latency, latency
from benchmarks.cdc.logs import Log, behind, plain, single
from benchmarks.cdc.pglogical import Pglogical
from benchmarks.cdc.report import Part, Row
from benchmarks.cdc.targets import Target, subscription_seconds
from benchmarks.jobs import Unavailable
from benchmarks.measuring import Failed, Measured, measure
from benchmarks.routes import Figure, at_least, at_most_seconds, faster, no_slower

__all__ = ["PARTS", "Given", "run_part"]

SUBSCRIPTION = "PostgreSQL's subscription"
PGLOGICAL = "pglogical, PostgreSQL 15"
SLOW_ROUNDS = 2
LIMIT = at_most_seconds(1.2)
MOST_MB = 300
MEDIAN_MS, LATE_MS = 10, 60
SUBSCRIPTION_SETTINGS = (
    "CREATE SUBSCRIPTION with its defaults from a slot at the same position; from ENABLE until "
    "the last transaction's row is seen on the target (a look every 5 ms)"
)
PGLOGICAL_SETTINGS = (
    "a subscription with its defaults between two servers of Debian's PostgreSQL 15, disabled "
    "while the same changes are made; from its enabling until the last transaction's row is seen"
)
APPLYING = (
    "into PostgreSQL it is timed from before the connection for the log is opened until the last "
    "commit; *with its checks*: from start()"
)


THEIRS = {SUBSCRIPTION: SUBSCRIPTION_SETTINGS, PGLOGICAL: PGLOGICAL_SETTINGS}
"""Settings of those that apply changes beside the library."""


@dataclass(slots=True)
class Given:
    """How much is asked for, and what has been found so far."""

    bulk: int
    one: int
    wide: int
    behind: int
    behind_one: int
    memory: int
    seconds: int
    """Of a measurement of delays."""
    rounds: int
    peers: Sequence[str] | None
    until: float
    """After this moment no second round is begun."""
    slow_until: float = float("inf")
    """After this moment slow peers are left out."""
    rates: dict[tuple[str, str], float] = field(default_factory=dict)
    """Rows a second by (part, contender)."""

    def wants(self, name: str) -> bool:
        """Whether a peer was asked for."""
        return self.peers is None or any(word.lower() in name.lower() for word in self.peers)

    def another(self, number: int) -> bool:
        """Whether there is time for one more round."""
        return number < self.rounds and (number == 0 or time.monotonic() < self.until)


# Log → null


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who reads one log, and what is to be reached beside whom."""

    title: str
    make: Callable[[Bench, Given], Log]
    readers: tuple[Reader, ...]
    figures: Mapping[str, Figure]
    like: str = ""
    """The part whose rates stand for peers that cannot be had here."""


def compare(bench: Bench, given: Given, name: str, comparison: Comparison) -> Part:
    """Every reader once a round, in turn, after a run of ours that is not counted."""
    log = comparison.make(bench, given)
    readers = [OURS, *(r for r in comparison.readers if given.wants(r.name))]
    runs: dict[str, list[Measured]] = {}
    failures: dict[str, str] = {}
    number = 0
    try:
        _read(OURS, log)
    except Failed as error:
        print(f"!!! warming up: {error}", flush=True)
    while given.another(number):
        turn = number % len(readers)
        for reader in readers[turn:] + readers[:turn]:
            if reader.name in failures or number >= reader.most_rounds:
                continue
            if reader.most_rounds <= SLOW_ROUNDS and time.monotonic() > given.slow_until:
                continue
            try:
                runs.setdefault(reader.name, []).append(_read(reader, log))
            except (Failed, Unavailable) as error:
                failures[reader.name] = str(error)
        number += 1
    part = Part(name, comparison.title, log.rows, log.transactions)
    for reader in readers:
        part.rows.append(
            _row(given, part, reader, runs.get(reader.name), failures.get(reader.name), comparison)
        )
    bench.server(log.server.flavour_name, "source").drop_database(log.database)
    return part


def _read(reader: Reader, log: Log) -> Measured:
    rows = reader.rows(log)
    with (
        tempfile.TemporaryDirectory() as scratch,
        log.entry(warm=reader.warm) as entry,
    ):
        command = reader.command(log, entry, scratch, rows)
        found = measure(command, measures_itself=reader.measures_itself)
    if found.rows is not None and found.rows < rows * 9 // 10:
        raise Failed(f"{found.rows} row changes came, not {rows}")
    if reader is OURS and found.rows != rows:
        raise Failed(f"{found.rows} row changes came, not {rows}")
    print(f"  {reader.name}: {found.rows or rows:,} in {found.seconds:.2f} s", flush=True)
    return Measured(found.seconds, found.peak_mb, found.rows or rows, found.said)


def _row(
    given: Given,
    part: Part,
    reader: Reader,
    runs: Sequence[Measured] | None,
    failed: str | None,
    comparison: Comparison,
) -> Row:
    figure = comparison.figures.get(reader.name)
    text = figure.text if figure else ""
    if failed is not None or not runs:
        borrowed = given.rates.get((comparison.like, reader.name))
        ours = given.rates.get((part.name, OURS.name))
        reason = failed or "no time was left"
        if borrowed and ours and figure:
            ratio = ours / borrowed
            reason = f"{reason}; judged by its {borrowed:,.0f} rows/s on MySQL in this run"
            return Row(
                reader.name, reader.settings, ratio=ratio, figure=text,
                holds=figure.holds(ratio), failed=reason,
            )  # fmt: skip
        holds = False if figure and reader is OURS else None
        return Row(reader.name, reader.settings, figure=text, holds=holds, failed=reason)
    seconds = [run.seconds for run in runs]
    rows = int(statistics.median(run.rows or 0 for run in runs))
    rate = statistics.median((run.rows or 0) / run.seconds for run in runs)
    given.rates[part.name, reader.name] = rate
    base = given.rates.get((part.name, OURS.name))
    ratio = base / rate if base and reader.name != OURS.name else None
    return Row(
        reader.name,
        reader.settings,
        seconds,
        rows,
        rate,
        max(run.peak_mb for run in runs),
        ratio,
        text,
        figure.holds(ratio) if figure and ratio else None,
    )


def _plain(flavour: str, shape: str, amount: str) -> Callable[[Bench, Given], Log]:
    def make(bench: Bench, given: Given) -> Log:
        rows = int(getattr(given, amount))
        return plain(bench.server(flavour, "source"), shape, rows, single=amount == "one")

    return make


MYSQL_PEERS = (DEBEZIUM, MYSQL_REPLICATION, MYSQL_EVENT_STREAM)
LIMITS = {"mysql": DRAIN, "mariadb": MARIADB_BINLOG}
BULK = {DEBEZIUM.name: at_least(10), MYSQL_REPLICATION.name: at_least(30)}
ONE = {DEBEZIUM.name: at_least(7)}
WIDE = {DEBEZIUM.name: at_least(3)}
FORMS = (
    ("bulk", "mixed", "transactions of 20,000 rows", BULK),
    ("one", "mixed", "one-row transactions", ONE),
    ("wide", "wide", "60 columns, transactions of 20,000 rows", WIDE),
)
COMPARISONS: dict[str, Comparison] = {
    f"{flavour}-{amount}": Comparison(
        f"{server} log → null: {words}",
        _plain("mysql9" if flavour == "mysql" else flavour, shape, amount),
        (*MYSQL_PEERS, LIMITS[flavour]),
        figures,
        like="" if flavour == "mysql" else f"mysql-{amount}",
    )
    for flavour, server in (("mysql", "MySQL"), ("mariadb", "MariaDB"))
    for amount, shape, words, figures in FORMS
}
COMPARISONS |= {
    f"postgres-{amount}": Comparison(
        f"PostgreSQL log → null: {words}",
        _plain("pg18", "mixed", amount),
        (PG_RECVLOGICAL, DEBEZIUM),
        {PG_RECVLOGICAL.name: LIMIT, DEBEZIUM.name: at_least(times)},
    )
    for amount, words, times in (
        ("bulk", "transactions of 20,000 rows", 5),
        ("one", "one-row transactions", 3),
    )
}


# Log → PostgreSQL


def apply_behind(bench: Bench, given: Given, name: str, *, one: bool) -> Part:
    """Ours from both sources and PostgreSQL's own subscription, into fresh copies."""
    rows = given.behind_one if one else given.behind
    words = "one-row transactions" if one else "transactions of 20,000 changes"
    target = Target(bench.server("pg18", "target"))
    logs = {
        "ours": behind(bench.server("pg18", "source"), rows, single=one),
        "ours, from MySQL": behind(bench.server("mysql9", "source"), rows, single=one),
    }
    contenders: dict[str, Callable[[], Measured]] = {
        title: (lambda log=log: _applied(target, log)) for title, log in logs.items()
    }
    if given.wants(SUBSCRIPTION):
        contenders[SUBSCRIPTION] = lambda: _subscribed(target, logs["ours"])
    with Pglogical() as pglogical:
        if given.wants(PGLOGICAL):
            contenders[PGLOGICAL] = lambda: pglogical.catch_up(rows, one=one)
        runs, failures = _rounds(given, contenders)
    part = Part(name, f"Log → PostgreSQL: {rows:,} row changes behind, {words}", rows, 0)
    part.transactions = logs["ours"].transactions
    figures = {
        SUBSCRIPTION: faster() if one else no_slower(),
        "ours, from MySQL": Figure("within 1.2 times ours from PostgreSQL", 0.0, 1.2),
    }
    for title in contenders:
        reader = Reader(
            title,
            lambda *_: [],
            THEIRS.get(title, f"{OURS.settings}; {APPLYING}"),
        )
        comparison = Comparison(part.title, lambda *_: logs["ours"], (), figures)
        row = _row(given, part, reader, runs.get(title), failures.get(title), comparison)
        if title != "ours" and row.seconds and runs.get("ours"):
            ours = statistics.median(run.seconds for run in runs["ours"])
            row.ratio = statistics.median(row.seconds) / ours
            row.holds = figures[title].holds(row.ratio) if title in figures else None
        part.rows.append(row)
        if title not in THEIRS and row.seconds:
            whole = [run.seconds + run.before for run in runs[title]]
            rate = row.rows / statistics.median(whole)
            part.rows.append(Row(f"{title}, with its checks", "", whole, row.rows, rate))
    for log in logs.values():
        log.server.drop_database(log.database) if log.server.kind != "postgresql" else None
    return part


def _rounds(
    given: Given, contenders: Mapping[str, Callable[[], Measured]]
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Every contender once a round, in turn, after a run of the first that is not counted."""
    runs: dict[str, list[Measured]] = {}
    failures: dict[str, str] = {}
    names = list(contenders)
    try:
        contenders[names[0]]()  # warms the servers for all
    except (Failed, Unavailable) as error:
        print(f"!!! warming up: {error}", flush=True)
    number = 0
    while given.another(number):
        turn = number % len(names)
        for title in names[turn:] + names[:turn]:
            if title in failures:
                continue
            try:
                run = contenders[title]()
                runs.setdefault(title, []).append(run)
                print(f"  {title}: {run.seconds:.2f} s", flush=True)
            except (Failed, Unavailable) as error:
                failures[title] = str(error)
        number += 1
    return runs, failures


def _applied(target: Target, log: Log) -> Measured:
    with (
        tempfile.TemporaryDirectory() as scratch,
        target.copy() as database,
        log.entry() as entry,
    ):
        url = target.server.url(database)
        command = child("follow", log, entry, scratch, log.rows, target=url)
        found = measure(command, measures_itself=True)
        target.demand_equal(database, log)
    return found


def _subscribed(target: Target, log: Log) -> Measured:
    with target.copy() as database, log.entry() as slot:
        seconds = subscription_seconds(log, target.server, database, slot)
        target.demand_equal(database, log)
    return Measured(seconds, 0.0, log.rows)


# Delays


def delays(bench: Bench, given: Given, name: str) -> Part:
    """200 transactions a second, for some seconds."""
    part = Part(name, f"Commit to visible, {RATE} transactions a second", 0, 0)
    part.unit = "ms"
    target = Target(bench.server("pg18", "target"))
    works = [
        ("ours, PostgreSQL → PostgreSQL", "pg18", False),
        ("ours, MySQL → PostgreSQL", "mysql9", False),
        (f"{SUBSCRIPTION}", "pg18", True),
    ]
    found: dict[str, list[Latency]] = {}
    failures: dict[str, str] = {}
    for number in range(2 if given.rounds > 1 and given.another(1) else 1):
        for title, flavour, subscription in works[number:] + works[:number]:
            if (subscription and not given.wants(SUBSCRIPTION)) or title in failures:
                continue
            try:
                source = bench.server(flavour, "source")
                run = latency(source, target, given.seconds, subscription=subscription)
                found.setdefault(title, []).append(run)
            except (Failed, Unavailable) as error:
                failures[title] = str(error)
    for title, _, subscription in works:
        if title in failures:
            part.rows.append(Row(title, "", holds=False, failed=failures[title]))
        for run in found.get(title, ()):
            holds = None if subscription else run.median < MEDIAN_MS and run.late < LATE_MS
            figure = "" if subscription else f"median under {MEDIAN_MS}, 99% under {LATE_MS} ms"
            part.rows.append(Row(title, "", latency=run, figure=figure, holds=holds))
    part.note = (
        "A process writes one row a transaction, and notes the time right before it sends COMMIT;"
        " another asks the target for `max(id)` on a connection of its own every 0.3 ms and notes"
        " when each row is there first. Both read the machine's monotonic clock. Two seconds"
        " before are not counted. synchronous_commit is on at the source. Each run is a line."
    )
    return part


# Memory


def memory(bench: Bench, given: Given, name: str) -> Part:
    """The highest resident memory of our process with one large transaction."""
    rows = given.memory
    part = Part(name, f"Peak memory: one transaction of {rows:,} rows", rows, 1)
    figure = f"under {MOST_MB} MB"
    target = Target(bench.server("pg18", "target"))
    for flavour, server in (("mysql9", "MySQL"), ("pg18", "PostgreSQL")):
        routes = ("null",) if flavour == "mysql9" else ("null", "PostgreSQL")
        try:
            log = single(bench.server(flavour, "source"), rows)
        except Unavailable as error:
            part.rows += [
                Row(f"{server} → {r}", "", holds=False, failed=str(error)) for r in routes
            ]
            continue
        for route in routes:
            title = f"{server} → {route}"
            try:
                run = _read(OURS, log) if route == "null" else _single_applied(target, log)
            except (Failed, Unavailable) as error:
                failed = str(error)
                part.rows.append(Row(title, "", figure=figure, holds=False, failed=failed))
                continue
            holds = run.peak_mb < MOST_MB
            rate = rows / run.seconds
            part.rows.append(
                Row(title, "", [run.seconds], rows, rate, run.peak_mb, None, figure, holds)
            )
        log.server.drop_database(log.database) if log.server.kind != "postgresql" else None
    return part


def _single_applied(target: Target, log: Log) -> Measured:
    from benchmarks.data import SHAPES

    with (
        tempfile.TemporaryDirectory() as scratch,
        target.empty(SHAPES["mixed"].create("postgresql")) as database,
        log.entry() as entry,
    ):
        url = target.server.url(database)
        command = child("follow", log, entry, scratch, log.rows, target=url)
        found = measure(command, measures_itself=True)
        target.demand_equal(database, log)
    return found


PARTS: Mapping[str, Callable[[Bench, Given, str], Part]] = {
    **{
        name: (lambda bench, given, name, chosen=chosen: compare(bench, given, name, chosen))
        for name, chosen in COMPARISONS.items()
    },
    "behind-bulk": lambda bench, given, name: apply_behind(bench, given, name, one=False),
    "behind-one": lambda bench, given, name: apply_behind(bench, given, name, one=True),
    "delays": delays,
    "memory": memory,
}


def run_part(bench: Bench, given: Given, name: str) -> Part:
    """One part; what cannot be had is said in it."""
    try:
        return PARTS[name](bench, given, name)
    except Exception as error:  # what the other parts found is not to be lost
        part = Part(name, name, 0, 0)
        said = str(error) or type(error).__name__
        part.rows.append(Row("ours", "", holds=False, failed=said.splitlines()[0]))
        return part
