"""Hostile texts where text is shown, drawn, or written into a file: they stay text."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from strata import charts
from strata.charts import Chart
from strata.classroom import watch
from strata.concepts import hidden_states
from strata.concepts.script import program
from strata.concepts.views import concepts
from strata.display.files import as_csv, as_json, as_parquet
from strata.display.tokens import LONGEST, display_lines, display_text, display_token
from strata.lessons.pictures import as_pictures
from strata.ui.anatomy.record import as_spec
from tests.charts import forms
from tests.concepts.by_hand import trace
from tests.hostile import CASES, SMALL, Case, each_sink, of_kinds, try_all

FORMULA = set("=+-@|\uff1d\uff0b\uff0d\uff20")
ACTS = {"expr", "signal", "calculate", "filter", "test", "labelExpr", "url", "href", "image"}
PLAIN = {  # what a concept's program is told, by type, where it must be told something
    "int": 1,
    "float": 0.5,
    "str": "model.layers",
    "str | None": "model.norm",
    "Json": "[]",
    "Sequence[str]": ["mlp"],
    "Sequence[int]": [1],
    "TargetId": 1,
}
csv.field_size_limit(10_000_000)


def unseen(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c)[0] == "C" or unicodedata.category(c) == "Zl"]


def shown(text: str) -> None:
    line = display_token(text)
    assert line.isprintable()
    assert 0 < len(line) <= LONGEST
    assert not unseen(line)


def shown_running(text: str) -> None:
    line = display_text(text)
    assert line.isprintable()
    assert not unseen(line)
    assert len(line) <= 60 * 10 + 1  # every character can become an escape


def shown_in_lines(text: str) -> None:
    assert not unseen(display_lines(text[:5_000]).replace("\n", ""))


def in_a_spreadsheet(frame: pd.DataFrame) -> list[list[str]]:
    """The rows that a program finds in the CSV file, for which any line end may end one."""
    rows = list(csv.reader(io.StringIO(as_csv(frame).decode("utf-8-sig"), newline="")))
    assert len(rows) == len(frame) + 1
    assert {len(row) for row in rows} == {len(frame.columns)}
    for cell in (cell for row in rows[1:] for cell in row):
        seen = next((c for c in cell if unicodedata.category(c)[0] not in "CZ"), "")
        assert seen not in FORMULA or re.fullmatch(r"-?[\d.e+-]+", cell), repr(cell[:80])
        assert cell[:1] not in tuple("\t\r\n")
    return rows


def to_csv(text: str) -> None:
    cells = {"token": [text, "a"], "value": [-1.5, 2.0], "more": ["b", text]}
    frame = pd.DataFrame(cells, dtype=object).astype({"value": float})
    rows = in_a_spreadsheet(frame)
    escaped = text.encode("utf-8", "backslashreplace").decode()
    assert rows[1][0].removeprefix("'") == escaped.removeprefix("'")
    assert [float(row[1]) for row in rows[1:]] == [-1.5, 2.0]


def to_gradebook(*texts: str) -> None:
    """Of as many learners, who each gave two answers."""
    rows = []
    now = pd.Timestamp("2026-01-01", tz="UTC")
    for member, text in enumerate(texts):
        data: dict[str, Any] = {"guess": text, "answer": text, "model": text}
        data |= {"job": "j", "version": "v", "verdict": {"grade": "wrong", "words": text}}
        rows += [(f"m{member}", text, "first", 1, "guess", data, now)] * 2
    done = pd.DataFrame(rows, columns=watch.EVENTS)
    book = watch.gradebook(done)
    assert len(in_a_spreadsheet(book)) == len(texts) + 1
    assert book["name"].tolist() == list(texts)
    members = pd.read_parquet(io.BytesIO(as_parquet(book)))["member"].tolist()
    assert members == [f"m{member}" for member in range(len(texts))]
    assert len(watch.answers(done)) == len(texts)


def to_json(text: str) -> None:
    assert json.loads(as_json({"name": text, text: [text]})) == {"name": text, text: [text]}
    assert as_json(text).isascii()


def to_parquet(text: str) -> None:
    frame = pd.DataFrame({"token": pd.Series([text, None, "a"], dtype=object), "n": 1.0})
    back = pd.read_parquet(io.BytesIO(as_parquet(frame)))
    assert back["token"].tolist()[0] == text.encode("utf-8", "backslashreplace").decode()
    assert back["token"].tolist()[2] == "a"


def to_npz(text: str) -> None:
    run = replace(trace(tokens=2), text=text, tokens=(text, "a"))
    content = hidden_states.archive(run)["content"][0]
    file = np.load(io.BytesIO(content), allow_pickle=False)
    assert json.loads(str(file["tokens"])) == [text, "a"]
    assert json.loads(str(file["text"])) == text
    assert torch.equal(torch.from_numpy(file["hidden"]), run.hidden)


PLAINEST = "x"


def constants(code: str, plain: str) -> dict[str, Any]:
    """The program's values in capitals, read as data: whatever is more than a literal fails, and so
    does what differs elsewhere from the program of `PLAINEST`."""
    code.encode()  # it is downloaded as UTF-8
    pairs = zip(code.split("\n"), plain.split("\n"), strict=True)
    named = {}
    for each_ in ast.parse("\n".join(line for line, usual in pairs if line != usual)).body:
        assert isinstance(each_, ast.Assign)
        assert isinstance(each_.targets[0], ast.Name)
        named[each_.targets[0].id] = ast.literal_eval(each_.value)
    return named


def runs(code: str) -> str:
    """That program, which Python can read."""
    compile(code, "script.py", "exec")
    return code


def one_script(text: str) -> str:
    return program("Why?", "print(PROMPT)", "folder", None, text, texts=[text], other=text)


@cache
def plain_script() -> str:
    return runs(one_script(PLAINEST))


def to_script(text: str) -> None:
    given = {"PROMPT": text, "TEXTS": [text], "OTHER": text}
    assert constants(one_script(text), plain_script()) == given


def scripts(text: str) -> list[str]:
    """Of all concepts."""
    written = []
    for module in concepts().values():
        script = module.CONCEPT.script
        choices: dict[str, Any] = {}
        for name, asked in list(inspect.signature(script).parameters.items())[3:]:
            if name in ("texts", "prompts"):
                choices[name] = [text]
            elif name == "rows":  # of a learner's own set, whose conditions are text as well
                choices |= {name: [(text, text, text, text)], "compared": [text, text]}
                choices["quantity"] = "Norm of the last state"  # a probe needs two conditions
            elif name in choices or asked.kind is asked.VAR_KEYWORD:
                continue
            elif asked.default is asked.empty:
                choices[name] = PLAIN[asked.annotation]
        written.append(script("folder", None, text, **choices))
    return written


@cache
def plain_scripts() -> list[str]:
    return [runs(code) for code in scripts(PLAINEST)]


def to_all_scripts(text: str) -> None:
    for code, plain in zip(scripts(text), plain_scripts(), strict=True):
        said = constants(code, plain)
        assert said, code
        assert {text} == {cell for value in said.values() for cell in cells(value)}, said


def cells(value: Any) -> list[Any]:
    """What stands in a constant: text, a list of texts, or rows of them."""
    return [value] if isinstance(value, str) else [cell for part in value for cell in cells(part)]


def drawings(text: str) -> list[Chart]:
    """Charts of all forms that show tokens, with this one and in a title of it."""
    labels = [f"{position} {display_token(text)}" for position in range(3)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(forms, "LABELS", labels)
        patched.setattr(forms, "HOSTILE", (text,) * 6)
        names = ("heatmap", "outliers", "paths", "quantile_quantile", "before_and_after")
        drawn = [forms.FORMS[name]() for name in (*names, "laminar_profile", "token_matrices")]
        drawn.append(forms.layers_of_a_token())
    return [*drawn, bars(text)]


def bars(text: str) -> Chart:
    bar = forms.bars().frame.assign(label=[text, "a"])
    return charts.bars(bar, f"After {display_text(text)}", text)


@cache
def usual() -> list[Chart]:
    return drawings("a")


def acts(part: Any) -> Iterator[tuple[str, str]]:
    """All that a spec computes, fetches or links to."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ACTS and isinstance(value, str):
                yield name, value
            if name in ("field", "as"):
                yield name, str(value)
            yield from acts(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from acts(value)


def to_charts(text: str) -> None:
    for chart, plain in zip(drawings(text), usual(), strict=True):
        assert list(acts(chart.spec)) == list(acts(plain.spec))
        assert list(chart.frame.columns) == list(plain.frame.columns)
        line = as_spec(chart)
        assert "\n" not in line
        assert json.loads(line, parse_constant=pytest.fail)["data"]["values"]


SINKS: dict[str, Callable[[str], None]] = {
    "display_token": shown,
    "display_text": shown_running,
    "display_lines": shown_in_lines,
    "csv": to_csv,
    "json": to_json,
    "parquet": to_parquet,
    "npz": to_npz,
    "script": to_script,
}
# A table of text takes no half characters, and neither does a websocket: none can come here.
WHOLE: dict[str, Callable[[str], None]] = {
    "scripts": to_all_scripts,
    "charts": to_charts,
}


@each_sink(SINKS, CASES)
def test_it_stays_text(sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, SINKS[sink])


@each_sink(WHOLE, SMALL, but="halves control")
def test_it_stays_text_in_a_larger_whole(sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, WHOLE[sink])


@each_sink(["gradebook"], SMALL, but="halves control")
def test_it_stays_text_in_a_gradebook(sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, to_gradebook, at_once=10)


@each_sink(["picture"], of_kinds("markup", "vega", "json", "bidi", "formula", "template"))
def test_pictures_hold_no_links_and_no_scripts(sink: str, cases: tuple[Case, ...]) -> None:
    pictures = as_pictures([as_spec(bars(case.text)) for case in cases])
    assert all(pictures)
    for picture in pictures:
        for element in ElementTree.fromstring(picture).iter():
            name = element.tag.rsplit("}")[-1]
            assert name in {"svg", "g", "path", "text", "rect", "line", "defs", "clipPath", "style"}
            assert not [key for key in element.attrib if "href" in key or key.startswith("on")]


def test_the_catalogue_is_large_and_of_all_kinds() -> None:
    assert len({case.text for case in CASES}) == len(CASES) >= 200
    controls = {c for case in SMALL for c in case.text if unicodedata.category(c) == "Cc"}
    assert len(controls) == 65, "all of C0 and C1, and delete"
