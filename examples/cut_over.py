"""A cut-over: the target is kept in step until the application is switched to it.

python cut_over.py mysql://root@127.0.0.1/shop postgresql://me@127.0.0.1/shop
"""

import sys
from collections.abc import Callable

from streams_engine import Stream, StreamsError


def cut_over(
    source: str, target: str, stop_writing: Callable[[], None], switch: Callable[[], None]
) -> bool:
    """Load, follow, and switch once the target is equal; False: it was not, nothing switched."""
    with Stream(source, target, mode="cdc", name="cut-over") as stream:
        stream.start()
        # The load and the log behind it, while the application writes on.
        if not stream.catch_up(timeout=3600):
            raise stream.error or TimeoutError("The target did not catch up within an hour.")
        stop_writing()  # from here on the application stands still
        if not stream.catch_up(timeout=60):
            raise stream.error or TimeoutError("The last changes did not arrive.")
        verified = stream.verify()
        if verified.ok:
            switch()
        stream.stop()
        stream.wait()
    if verified.ok:
        stream.release()  # the source keeps no log for it any more
    return verified.ok


def main(source: str, target: str) -> int:
    try:
        done = cut_over(
            source,
            target,
            stop_writing=lambda: print("the application is read-only now"),
            switch=lambda: print("the application writes to the target now"),
        )
    except StreamsError as error:
        print(f"{error.code}: {error.message}\n{error.remedy or ''}", file=sys.stderr)
        return 1
    print("switched" if done else "NOT equal: nothing was switched")
    return 0 if done else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
