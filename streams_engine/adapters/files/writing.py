"""What a writer of a format gets to write to: it cannot close it, and it is counted."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Unclosed"]


class Writes(Protocol):
    """Something that takes bytes."""

    def write(self, data: Any, /) -> Any: ...


class Unclosed:
    """Passes bytes on; its end is decided elsewhere, for only there the file may appear."""

    closed = False

    def __init__(self, under: Writes) -> None:
        self._under = under
        self._count = 0
        self._dropped = False

    def drop(self) -> None:
        """The file is finished or given up: a writer that is collected later writes nothing."""
        self._dropped = True

    def write(self, data: Any) -> int:
        """Pass bytes on."""
        view = memoryview(data)
        if not self._dropped:
            self._under.write(view)
        self._count += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """The bytes written so far."""
        return self._count

    def writable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is not."""
        return False

    def flush(self) -> None:
        """Left to the end."""

    def close(self) -> None:
        """Left to the end."""
