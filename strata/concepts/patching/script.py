"""'Show the code' of patching: its map with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.script import CANDIDATES, TEXTS, program
from strata.trace import Part


def script(
    source: str,
    revision: str | None,
    prompt: str,
    *,
    other: str,
    target_ids: Sequence[int],
    blocks: str,
    within: Sequence[str],
    direction: str = "restore",
    part: Part = "stream",
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that makes the map, a run for each cell.

    `blocks` is the path of the model's list of blocks, `within` the module of each block whose
    output is replaced ("": the block itself).
    """
    names = list(within)
    return program(
        "Where is the answer carried? Put states of one prompt's run into another's.",
        TEXTS + CANDIDATES + _SCRIPT,
        source,
        revision,
        prompt,
        dtype,
        other=other,
        target_ids=list(target_ids),
        direction=direction,
        blocks=blocks,
        within=names[0] if len(set(names)) == 1 else names,
    )


_SCRIPT = """
"""
