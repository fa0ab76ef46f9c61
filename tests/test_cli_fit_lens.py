"""`python -m strata fit-lens`: a lens that the model's page then finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

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
    again = fitted(model)
    assert again is not None
    assert torch.equal(again.matrices, lens.matrices)


def test_fewer_texts_than_the_lens_in_use_has_are_refused(
    tiny_folder: Folder, tiny: Tiny, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit-lens", str(tiny_folder("llama")), *FEW, "--count"]
    assert main([*fit, "2"]) == 0
    assert main([*fit, "1"]) == 2
    told = capsys.readouterr().err
    assert "is used now was fitted on 2 passages, and this one would be on 1: give more" in told
    lens = fitted(tiny("llama"))
    assert lens is not None
    assert lens.n_texts == 2
    assert main([*fit, "1", "--force"]) == 0
    lens = fitted(tiny("llama"))
    assert lens is not None
    assert lens.n_texts == 1


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each text that is read; at the second somebody breaks off."""
    pulled_back, found = jacobian.pulled_back, list[int]()

    def once(*arguments: object) -> object:
        found.append(1)
        if len(found) == 2:
            raise KeyboardInterrupt
        return pulled_back(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(jacobian, "pulled_back", once)
    return found


def test_a_broken_fit_goes_on(
    tiny_folder: Folder, tiny: Tiny, texts: Path, calls: list[int]
) -> None:
    name = str(tiny_folder("llama"))
    assert main(["fit-lens", name, "--count", "3", *FEW]) == 130
    assert fitted(tiny("llama")) is None
    assert main(["fit-lens", name, "--count", "3", *FEW]) == 0
    assert len(calls) == 4  # one, the one that was broken off, and two more
    assert fitted(tiny("llama")) is not None


def test_a_broken_fit_goes_on_with_its_own_texts_only(
    tiny_folder: Folder,
    tiny: Tiny,
    texts: Path,
    calls: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = str(tiny_folder("llama"))
    texts.write_text("\n\n".join([TEXT.replace("\n\n", " ")] + [f"{PROMPT}! {PROMPT}"] * 2))
    own = ["--texts", str(texts)]
    assert main(["fit-lens", name, *own, *FEW]) == 130
    begun = place(fingerprint(tiny("llama"))).with_suffix(".unfinished")
    assert begun.is_file()
    assert main(["fit-lens", name, "--count", "3", *FEW]) == 2
    told = capsys.readouterr().err
    assert f"{begun} holds the beginning of a fit on texts that are not among these" in told
    assert fitted(tiny("llama")) is None
    begun.unlink()
    assert main(["fit-lens", name, "--count", "1", *FEW]) == 0


@pytest.mark.parametrize("what", ["memory", "disk", "written"])
def test_what_does_not_fit_is_refused_before_it_begins(
    tiny_folder: Folder,
    texts: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if what == "memory":
        monkeypatch.setattr(jacobian, "free_bytes", lambda device: 100_000)
    elif what == "disk":
        monkeypatch.setattr(
            jacobian.shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000)
        )
    else:
        monkeypatch.setattr(jacobian.torch, "save", full)
    sentence = {
        "memory": "GB of memory while it is fitted and 0.0 GB are free; the beam of a word needs",
        "disk": "GB are free there; make room",
        "written": "What was summed so far cannot be written to",
    }[what]
    if what != "written":
        monkeypatch.setattr(jacobian, "pulled_back", None)
    assert main(["fit-lens", str(tiny_folder("llama")), "--count", "1", *FEW]) == 2
    assert sentence in capsys.readouterr().err


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
