"""streams_engine: move a database, exactly, from Python.

::

    from streams_engine import Stream

    stream = Stream("mysql://root@127.0.0.1/shop", "postgresql://me@127.0.0.1/shop")
    print(stream.run().rows, "rows moved;", "equal" if stream.verify().ok else "NOT equal")

Importing this package imports no driver.
"""

import logging
from importlib.metadata import PackageNotFoundError, version

from streams_engine.aio import AsyncStream
from streams_engine.engine import AsyncEngine, Engine
from streams_engine.errors import StreamsError
from streams_engine.lifecycle import State
from streams_engine.stats import Stats
from streams_engine.stream import Stream

try:
    __version__ = version("streams-engine")
except PackageNotFoundError:  # a checkout on the path, not an installation
    __version__ = "0+unknown"

# Without logging set up, an application sees none of ours; errors are raised, not only logged.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "AsyncEngine",
    "AsyncStream",
    "Engine",
    "State",
    "Stats",
    "Stream",
    "StreamsError",
    "__version__",
]
