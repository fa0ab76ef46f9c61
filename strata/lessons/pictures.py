"""Figures as SVG, drawn in a process of its own: the library that draws them ends its process on
text that it cannot read, and what a learner types must never end the server's."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 60  # for all figures of a report
_NAMED = re.compile(r'<svg role="img" aria-label="([^"]*)"')
_UNPRINTED = re.compile(r"\\u00(?:0[0-8bcef]|1[0-9a-f]|7f)")  # controls, as JSON writes them


def as_pictures(specs: Sequence[str]) -> list[str]:
    """The SVG of each Vega-Lite spec (JSON, with its data), named by its description; "" for what
    cannot be drawn."""
    drawn: list[str] = []
    while len(drawn) < len(specs):
        rest = [_UNPRINTED.sub("\\\\ufffd", spec) for spec in specs[len(drawn) :]]
        try:
            ran = subprocess.run(
                [sys.executable, "-X", "utf8", __file__],
                input="\n".join(rest),
                capture_output=True,
                encoding="utf-8",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            break
        lines = ran.stdout.splitlines()
        drawn += [json.loads(line) for line in lines[: len(rest)]]
        if len(lines) < len(rest):
            drawn.append("")  # the one at which the process ended
    return drawn + [""] * (len(specs) - len(drawn))


def name_of(picture: str) -> str:
    """What a picture of `as_pictures` says in words; "" if it has none."""
    found = _NAMED.match(picture)
    return html.unescape(found[1]) if found else ""


def _draw() -> None:
    """In the process of its own: a spec a line in, an SVG a line out."""
    import vl_convert

    for line in sys.stdin:
        try:
            spec = json.loads(line)
            svg = vl_convert.vegalite_to_svg(spec)
        except ValueError:
            svg = ""
        else:
            name = html.escape(" ".join(str(spec.get("description", "")).split()))
            svg = svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
        print(json.dumps(svg), flush=True)


if __name__ == "__main__":
    _draw()
