"""Files hold what the table holds, and no spreadsheet runs it."""

from __future__ import annotations

import codecs
import io
import json

import numpy as np
import pandas as pd
import pytest

from strata.display.files import as_csv, as_json, as_parquet


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "|x", "  =1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell: str) -> None:
    frame = pd.DataFrame({"token": [cell, "a"], "value": [-1.5, 2.0]})
    read = pd.read_csv(io.BytesIO(as_csv(frame)), keep_default_na=False, lineterminator="\n")
    assert read["token"].iloc[0].startswith("'")
    assert read["token"].iloc[-1] == "a"
    if "\n" not in cell and "\r" not in cell:
        assert read["value"].tolist() == [-1.5, 2.0], "numbers are numbers"


def test_files_come_back() -> None:
    frame = pd.DataFrame({"token": ["=a", "日本", None], "n": np.arange(3), "at": [1.5, np.nan, 2]})
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(as_parquet(frame))), frame)
    assert as_csv(frame).startswith(codecs.BOM_UTF8), "else Excel reads 日本 as another code page"
    read = pd.read_csv(io.BytesIO(as_csv(frame)))
    assert list(read) == ["token", "n", "at"]
    assert read["n"].tolist() == [0, 1, 2]
    assert read["token"].iloc[1] == "日本"
    assert "\\ud83d" in as_csv(pd.DataFrame({"t": ["\ud83d"]}, dtype=object)).decode()
    assert json.loads(as_json({"a": ["日本\0\ud83d"]})) == {"a": ["日本\0\ud83d"]}
