"""A file that an older Strata converted is converted anew; nothing else in the cache is touched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from strata.errors import ModelError
from strata.weights import sources
from strata.weights.catalogue import resolve

DIGEST = hashlib.sha256(b"one").hexdigest()
OLDER = (DIGEST, f"{DIGEST}.2", f"{DIGEST}.3")
OTHERS = ("0" * 64, f"{DIGEST}-mine", f"{DIGEST}.5", "notes")


def write_folder(gguf: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()


def refuse(gguf: Path, folder: Path) -> None:
    raise ModelError("This file is refused.")


def test_older_folders_go_when_their_successor_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sources, "CONVERSION", 4)
    gguf, kept = tmp_path / "one.gguf", tmp_path / "home" / "converted"
    gguf.write_bytes(b"one")
    for name in (*OLDER, *OTHERS):
        write_folder(gguf, kept / name)

    def folders() -> set[str]:
        return {path.name for path in kept.iterdir() if path.is_dir()}

    card = resolve(str(gguf))
    assert not sources.is_cached(card)
    with pytest.raises(ModelError, match="refused"):
        sources.folder(card, refuse)
    assert folders() == {*OLDER, *OTHERS}  # a failure costs nobody anything
    assert sources.folder(card, write_folder) == kept / f"{DIGEST}.4"
    assert folders() == {*OTHERS, f"{DIGEST}.4"}
    assert sources.is_cached(card)
