"""A plot in characters: values over time, from zero to their peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

__all__ = ["plot"]

EIGHTHS = " ▁▂▃▄▅▆▇█"


def plot(
    title: str,
    values: Sequence[float | None],
    told: Callable[[float], str],
    *,
    width: int,
    height: int,
    style: str = "",
) -> Text:
    """Plot the last ``width`` values, each as a bar of eighths of a line, the newest at the right.

    The first line holds the title, the newest value and the peak of what is shown.
    """
    shown = [*values][-max(width, 1) :]
    known = [value for value in shown if value is not None]
    peak = max(known, default=0.0)
    newest = next((told(value) for value in reversed(known)), "-")
    head = f"{title} {newest}" + (f", peak {told(peak)}" if peak else "")
    lines = [Text(head[:width], "bold")]
    bars = [0.0 if value is None or not peak else value / peak * height * 8 for value in shown]
    for row in reversed(range(height)):
        cells = (EIGHTHS[max(0, min(8, round(bar - row * 8)))] for bar in bars)
        lines.append(Text("".join(cells).rjust(width), style))
    return Text("\n").join(lines)
