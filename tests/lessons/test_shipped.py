"""The lessons that come with Strata, and what the Gaussian baseline says of the bundled model.

In one file, for one sample of its states: 70 texts are read, which is the longest work there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from strata import lessons
from strata.concepts.gaussian_baseline import CONCEPT, words
from strata.corpus import Sample, Source, passages, sample
from strata.engine import Job, LocalEngine, Settings
from strata.lessons.answers import resolved
from strata.lessons.check import check
from strata.model import Model, load_model
from tests import small
from tests.lenses import fit_lenses


def engine_of(model: Model, name: str) -> LocalEngine:
    return LocalEngine(Settings(), load=lambda name, progress: model, listed=lambda: (name,))


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[LocalEngine]:
    with engine_of(model, model.name) as made:
        yield made


def of_sample(engine: LocalEngine, view: str, **params: Any) -> pd.DataFrame:
    return engine.run(Job(view=view, model="smollm2-135m", sample={}, params=params))


@pytest.fixture(scope="module")
def real(engine: LocalEngine) -> Sample:
    """The sample that pages and lessons begin with: 2,000 states at the shipped passages."""
    of_sample(engine, "corpus.about")
    drawn = engine.samples.get(("smollm2-135m", Source(), ()))
    assert drawn is not None
    return drawn


# Each is checked on small models of several families below. On the bundled model they take as long
# as all others together: beams of eight passages through random blocks, sets, maps of patches.
APART = ("evidence", "jacobian_lens", "patching")


def test_no_lesson_fails_on_a_small_random_model(tiny: Callable[[str], Model]) -> None:
    """It may have other answers than the bundled model, but none crashes or is impossible."""
    some = [path for path in lessons.files() if path.stem not in APART]
    with engine_of(tiny("gpt2"), "tiny") as small:
        for sentence in check(some, small, "tiny"):
            assert "failed:" not in sentence, sentence
            assert "no option holds" not in sentence, sentence


@pytest.mark.parametrize("name", ["gemma2", "gpt2", "qwen3"])
def test_the_lesson_on_the_jacobian_lens_is_true_of_other_families(
    tiny: Callable[[str], Model], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lens its questions about one are not asked; with one they have an answer."""
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    [path] = [path for path in lessons.files() if path.stem == "jacobian_lens"]
    model = tiny(name)
    with engine_of(model, "tiny") as small:
        assert check([path], small, "tiny") == []
    fit_lenses(model)
    with engine_of(model, "tiny") as small:
        assert check([path], small, "tiny") == []


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gemma3_text", "qwen2", "qwen3"])
def test_each_question_about_heads_has_an_answer(name: str, tiny: Callable[[str], Model]) -> None:
    """In models without an attention sink as well: it is asked about the first token."""
    path = next(path for path in lessons.files() if path.stem == "heads")
    with engine_of(tiny(name), "tiny") as small:
        for sentence in check([path], small, "tiny"):
            assert "its slider begins" in sentence or "tells the answer" in sentence, sentence


def test_what_is_said_of_heads_is_true_of_every_model_or_names_one() -> None:
    """Numbers and tokens are those of a run; a share of what all would share is arithmetic."""
    [lesson] = [found for stem, found in lessons.lessons().items() if stem == "heads"]
    told = [lesson.summary]
    for step in lesson.steps:
        told += [step.title, step.text, step.observe, *step.hints]
        if (question := step.question) is not None:
            told += [question.why, question.right, question.close, question.wrong]
            told += [option.why for option in question.options]
    for sentence in re.split(r"(?<=[.!?])\s+", " ".join(told)):
        bare = re.sub(r"100%|less than 37%|would get 32%", "", sentence)
        assert not re.search(r"\d%|␣", bare) or "bundled model" in sentence, sentence


@pytest.mark.parametrize("name", ["gemma2", "qwen2"])
def test_the_lesson_on_evidence_has_an_answer_in_other_families(
    tiny: Callable[[str], Model], name: str
) -> None:
    with engine_of(tiny(name), "tiny") as small:
        [lesson] = [path for path in lessons.files() if path.stem == "evidence"]
        for sentence in check([lesson], small, "tiny"):
            assert "its slider begins" in sentence, sentence


