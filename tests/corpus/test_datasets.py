"""Texts from the hub: listed ones only, fetched once, read from the beginning and no further."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import errors

from strata.__main__ import main
from strata.corpus import datasets, passages, sampling
from strata.corpus.states import Source
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.weights import hub

ROWS = ["First text. It is short.", "", "  ", "Second text, a little longer. It ends here."]
ENTRY = """
[[text]]
id = "mine"
title = "My text"
repository = "owner/mine"
revision = "abc"
file = "data/test.parquet"
column = "text"
licence = "CC0"
"""


class FakeHub:
    """Stands in for `hf_hub_download`: one file, and whether it is here already."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.here, self.calls = folder, False, []
        self.error: Exception | None = None

    def __call__(self, repository: str, file: str, **asked: Any) -> str:
        if asked["local_files_only"]:
            if not self.here:
                raise errors.LocalEntryNotFoundError("not here")
        else:
            self.calls.append((repository, file, asked["repo_type"], asked["revision"]))
            if self.error is not None:
                raise self.error
            self.here = True
        return str(self.folder / Path(file).name)


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "texts.toml"
    file.write_text(ENTRY, "utf-8")
    monkeypatch.setenv("STRATA_TEXTS", str(file))
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return file


@pytest.fixture
def fake(tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    made = FakeHub(tmp_path)
    pd.DataFrame({"text": ROWS, "number": range(4)}).to_parquet(tmp_path / "test.parquet")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made)
    monkeypatch.setattr(hub, "reach", lambda: None)
    return made


def test_the_shipped_list_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATA_TEXTS", raising=False)
    cards = datasets.texts()
    assert cards["wikitext-103"].revision is not None
    assert not {"strata", "own"} & set(cards)


def test_rows_are_paragraphs_and_empty_ones_are_left_out(fake: FakeHub) -> None:
    assert datasets.read("mine", 1_000) == f"{ROWS[0]}\n\n{ROWS[3]}"
    assert fake.calls == [("owner/mine", "data/test.parquet", "dataset", "abc")]
    datasets.read("mine", 1_000)
    assert len(fake.calls) == 1, "what is here is not fetched again"


def test_no_more_is_read_than_was_asked_for(fake: FakeHub) -> None:
    assert datasets.read("mine", 10) == ROWS[0][:10]
    whole = datasets.read("mine", len(ROWS[0]) + 8)
    assert whole == f"{ROWS[0]}\n\n{ROWS[3][:6]}"


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("test.jsonl", "\n".join(json.dumps({"text": row}) for row in ROWS) + "\n\n", True),
        ("test.txt", "\n".join(ROWS), False),
    ],
)
def test_other_files(fake: FakeHub, listed: Path, name: str, content: str, column: bool) -> None:
    (fake.folder / name).write_text(content, "utf-8")
    entry = ENTRY.replace("data/test.parquet", name)
    listed.write_text(entry if column else entry.replace('column = "text"\n', ""), "utf-8")
    assert datasets.read("mine", 1_000) == f"{ROWS[0]}\n\n{ROWS[3]}"


@pytest.mark.parametrize("column", ["number", "missing"])
def test_a_column_without_texts_is_refused(fake: FakeHub, listed: Path, column: str) -> None:
    listed.write_text(ENTRY.replace('column = "text"', f'column = "{column}"'), "utf-8")
    with pytest.raises(InputError, match=f"no column '{column}' of texts"):
        datasets.read("mine", 1_000)


def test_what_is_not_listed_is_never_fetched(fake: FakeHub) -> None:
    with pytest.raises(InputError, match="no text 'owner/other'; choose one of strata, own, mine"):
        datasets.read("owner/other", 1_000)
    assert not fake.calls


def test_without_a_network_the_refusal_says_what_to_do(
    fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> None:
        raise ConnectionError("no connection to the hub")

    monkeypatch.setattr(hub, "reach", unreachable)
    with pytest.raises(InputError, match="no connection to the hub"):
        datasets.read("mine", 1_000)
    fake.here = True
    assert datasets.read("mine", 5) == "First", "what is here needs no network"


def test_a_revision_that_is_gone(fake: FakeHub) -> None:
    import httpx

    answer = httpx.Response(404, request=httpx.Request("GET", "https://example.org"))
    fake.error = errors.RevisionNotFoundError("gone", response=answer)
    with pytest.raises(ModelError, match="has no revision abc"):
        datasets.read("mine", 5)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('id = "mine"', 'id = "own"', "line 3: the id 'own' is taken by Strata"),
        ("test.parquet", "test.csv", "line 7: file should end with .parquet"),
        ('column = "text"\n', "", "line 7: a .parquet or .jsonl file needs 'column'"),
        ("owner/mine", "../mine", "line 5: repository should look like 'owner/name'"),
        ("licence", "license", "line 9: 'license' is not known; did you mean 'licence'"),
        ("[[text]]", "[[texts]]", "line 2: a text starts with a line"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(
    listed: Path, old: str, new: str, reason: str
) -> None:
    listed.write_text(ENTRY.replace(old, new), "utf-8")
    with pytest.raises(ModelError, match=reason):
        datasets.texts()


def test_a_sample_of_a_text_from_the_hub(fake: FakeHub, tiny: Callable[[str], Model]) -> None:
    rows = list(passages.passages().values())[:3]
    pd.DataFrame({"text": rows}).to_parquet(fake.folder / "test.parquet")
    model = tiny("llama")
    source = Source(corpus="mine", n=20, seed=1)
    sample = sampling.draw(model, source, ())
    own = sampling.draw(model, Source(corpus="own", n=20, seed=1), ["\n\n".join(rows)])
    assert sample.texts == own.texts
    assert sample.stream.equal(own.stream)


def test_a_text_is_fetched_ahead(fake: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "mine"]) == 0
    assert capsys.readouterr().out.strip() == str(fake.folder / "test.parquet")
