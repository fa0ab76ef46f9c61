"""A table as a file."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd

_BEGINS_A_FORMULA = frozenset("=+-@|\t\r\n")


def as_csv(frame: pd.DataFrame) -> bytes:
    """A table as a CSV file. Text that a spreadsheet would take for a formula gets an apostrophe
    before it, and half characters, which UTF-8 has not, are written as escapes."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = frame.copy()
    for name in texts:
        cells = [_no_formula(cell) for cell in frame[name]]
        safe[name] = pd.Series(cells, index=frame.index, dtype=object)
    return safe.to_csv(index=False).encode("utf-8", "backslashreplace")


def _no_formula(cell: Any) -> Any:
    if isinstance(cell, str) and cell.lstrip(" ")[:1] in _BEGINS_A_FORMULA:
        return f"'{cell}"
    return cell


def as_parquet(frame: pd.DataFrame) -> bytes:
    """A table as a Parquet file, every cell as it is."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def as_json(content: Any) -> bytes:
    """Plain data as a JSON file, in ASCII."""
    return json.dumps(content, indent=1).encode()
