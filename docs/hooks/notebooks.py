"""Notebooks as pages: a comment ``<!-- notebook: NAME -->`` becomes the cells of
``docs/notebooks/NAME.ipynb`` with the outputs that are kept in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
MARKER = re.compile(r"<!-- notebook: ([\w-]+) -->")


def pages(name: str) -> Iterator[str]:
    """Yield the cells of a notebook as Markdown."""
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield text
            continue
        yield f"```python\n{text}\n```"
        yield from map(_output, cell["outputs"])


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        # a block of HTML ends at an empty line, and style sheets are the site's own
        html = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.S)
        lines = [line.strip() for line in html.splitlines() if line.strip()]
        return f'<div class="output">{"".join(lines)}</div>'
    text = "".join(data.get("text/plain", output.get("text", ""))).rstrip()
    return f"```text\n{text}\n```"


def filled(markdown: str) -> str:
    """A page with its notebooks."""
    return MARKER.sub(lambda found: "\n\n".join(pages(found[1])), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return filled(markdown)
