"""Source and sink in memory: the reference implementation of the contracts.

Tests of applications and of this library run on it without a server.
"""

from streams_engine.adapters.memory.database import MemoryDatabase, MemoryTransaction
from streams_engine.adapters.memory.sink import MemorySink
from streams_engine.adapters.memory.source import MemorySource

__all__ = ["MemoryDatabase", "MemorySink", "MemorySource", "MemoryTransaction"]