@pytest.mark.parametrize(
    ("family", "bos"), [("gemma2", True), ("gpt2", False), ("qwen2", False), ("llama", True)]
)
def test_the_lesson_on_patching_is_true_of_other_families(
    family: str, bos: bool, tmp_path: Path
) -> None:
    """With the bundled model's tokenizer, so that its pairs are as long; with a start token too,
    which shifts all positions. What sliders hold is for the bundled model, and scaling by 0.8 costs
    some random models nothing, so that no push of noise costs as much."""
    model = load_model(str(small.save(tmp_path / "small", family=family, bos=bos)), device="cpu")
    [path] = [path for path in lessons.files() if path.stem == "patching"]
    with engine_of(model, "small") as engine:
        for sentence in check([path], engine, "small"):
            bare = "its slider begins|outside low to high|step 6: its measure gives no answer"
            assert re.search(bare, sentence), sentence
    wanted = {"$last": " is", "$last-1": " France", "$last-5": "one"}
    for step in lessons.read(path).steps:
        given = step.settings | (
            step.question.given | step.question.params if step.question else {}
        )
        named = [given[name] for name in ("at", "at_2", "position") if name in given]
        named += [given[name][1] for name in ("first", "second") if name in given]
        for position in named:
            tokens = model.capture(step.prompt).tokens
            at = resolved({"at": position}, model.n_layers, len(tokens))["at"]
            assert tokens[at] == wanted[position], step.title


def test_every_lesson_is_whole(engine: LocalEngine, thorough: bool) -> None:
    """Of those apart only what is written; thorough: what is measured on the bundled model too, as
    after a change of theirs (`python -m strata lessons check`)."""
    assert lessons.problems() == []
    some = [path for path in lessons.files() if thorough or path.stem not in APART]
    assert check(some, engine, "smollm2-135m") == []


def test_the_seeds_conclusions_hold(engine: LocalEngine) -> None:
    """Stream and attention far from Gaussian, the MLP nearest, in fewer dimensions than D."""
    frame = of_sample(engine, "gaussian_baseline.glance")
    assert CONCEPT.measures["closest_part"](frame) == "mlp"
    middle = frame[frame["layer"] > 0].groupby("part")[["ks_full", "ks_best", "mean"]].median()
    assert middle["ks_full"]["stream"] > 0.99
    assert middle["ks_full"]["attn"] > 0.8
    assert middle["ks_best"]["mlp"] < 0.4 < middle["ks_best"]["attn"]
    assert middle["mean"]["mlp"] < 0.15 < 0.5 < middle["mean"]["stream"]


def test_an_offset_explains_most_of_the_stream(engine: LocalEngine) -> None:
    frame = of_sample(engine, "gaussian_baseline.decomposition", layer=15, drop_top=3)
    assert CONCEPT.measures["offset_share"](frame, part="stream") > 0.85
    centred = frame[frame["step"] == "centred"].set_index("part")
    assert (centred["ks_best"] < 0.1).all()
    assert (centred["best_dimension"] < 300).all()


def test_what_the_page_says(engine: LocalEngine) -> None:
    """In a browser the page is seen with a small model only."""
    three = of_sample(engine, "gaussian_baseline.decomposition", layer=15, drop_top=3)
    told = "of this excess the offset that they share explains 94%"
    assert told in words.conclusion(three, "stream")
    glance = of_sample(engine, "gaussian_baseline.glance", center=False, drop_top=0)
    assert words.whole(glance).startswith("Over all layers the MLP writes come closest")
    mlp = {"layer": 15, "part": "mlp", "center": True, "drop_top": 0, "pairs": "all"}
    assert of_sample(engine, "gaussian_baseline.summary", **mlp)["best_dimension"].item() == 99
    points = of_sample(engine, "gaussian_baseline.normality", layer=15, dim=157)
    assert words.normality_reading(points, 157).startswith("Dimension 157 reaches")
    largest = of_sample(engine, "gaussian_baseline.dimensions", layer=15)
    assert "the heaviest tails are in dimension 157" in words.dimensions_reading(largest, 2_000)


def test_the_sample_is_checked_and_without_sinks(model: Model, real: Sample) -> None:
    assert real.check.ok
    assert real.check.read_back_ok
    norms = real.states(12).norm(dim=1)
    assert norms.max() < 5 * norms.median()
    texts = list(passages.passages().values())[:3]
    with_sinks = sample(model, texts, n=300, skip_first=False)
    norms = with_sinks.states(12).norm(dim=1)
    assert (norms > 50 * norms.median()).sum() == 3
    assert set(with_sinks.position[(norms > 50 * norms.median()).numpy()]) == {0}
