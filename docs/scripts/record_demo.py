"""Record `streams-engine demo` as an animated SVG: `python docs/scripts/record_demo.py`.

The demo runs in a terminal of its own; what that showed, and when, becomes the frames. The SVG has
no script and no font, and shows its last frame alone to who wants no motion. It needs the extra
`docs`, and `pip install pyte`.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pyte

COLUMNS, LINES = 100, 30
CELL, LINE, MARGIN = 8.4, 18, 14
"""Pixels: width of a cell, height of a line, space around them."""

SHORTEST, LONGEST, LAST = 0.25, 1.5, 8.0
"""Seconds that a frame is shown: not less, not more, and the last one."""

COLOURS = {
    "default": "#d5d9e2", "black": "#5c6370", "red": "#f07178", "green": "#98c379",
    "brown": "#e5c07b", "blue": "#82aaff", "magenta": "#c792ea", "cyan": "#66d9d0",
    "white": "#ffffff",
}  # fmt: skip
BACKGROUND = "#1b1e27"

Run = tuple[int, str, str, bool]
"""A piece of a line in one style: its column, text, colour, and whether it is bold."""
Screen = tuple[tuple[Run, ...], ...]


@dataclass(frozen=True)
class Frame:
    """What the screen showed, and for how many seconds."""

    screen: Screen
    seconds: float


def recorded(command: Sequence[str]) -> Iterator[tuple[float, bytes]]:
    """Run a command in a terminal, and yield what it wrote with the time since the start."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color"},
    ) as process:
        os.close(inside)
        while select.select([terminal], [], [], 300)[0]:
            try:
                written = os.read(terminal, 1 << 16)
            except OSError:  # the end of a terminal
                break
            yield time.monotonic() - began, written
    os.close(terminal)
    if process.returncode:
        sys.exit(f"The command ended with {process.returncode}.")


def frames(written: Iterator[tuple[float, bytes]], prompt: str) -> list[Frame]:
    """Return the screens that stood long enough to be seen, after one with the command alone."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(prompt.encode())
    shown = [(0.0, _shot(screen))]
    for at, part in written:
        before = shown[-1]
        stream.feed(part)
        shot = _shot(screen)
        if shot == before[1]:
            continue
        if len(shown) > 1 and at - before[0] < SHORTEST:
            shown[-1] = (before[0], shot)  # the one before was not seen
        else:
            shown.append((at, shot))
    ends = [*(at for at, _ in shown[1:]), shown[-1][0] + LAST]
    lasting = [
        min(LONGEST, max(SHORTEST, end - at)) for (at, _), end in zip(shown, ends, strict=True)
    ]
    lasting[0], lasting[-1] = LONGEST, LAST
    return [Frame(shot, seconds) for (_, shot), seconds in zip(shown, lasting, strict=True)]


def _shot(screen: pyte.Screen) -> Screen:
    return tuple(tuple(_runs(screen.buffer[line])) for line in range(LINES))


def _runs(line: dict[int, pyte.screens.Char]) -> Iterator[Run]:
    cells = [(column, line[column]) for column in range(COLUMNS)]
    for (colour, bold), group in groupby(cells, lambda cell: (cell[1].fg, cell[1].bold)):
        run = list(group)
        text = "".join(char.data for _, char in run)
        if text.strip():
            indent = len(text) - len(text.lstrip())
            yield run[0][0] + indent, text.strip(), colour, bold


def drawn(film: Sequence[Frame]) -> str:
    """Return the frames as one SVG: they stand side by side, and the strip jumps from one to the
    next."""
    width, height = COLUMNS * CELL + 2 * MARGIN, LINES * LINE + 2 * MARGIN
    whole = sum(frame.seconds for frame in film)
    at, steps = 0.0, []
    for number, frame in enumerate(film):
        steps.append(f"{at / whole:.3%}{{transform:translateX({-number * width:.0f}px)}}")
        at += frame.seconds
    last = f"translateX({-(len(film) - 1) * width:.0f}px)"
    strip = "\n".join(
        f'<g transform="translate({number * width:.0f} 0)">{_lines(frame.screen)}</g>'
        for number, frame in enumerate(film)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">
<title>streams-engine demo: a shop is moved, compared, and followed</title>
<style>
text{{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}}
.strip{{animation:play {whole:.1f}s steps(1,end) infinite}}
@keyframes play{{{"".join(steps)}100%{{transform:{last}}}}}
@media (prefers-reduced-motion:reduce){{.strip{{animation:none;transform:{last}}}}}
</style>
<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}" stroke="#4b5263"/>
<g class="strip">
{strip}
</g>
</svg>
"""


def _lines(screen: Screen) -> str:
    return "".join(
        f'<text x="{MARGIN + column * CELL:.1f}" y="{MARGIN + (number + 0.75) * LINE:.1f}"'
        f' textLength="{len(text) * CELL:.1f}" fill="{COLOURS.get(colour, "#" + colour)}"'
        f' font-weight="{"bold" if bold else "normal"}">{escape(text)}</text>'
        for number, line in enumerate(screen)
        for column, text, colour, bold in line
    )


def main() -> None:
    """Record the demo."""
    parser = argparse.ArgumentParser(description="Record the demo as an animated SVG.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[1] / "assets/demo.svg")
    given = parser.parse_args()
    command = [sys.executable, "-m", "streams_engine.cli", "demo", "--rows", str(given.rows)]
    prompt = f"$ streams-engine demo --rows {given.rows}\r\n"
    film = frames(recorded(command), prompt)
    given.to.write_text(drawn(film))
    print(f"{len(film)} frames, {sum(f.seconds for f in film):.0f} s, in {given.to}")


if __name__ == "__main__":
    main()
