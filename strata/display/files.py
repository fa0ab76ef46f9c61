"""A table as a file."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from typing import Any

import pandas as pd

_BEGINS_A_FORMULA = frozenset("=+-@|\t\r\n＝＋－＠")  # the wide ones are signs too in Japanese


def as_csv(frame: pd.DataFrame) -> bytes:
    """A table as a CSV file. Text that a spreadsheet would take for a formula gets an apostrophe
    before it, and half characters, which UTF-8 has not, are written as escapes. All text is quoted:
    a lone carriage return would else begin a row. It begins with a byte order mark, without which
    Excel takes UTF-8 for the code page of Windows."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = frame.copy()
    for name in texts:
        cells = [_no_formula(cell) for cell in frame[name]]
        safe[name] = pd.Series(cells, index=frame.index, dtype=object)
    text = safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8-sig", "backslashreplace")


def _no_formula(cell: Any) -> Any:
    """The cell, with an apostrophe if a formula begins at the first of its signs that is seen."""
    if isinstance(cell, str):
        for sign in cell:
            if sign in _BEGINS_A_FORMULA:
                return f"'{cell}"
            if unicodedata.category(sign)[0] not in "CZ":
                break
    return cell


def without_apostrophe(cell: str) -> str:
    """The cell as it was before `as_csv` put an apostrophe before it."""
    bare = cell[1:]
    return bare if cell.startswith("'") and _no_formula(bare) != bare else cell


def _whole(cell: Any) -> Any:
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell


def as_parquet(frame: pd.DataFrame) -> bytes:
    """A table as a Parquet file, every cell as it is but for half characters: see `as_csv`."""
    whole = frame.copy()
    for name in frame.select_dtypes(["object", "string"]):
        cells = [_whole(cell) for cell in frame[name]]
        whole[name] = pd.Series(cells, index=frame.index, dtype=frame[name].dtype)
    buffer = io.BytesIO()
    whole.to_parquet(buffer, index=False)
    return buffer.getvalue()


def as_json(content: Any) -> bytes:
    """Plain data as a JSON file, in ASCII."""
    return json.dumps(content, indent=1).encode()
