"""A second opinion agrees with a model that is read right, and tells what differs from one that is not."""

from __future__ import annotations

import math
import sys

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from strata.errors import ModelError
from strata.model import Model, load_model, second_opinion
from strata.model.compared_texts import TEXTS
from tests import tiny as tiny_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that reads all texts: they have more bytes than the usual one's positions."""
    place = tmp_path_factory.mktemp("second")
    return tiny_models.save("llama", place, max_position_embeddings=512)


@pytest.fixture(scope="module")
def opened(folder: Path) -> Model:
    return load_model(str(folder), device="cpu")


def test_there_are_texts_of_every_kind() -> None:
    assert len(TEXTS) == len(set(TEXTS)) >= 40


def test_transformers_agrees_with_a_model_that_is_read_right(opened: Model, folder: Path) -> None:
    found = list(second_opinion.compare(opened, second_opinion.by_transformers(folder)))
    assert [each.text for each in found] == list(TEXTS)
    assert all(each.same_tokens and each.same_best for each in found)
    assert max(each.difference for each in found) <= 1e-4


def test_other_tokens_and_other_logits_are_told(opened: Model, folder: Path) -> None:
    plain = second_opinion.by_transformers(folder)

    def wrong(text: str) -> tuple[list[int], torch.Tensor]:
        ids, logits = plain(text)
        if text == "½":
            return [*ids, 0], logits
        return ids, logits.flip(0) if text == "a  12" else logits

    found = {each.text: each for each in second_opinion.compare(opened, wrong)}
    assert not found["½"].same_tokens
    assert math.isnan(found["½"].difference)
    assert found["a  12"].same_tokens
    assert not found["a  12"].same_best
    assert found["a  12"].difference > 0.1
    assert sum(each.same_best for each in found.values()) == len(TEXTS) - 2


def llama_cpp(folder: Path) -> Any:
    """Stands in for the package: the calls of it that are made, answered by plain transformers."""
    network = AutoModelForCausalLM.from_pretrained(folder).eval()

    class Llama:
        def __init__(self, path: str, **options: Any) -> None:
            assert options["logits_all"]
            self.scores = torch.zeros(512, network.config.vocab_size).numpy()

        def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
            return tiny_models.tokenizer()(text.decode("utf-8")).input_ids

        def reset(self) -> None:
            self.scores[:] = 0

        def eval(self, ids: list[int]) -> None:
            with torch.inference_mode():
                self.scores[: len(ids)] = network(torch.tensor([ids])).logits[0].numpy()

    return SimpleNamespace(Llama=Llama, __spec__=object())


def test_llama_cpp_is_asked_as_its_package_wants_it(
    opened: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", llama_cpp(folder))
    found = list(second_opinion.compare(opened, second_opinion.by_llama_cpp(folder)))
    assert all(each.same_tokens and each.difference <= 1e-4 for each in found)


def test_without_a_second_reader_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install llama-cpp-python"):
        second_opinion.by_llama_cpp(Path("x.gguf"))


