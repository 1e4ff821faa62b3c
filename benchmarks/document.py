"""The document of results: two halves, each written by a run of its own."""

from __future__ import annotations

from pathlib import Path

__all__ = ["notes", "replace"]

CAPTURE = "# Change data capture"
NOTES = Path(__file__).with_name("notes.md")
NOTES_CAPTURE = "## Change data capture"


def replace(path: Path, *, snapshot: str | None = None, capture: str | None = None) -> None:
    """Write one half and keep the other."""
    old = path.read_text() if path.exists() else ""
    first, found, second = old.partition(f"{CAPTURE}\n")
    halves = [
        first if snapshot is None else snapshot,
        (found + second) if capture is None else f"{CAPTURE}\n\n{capture}",
    ]
    path.write_text("\n\n".join(half.strip("\n") for half in halves if half.strip()) + "\n")


def notes(*, capture: bool) -> str:
    """What is known of where a figure is not reached."""
    text = NOTES.read_text() if NOTES.exists() else ""
    first, _, second = text.partition(f"{NOTES_CAPTURE}\n")
    return (second if capture else first).strip()
