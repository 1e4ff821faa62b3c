"""A script: move a whole database once, and prove it.

python migrate.py mysql://root@127.0.0.1/shop postgresql://me@127.0.0.1/shop
"""

import sys

from streams_engine import Stats, Stream, StreamsError


def report(stats: Stats) -> None:
    print(f"{stats.phase}: {stats.rows:,} rows after {stats.seconds:.0f} s")


def main(source: str, target: str) -> int:
    with Stream(source, target) as stream:
        plan = stream.plan()
        for finding in plan.findings:
            print(f"{finding.severity}: {finding.object}: {finding.message}")
        stream.on_progress(report)
        try:
            stats = stream.run()
        except StreamsError as error:
            print(f"{error.code}: {error.message}\n{error.remedy or ''}", file=sys.stderr)
            return 1
        print(f"{stats.rows:,} rows in {len(stats.tables)} tables")
        verified = stream.verify()
    print("equal" if verified.ok else "NOT equal")
    return 0 if verified.ok else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
