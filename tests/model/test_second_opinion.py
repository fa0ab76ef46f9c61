"""A second opinion agrees with a model that is read right, and else tells what differs."""

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

    class Vocabulary:
        n_vocab = network.config.vocab_size

        def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
            assert add_special
            assert parse_special
            return tiny_models.tokenizer()(text).input_ids

    class Model:
        def __init__(self, path: str) -> None:
            assert path.endswith("x.gguf")

        def get_vocab(self) -> Vocabulary:
            return Vocabulary()

    class Batch:
        def __init__(self, n_tokens: int, embd: int, n_seq_max: int) -> None:
            self.ids: list[int] = []

        def set_batch(self, ids: list[int], n_past: int, logits_all: bool) -> None:
            self.ids = ids

        def set_last_logits_to_true(self) -> None:
            self.last = True

    class Context:
        def __init__(self, model: Model, settings: Any) -> None:
            self.seen: list[int] = []

        def kv_cache_clear(self, data: bool) -> None:
            self.seen = []

        def decode(self, batch: Batch) -> None:
            assert batch.last
            self.seen += batch.ids

        def get_logits(self) -> list[float]:
            with torch.inference_mode():
                return network(torch.tensor([self.seen])).logits[0, -1].tolist()

    return SimpleNamespace(
        LlamaModel=Model,
        LlamaBatch=Batch,
        LlamaContext=Context,
        LlamaContextParams=SimpleNamespace,
        disable_logging=lambda: None,
    )


def test_llama_cpp_is_asked_as_its_package_wants_it(
    opened: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cyllama", SimpleNamespace(__spec__=object()))
    monkeypatch.setitem(sys.modules, "cyllama.llama.llama_cpp", llama_cpp(folder))
    reader = second_opinion.by_llama_cpp(folder / "x.gguf")
    found = list(second_opinion.compare(opened, reader))
    assert all(each.same_tokens and each.difference <= 1e-4 for each in found)


def test_without_a_second_reader_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install cyllama"):
        second_opinion.by_llama_cpp(Path("x.gguf"))
