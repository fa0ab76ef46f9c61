"""What was summarised of shipped and listed texts is there after a restart, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from strata.concepts.gaussian_baseline import CONCEPT
from strata.concepts.views import find_view, supplied
from strata.corpus import passages
from strata.corpus.examples import EXAMPLES
from strata.engine import Job, LocalEngine, Settings, summaries
from strata.model import Model
from strata.trace import Scale

OWN = "A text of one's own, which nobody else is to read, about a river and its stones. " * 9
PARAMS = {"layer": 1, "dim": 2, "part": "stream"}
SAMPLED = ("corpus.about", "corpus.texts", "corpus.check")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    some = dict(list(passages.passages().items())[:4])
    monkeypatch.setattr(passages, "passages", lambda: some)
    monkeypatch.setattr("strata.corpus.sampling.passages", lambda: some)
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return tmp_path


@contextmanager
def started(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[LocalEngine, list[int]]]:
    """An engine that has just started, and how many texts it has read."""
    read: list[int] = []
    capture = type(model).capture_many

    def counted(self: Model, texts: list[str], **how: Any) -> Any:
        read.append(len(texts))
        return capture(self, texts, **how)

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "capture_many", counted)
        settings = Settings(any_model=True, summaries=True)
        with LocalEngine(settings, load=lambda name, progress: model) as engine:
            yield engine, read


def job(model: Model, view: str = "gaussian_baseline.summary", **fields: Any) -> Job:
    fields.setdefault("sample", {"n": 60})
    return Job(view=view, model=model.name, **fields)


def kept(home: Path) -> list[Path]:
    return sorted((home / "summaries").glob("*/*"))


def test_every_table_of_the_page_comes_back_to_the_last_digit_without_reading(
    tiny: Callable[[str], Model], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = tiny("llama"), []
    for name in [*(f"gaussian_baseline.{view.__name__}" for view in CONCEPT.views), *SAMPLED]:
        view = find_view(name)
        wanted = signature(view).parameters.values()
        needed = {each.name for each in wanted if each.default is Parameter.empty} - supplied(view)
        if not needed <= PARAMS.keys():
            continue  # a null, which reads the texts once more
        params = {name: PARAMS[name] for name in needed}
        each = job(model, name, params=params)
        if summaries.is_of_shared_texts(each, view):
            asked.append(each)
    assert len(asked) > 10
    with started(model, monkeypatch) as (engine, read):
        frames = [engine.run(each) for each in asked]
        assert sum(read) == 4
    binary = [each for each in asked if each.view.endswith("archive")]
    assert len(kept(home)) == len(asked) - len(binary)
    with started(model, monkeypatch) as (engine, read):
        engine.ensure(model.name)
        engine.describe(model.name)
        for each, frame in zip(asked, frames, strict=True):
            assert engine.knows(each) == (each not in binary), each.view
            if each not in binary:
                pd.testing.assert_frame_equal(engine.run(each), frame, check_exact=True)
        assert read == []


def test_another_model_text_or_version_finds_nothing(
    tiny: Callable[[str], Model], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    asked = job(model, params={"layer": 1})
    with started(model, monkeypatch) as (engine, _):
        engine.run(asked)
    [file] = kept(home)
    assert summaries.recall(asked, model) is not None
    assert summaries.recall(job(model, params={"layer": 2}), model) is None
    assert summaries.recall(asked, model.random_twin(0)) is None
    with monkeypatch.context() as patch:
        other = {name: text + " More." for name, text in passages.passages().items()}
        patch.setattr(passages, "passages", lambda: other)
        assert summaries.recall(asked, model) is None
    with monkeypatch.context() as patch:
        patch.setattr(summaries, "_version", lambda: "0" * 32)
        assert summaries.recall(asked, model) is None
        summaries.keep(asked, model, pd.DataFrame({"a": [1.5]}))
        assert not file.exists()  # what another version left makes room
        assert len(kept(home)) == 1
    weight = model.parameters[0]
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(-1)
        summaries.fingerprint.__globals__["_known"].pop(model)
        assert summaries.recall(asked, model) is None
    finally:
        with torch.no_grad():
            weight.copy_(before)
        summaries.fingerprint.__globals__["_known"].pop(model)


def test_nothing_of_a_learner_is_written_and_a_broken_file_is_read_anew(
    tiny: Callable[[str], Model], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    shared = job(model, params={"layer": 1})
    with started(model, monkeypatch) as (engine, read):
        own = {"corpus": "own", "n": 40}
        engine.run(job(model, prompts=(OWN,), sample=own, params={"layer": 1}))
        engine.run(job(model, "predictions.surprisal", prompt="A secret.", sample=None))
        nearest = {"layer": 1, "position": 1}
        engine.run(job(model, "logit_lens.nearest", prompt="A secret.", params=nearest))
        engine.run(job(model, "corpus.about", sample={"n": 60, "read": 1}))
        groups = {"groups": ["secret river", "stone"]}
        engine.run(job(model, "laminar_profile.selectivity", params=groups))
        assert kept(home) == []
        engine.run(job(model, "laminar_profile.selectivity", params={"groups": []}))
        [of_words] = kept(home)  # nothing was typed
        of_words.unlink()
        frame = engine.run(shared)
        engine.run(
            shared.model_copy(update={"prompt": "A secret."})
        )  # its page has one, its view not
    [file] = kept(home)
    file.write_bytes(file.read_bytes()[:50])
    with started(model, monkeypatch) as (engine, read):
        pd.testing.assert_frame_equal(engine.run(shared), frame)
        assert sum(read) == 4
    monkeypatch.setattr(summaries, "_MOST", file.stat().st_size + 10)
    for layer in (2, 1):
        summaries.keep(job(model, params={"layer": layer}), model, frame)
    assert [path.name for path in kept(home)] == [file.name]
    with LocalEngine(Settings(any_model=True), load=lambda name, progress: model) as engine:
        engine.run(job(model, params={"layer": 2}))  # where it was not asked for, nothing is kept
    assert [path.name for path in kept(home)] == [file.name]


@pytest.mark.parametrize("rows", [[3, 5], ["a", "b"], pd.RangeIndex(1, 3)])
def test_a_table_whose_rows_have_names_is_not_kept(
    tiny: Callable[[str], Model], home: Path, rows: list[Any]
) -> None:
    frame = pd.DataFrame({"value": [1.0, 2.0]}, index=rows)
    summaries.keep(job(tiny("llama")), tiny("llama"), frame)
    assert kept(home) == []
    summaries.keep(job(tiny("llama")), tiny("llama"), frame.reset_index(drop=True))
    assert len(kept(home)) == 1


def test_a_table_is_of_all_code_and_libraries_that_it_follows_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the model, the corpus and the concepts import, and nothing of how pages look."""
    monkeypatch.setattr("strata.__file__", str(tmp_path / "__init__.py"))
    asked: list[str] = []
    monkeypatch.setattr(summaries.metadata, "version", lambda name: asked.append(name) or "1")
    found = {summaries._version.__wrapped__()}
    counted = ("trace.py", "edits.py", "display/a.py", "weights/a.py", "runtime/a.py", "model/a.py")
    for name in (*counted, "corpus/a.py", "concepts/a/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        before = len(found)
        found.add(summaries._version.__wrapped__())
        assert len(found) == before + 1, name
    for name in ("ui/a/b.py", "lessons/a.py", "classroom/a.py", "charts/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        assert summaries._version.__wrapped__() in found, name
    assert {"torch", "transformers", "tokenizers", "scikit-dimension"} <= set(asked)


def test_a_folder_that_cannot_be_written_stops_nobody(
    tiny: Callable[[str], Model], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    (home / "summaries").write_text("a file where the folder should be")
    with started(model, monkeypatch) as (engine, _):
        assert len(engine.run(job(model, params={"layer": 1}))) == 1


def null(model: Model, prompt: str, **more: Any) -> Job:
    of = {"concept": "hidden_states", "number": "Norm of the state", "kind": "shuffled text"}
    return Job(view="chance.draws", model=model.name, prompt=prompt, params={**of, **more})


def test_what_chance_gives_for_an_example_is_kept_for_the_next_start_and_of_no_other_prompt(
    tiny: Callable[[str], Model], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spare jobs all of them, as pages ask; each example has its own."""
    model = tiny("llama")
    one, other = EXAMPLES[0].prompt, EXAMPLES[1].prompt
    asked = [null(model, one, count=2), null(model, other, count=2)]
    own = [
        null(model, f"{one} not", count=2),
        null(model, one, count=2, target_id=3),
        null(model, one, count=2, other=f"{one} not"),
        null(model, one, count=3).model_copy(update={"edits": (Scale(0, -2.0),)}),
    ]
    with started(model, monkeypatch) as (engine, _):
        engine.describe(model.name)
        frames = [engine.submit(each, spare=True).result(60) for each in [*asked, *own]]
        assert engine.knows(own[0]), "the answer of a prompt that was sent, till the end"
    assert len(kept(home)) == 2
    assert not frames[0].equals(frames[1])
    with started(model, monkeypatch) as (engine, _):
        engine.describe(model.name)
        for each, frame in zip(asked, frames, strict=False):
            found = engine.submit(each, spare=True)
            assert found.done()
            pd.testing.assert_frame_equal(found.result(), frame, check_exact=True)
        assert not any(map(engine.knows, own))
