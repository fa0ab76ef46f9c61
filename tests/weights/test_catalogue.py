"""The catalogue is what a teacher writes; whatever is wrong in it is named with its line."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from strata.errors import ModelError, NotEnoughMemory
from strata.weights.catalogue import ModelCard, catalogue, resolve
from strata.weights.fitting import menu_title, require_memory, size_bytes

GOOD = """\
# a comment

[[model]]
id = "mine"
source = "hub"
repository = "owner/mine"
licence = "MIT"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATA_MODELS", raising=False)


@pytest.mark.usefixtures("no_override")
def test_shipped_catalogue_has_the_seeds_models() -> None:
    cards = catalogue()
    assert list(cards) == ["smollm2-135m", "gpt2", "gpt2-xl", "pythia-410m", "gpt-j-6b"]
    assert cards["smollm2-135m"].source == "bundled"
    assert cards["smollm2-135m"].prompt_limit == 256
    assert size_bytes(cards["smollm2-135m"]) == 134_515_008 * 4
    for card in list(cards.values())[1:]:
        assert card.source == "hub"
        assert card.revision is None or re.fullmatch(r"[0-9a-f]{40}", card.revision)
    assert {card.licence for card in cards.values()} == {"Apache-2.0", "MIT"}


def test_five_lines_make_a_model(tmp_path: Path) -> None:
    card = catalogue(written(tmp_path, GOOD))["mine"]
    assert card.title == "mine"
    assert card.repository == "owner/mine"
    assert (card.dtype, card.parameters, card.prompt_limit) == ("float32", None, None)
    with pytest.raises(ValidationError):
        card.id = "other"  # type: ignore[misc]


def test_path_counts_from_the_catalogues_folder(tmp_path: Path) -> None:
    text = '[[model]]\nid = "x"\nsource = "gguf"\npath = "models/x.gguf"\nlicence = "MIT"\n'
    card = catalogue(written(tmp_path, text))["x"]
    assert card.path == str(tmp_path / "models" / "x.gguf")
    text = text.replace("models/x.gguf", "~/x.gguf")
    assert catalogue(written(tmp_path, text))["x"].path == str(Path.home() / "x.gguf")


