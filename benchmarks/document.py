"""The document of results: two parts, each written by a run of its own, and one by hand."""

from __future__ import annotations

from pathlib import Path

__all__ = ["notes", "replace"]

CAPTURE = "# Change data capture"
FURTHER = "# Queries and clusters"
"""What `benchmarks.federated` and `benchmarks.cluster` printed."""
NOTES = Path(__file__).with_name("notes.md")
NOTES_CAPTURE = "## Change data capture"


def replace(path: Path, *, snapshot: str | None = None, capture: str | None = None) -> None:
    """Write one part and keep the others."""
    old, further, last = (path.read_text() if path.exists() else "").partition(f"{FURTHER}\n")
    first, found, second = old.partition(f"{CAPTURE}\n")
    parts = [
        first if snapshot is None else snapshot,
        (found + second) if capture is None else f"{CAPTURE}\n\n{capture}",
        further + last,
    ]
    path.write_text("\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n")


def notes(*, capture: bool) -> str:
    """What is known of where a figure is not reached."""
    text = NOTES.read_text() if NOTES.exists() else ""
    first, _, second = text.partition(f"{NOTES_CAPTURE}\n")
    return (second if capture else first).strip()
