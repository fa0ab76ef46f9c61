"""`check --against` prints what another reader sees otherwise, and refuses by its exit code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strata.__main__ import main
from strata.model import second_opinion
from strata.model.second_opinion import Comparison
from strata.trace import ModelCheck
from strata.weights import sources
from strata.weights.catalogue import ModelCard

ALIKE = Comparison("a cat", [1, 2], [1, 2], 0.0004, True)
OTHER_LOGITS = Comparison("a dog", [1, 3], [1, 3], 7.0, False)
OTHER_TOKENS = Comparison("a  12", [1, 4, 4], [1, 5], float("nan"), False)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Comparison]:
    """What the comparison finds; a test fills it in."""
    found: list[Comparison] = []
    card = ModelCard(id="tiny", source="bundled", licence="none")
    sizes = {"n_layers": 2, "d_model": 8, "d_vocab": 99, "card": card}
    about = {"name": "tiny", "family": "llama", "device": "cpu", "dtype": "torch.float32"}
    texts = SimpleNamespace(added=((), ()))
    model = SimpleNamespace(**sizes, **about, check=ModelCheck(2e-4, 3e-7), texts=texts)
    monkeypatch.setattr("strata.model.load_model", lambda *_: model)
    monkeypatch.setattr(sources, "folder", lambda *_: Path("folder"))
    monkeypatch.setattr(sources, "gguf_of", lambda card, work, _: Path(work) / "x.gguf")
    monkeypatch.setattr(second_opinion, "by_transformers", str)
    monkeypatch.setattr(second_opinion, "by_llama_cpp", str)
    monkeypatch.setattr(second_opinion, "compare", lambda model, reader: iter(found))
    return found


@pytest.mark.parametrize("against", ["gguf", "transformers"])
def test_agreement_is_one_line(
    against: str, compared: list[Comparison], capsys: pytest.CaptureFixture[str]
) -> None:
    compared[:] = [ALIKE, ALIKE]
    assert main(["check", "tiny", "--against", against]) == 0
    *_, said = capsys.readouterr().out.splitlines()
    assert said.startswith(f"against {against}: 2 of 2 texts have the same tokens; of these 2 the ")
    assert "0.0004 apart" in said


def test_what_differs_is_printed_and_refused(
    compared: list[Comparison], capsys: pytest.CaptureFixture[str]
) -> None:
    compared[:] = [ALIKE, OTHER_LOGITS, OTHER_TOKENS]
    assert main(["check", "tiny", "--against", "gguf"]) == 1
    said = capsys.readouterr().out.splitlines()[-3:]
    assert "2 of 3 texts have the same tokens; of these 1 the same" in said[0]
    assert said[1] == "logits after 'a dog': 7 apart"
    assert said[2] == "tokens of 'a  12': [1, 4, 4], there [1, 5]"


def test_each_alone_is_enough_to_refuse(compared: list[Comparison]) -> None:
    for each in (OTHER_LOGITS, OTHER_TOKENS):
        compared[:] = [ALIKE, each]
        assert main(["check", "tiny", "--against", "transformers"]) == 1


def test_a_model_from_the_hub_has_no_gguf_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard(id="gpt2", source="hub", repository="a/b", licence="none")
    checked: Any = SimpleNamespace(card=card, check=ModelCheck(0.0, 0.0), dtype="float32")
    checked.texts = SimpleNamespace(added=((), ()))
    for name in ("name", "family", "n_layers", "d_model", "d_vocab", "device"):
        setattr(checked, name, "x")
    monkeypatch.setattr("strata.model.load_model", lambda *_: checked)
    assert main(["check", "gpt2", "--against", "gguf"]) == 2
    assert (
        "gpt2 comes from no .gguf file, so it can be compared to none." in capsys.readouterr().err
    )