def test_environment_names_another_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_MODELS", str(written(tmp_path, GOOD)))
    assert list(catalogue()) == ["mine"]
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "absent.toml"))
    with pytest.raises(ModelError, match=r"absent.toml cannot be read .*STRATA_MODELS"):
        catalogue()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('licence = "MIT"\n', "", 3, "'licence' is missing"),
        ('id = "mine"\n', "", 3, "'id' is missing"),
        ("licence =", "license =", 7, "'license' is not known; did you mean 'licence'"),
        ("licence =", "colour =", 7, "'colour' is not known; use id, title, source"),
        ('"hub"', '"hubb"', 5, "source is 'hubb', but input should be 'bundled', 'hub'"),
        ('"owner/mine"', '"https://x.y/owner/mine"', 6, "repository should look like 'owner/name'"),
        ('repository = "owner/mine"\n', "", 5, "a model from source 'hub' needs 'repository'"),
        ('"hub"', '"folder"', 5, "a model from source 'folder' needs 'path'"),
        ('"hub"', '"bundled"', 6, "'repository' means nothing for source 'bundled'; remove it"),
        ('"MIT"', '"MIT"\npath = "here"', 8, "'path' means nothing for source 'hub'"),
        ('"MIT"', '"MIT"\nparameters = -1', 8, "parameters is -1, but input should be greater"),
        ('"MIT"', '"MIT"\nprompt_limit = "long"', 8, "prompt_limit is 'long', but input should"),
        ('"MIT"', '"MIT"\ndtype = "int8"', 8, "dtype is 'int8', but input should be 'float32'"),
        ('"mine"', '"owner/mine"', 4, "id 'owner/mine' may have letters, digits"),
        ('"mine"', "7", 4, "id is 7, but input should be a valid string"),
        ('"MIT"', '"MIT"\n' + GOOD.partition("\n")[2], 10, "the id 'mine' is used twice"),
        ("[[model]]", "[model]", 3, "a model starts with a line [[model]]"),
        ("[[model]]", "[[models]]", 3, "a model starts with a line [[model]]"),
        ("[[model]]\n", "", 3, "a model starts with a line [[model]]"),
        ('"owner/mine"', "owner/mine", 6, "Invalid value"),
        ('"MIT"', '"MIT', 7, "Illegal character '\\n'"),
        ('"MIT"\n', "", 7, "Invalid value"),
        ('"MIT"', '["MIT"', 7, "Unclosed array"),
        (GOOD, "# nothing", 1, "there is no [[model]] in it"),
        ('"hub"\n', '"hub"\nsource = "gguf"\n', 6, "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(ModelError) as caught:
        catalogue(written(tmp_path, GOOD.replace(old, new)))
    assert str(caught.value).startswith(f"models.toml, line {line}: {message}")
    assert "\n" not in str(caught.value)


def test_second_entry_is_told_from_the_first(tmp_path: Path) -> None:
    second = GOOD.replace('"mine"', '"two"').replace("licence", "licenze")
    with pytest.raises(ModelError, match=r"^models.toml, line 14: 'licenze' is not known"):
        catalogue(written(tmp_path, GOOD + second))


def test_key_that_is_not_found_is_never_looked_for_in_the_next_entry(tmp_path: Path) -> None:
    first = GOOD.replace('source = "hub"', '"s\\u006furce" = "hubb"')
    second = GOOD.replace('"mine"', '"two"')
    with pytest.raises(ModelError, match=r"^models.toml, line 3: source is 'hubb'"):
        catalogue(written(tmp_path, first + second))


def test_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(GOOD.encode() + 'title = "Schön"\n'.encode("latin-1"))
    with pytest.raises(ModelError, match=r"^models.toml, line 8: save the file as UTF-8"):
        catalogue(path)


def test_resolve_prefers_catalogue_then_files_then_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_MODELS", str(written(tmp_path, GOOD)))
    monkeypatch.chdir(tmp_path)
    for folder in ("mine", "some/model", "x.gguf"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "y.gguf").touch()
    assert resolve("mine").source == "hub"
    assert resolve("some/model").source == "folder"
    assert resolve("x.gguf").source == "folder"
    found = resolve("./y.gguf")
    assert (found.source, found.path) == ("gguf", str((tmp_path / "y.gguf").resolve()))
    assert (found.title, found.licence) == ("y.gguf", "unknown")
    other = resolve("owner/other")
    assert (other.source, other.repository, other.revision) == ("hub", "owner/other", None)


def test_hub_id_of_the_catalogue_brings_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = GOOD + 'revision = "abc"\n'
    monkeypatch.setenv("STRATA_MODELS", str(written(tmp_path, pinned)))
    assert resolve("owner/mine").revision == "abc"


@pytest.mark.usefixtures("no_override")
@pytest.mark.parametrize("name", ["/no/such/folder", "../x", "~none/x", "./models/mine"])
def test_a_path_that_leads_nowhere_is_told_as_one(name: str) -> None:
    with pytest.raises(ModelError, match=f"There is no file or folder '{name}'"):
        resolve(name)


@pytest.mark.usefixtures("no_override")
@pytest.mark.parametrize("name", ["nope", "", "no/such.gguf", "a/b/c", "a\0b"])
def test_unknown_name_lists_the_catalogue(name: str) -> None:
    with pytest.raises(ModelError, match=r"There is no model .*choose one of smollm2-135m, gpt2,"):
        resolve(name)


@pytest.mark.usefixtures("no_override")
def test_near_miss_is_suggested_and_a_long_name_is_cut() -> None:
    with pytest.raises(ModelError, match=r"'smollm-135m' \(did you mean 'smollm2-135m'\?\)"):
        resolve("smollm-135m")
    with pytest.raises(ModelError) as caught:
        resolve("x" * 100_000)
    assert len(str(caught.value)) < 400


def with_free_memory(monkeypatch: pytest.MonkeyPatch, n_bytes: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=n_bytes))


@pytest.mark.usefixtures("no_override")
def test_model_that_does_not_fit_is_refused_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_free_memory(monkeypatch, 11e9)
    with pytest.raises(NotEnoughMemory) as caught:
        require_memory(resolve("gpt-j-6b"))
    assert str(caught.value) == (
        "gpt-j-6b needs about 28 GB of memory and 11 GB are free; "
        "choose a smaller model or close other programs."
    )
    require_memory(resolve("gpt2-xl"))
    with_free_memory(monkeypatch, 15e9)
    require_memory(resolve("gpt-j-6b"), bytes_per_weight=2)


def test_size_of_a_folder_is_counted_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"a": np.zeros(1000, dtype=np.float16)}, tmp_path / "model.safetensors")
    card = resolve(str(tmp_path))
    assert size_bytes(card) == 4000
    with_free_memory(monkeypatch, 4599)
    with pytest.raises(NotEnoughMemory):
        require_memory(card)
    with_free_memory(monkeypatch, 4601)
    require_memory(card)


def test_size_that_nobody_knows_yet_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    with_free_memory(monkeypatch, 0)
    for card in (
        ModelCard(id="a/b", source="hub", repository="a/b", licence="MIT"),
        ModelCard(id="x", source="gguf", path=str(tmp_path / "absent.gguf"), licence="MIT"),
        ModelCard(id="y", source="folder", path=str(tmp_path / "absent"), licence="MIT"),
    ):
        assert size_bytes(card) is None
        require_memory(card)


def test_the_menu_says_what_has_to_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    cards = catalogue()
    assert menu_title(cards["smollm2-135m"]) == "SmolLM2 135M Instruct · 93 MB, to be fetched"
    assert menu_title(cards["gpt2-xl"]) == "GPT-2 XL · 6.2 GB, to be fetched"
    unknown = ModelCard(id="x", source="hub", repository="a/x", licence="MIT")
    assert menu_title(unknown) == "x · to be fetched"
    monkeypatch.setattr("strata.weights.sources.is_cached", lambda card: True)
    assert menu_title(cards["gpt2-xl"]) == "GPT-2 XL"
