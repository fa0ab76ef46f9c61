"""`python -m strata fit-lens`: a lens that the model's page then finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from strata.__main__ import main
from strata.model import Model, jacobian
from strata.model.fingerprint import fingerprint
from strata.model.fitted import fitted, place
from tests.tiny import PROMPT

Folder = Callable[[str], Path]
Tiny = Callable[[str], Model]

TEXT = f"{PROMPT} {PROMPT}\n\n{PROMPT}"
FEW = ["--skip", "3", "--max-tokens", "12", "--device", "cpu"]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    file = tmp_path / "texts.txt"
    file.write_text(TEXT)
    return file


def test_a_lens_is_fitted_kept_and_found(
    tiny_folder: Folder, tiny: Tiny, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, name = tiny("llama"), str(tiny_folder("llama"))
    assert main(["fit-lens", name, "--texts", str(texts), *FEW]) == 0
    path, told = capsys.readouterr().out.splitlines()
    assert path == str(place(fingerprint(model)))
    assert told == "1 texts, 8 positions"
    lens = fitted(model)
    assert lens is not None
    whole = jacobian.fit(model, [TEXT.replace("\n\n", " ")], 3, 12)
    assert torch.allclose(lens.matrices, whole.matrices, atol=2e-3)
    assert list(Path(path).parent.iterdir()) == [Path(path)]

    assert main(["fit-lens", name, "--count", "2", "--random-blocks", "4", *FEW]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("2 texts, 16 positions; at the worst layer the last texts changed it by")
    assert fitted(model.random_twin(4)) is not None
    assert fitted(model.random_twin(5)) is None
    assert fitted(model) is lens


def test_a_broken_fit_goes_on(
    tiny_folder: Folder, tiny: Tiny, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, calls = str(tiny_folder("llama")), []
    pulled_back = jacobian.pulled_back

    def once(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pulled_back(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(jacobian, "pulled_back", once)
    assert main(["fit-lens", name, "--count", "3", *FEW]) == 130
    assert fitted(tiny("llama")) is None
    assert main(["fit-lens", name, "--count", "3", *FEW]) == 0
    assert len(calls) == 4  # one, the one that was broken off, and two more
    assert fitted(tiny("llama")) is not None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--texts", "absent.txt"], "absent.txt cannot be read"),
        (["--count", "0"], "at least one passage"),
        (["--skip", "60"], "No passage of these texts has 62 tokens"),
        (["--max-tokens", "5"], "at least 18 are needed"),
        (["--random-blocks", "-1"], "A seed is"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(
    tiny_folder: Folder,
    texts: Path,
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fit-lens", str(tiny_folder("llama")), "--device", "cpu", *arguments]) == 2
    assert sentence in capsys.readouterr().err
