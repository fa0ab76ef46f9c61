"""The hub gives safetensors and never code, and is not needed again once it gave them."""

from __future__ import annotations

import errno
import fnmatch
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from strata.errors import ModelError
from strata.weights import hub, sources
from strata.weights.catalogue import ModelCard

CARD = ModelCard(id="gpt2", source="hub", repository="owner/gpt2", revision="abc123", licence="MIT")
REPOSITORY = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "merges.txt": b"",
    "tokenizer.model": b"",
    "chat_template.jinja": b"",
    "pytorch_model.bin": b"pickle",
    "training.pt": b"pickle",
    "modeling_gpt2.py": b"import os",
    "onnx/config.json": b"{}",
    "original/model.safetensors": b"twice",
    "consolidated.safetensors": b"twice",
}


class FakeHub:
    """Stands in for `snapshot_download`: filters by the patterns, fills the cache, counts calls."""

    def __init__(self) -> None:
        self.files = dict(REPOSITORY)
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def __call__(self, repository: str, **keywords: Any) -> str:
        self.calls.append({"repository": repository, **keywords})
        if self.error is not None:
            raise self.error
        snapshot = Path(keywords["cache_dir"]) / "models--owner--gpt2" / "snapshots" / "abc123"
        snapshot.mkdir(parents=True, exist_ok=True)
        bar = keywords["tqdm_class"](total=0, unit="B", unit_scale=True, desc="Downloading")
        bar.total = 200_000_000
        for name, content in self.files.items():
            wanted = any(fnmatch.fnmatch(name, p) for p in keywords["allow_patterns"])
            if wanted and not any(fnmatch.fnmatch(name, p) for p in keywords["ignore_patterns"]):
                (snapshot / name).write_bytes(content)
                bar.update(20_000_000)
                bar.refresh()
        return str(snapshot)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeHub:
    made = FakeHub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made)
    monkeypatch.setattr(hub, "reach", lambda: None)
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return made


def never(gguf: Path, folder: Path) -> None:
    raise AssertionError("a hub model needs no conversion")


def test_only_weights_config_and_tokenizer_are_fetched(fake: FakeHub) -> None:
    folder = sources.folder(CARD, never)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "merges.txt",
        "tokenizer.model",
        "chat_template.jinja",
    }
    assert fake.calls[0]["repository"] == "owner/gpt2"
    assert fake.calls[0]["revision"] == "abc123"


def test_cached_start_asks_the_hub_nothing(fake: FakeHub) -> None:
    assert not sources.is_cached(CARD)
    folder = sources.folder(CARD, never)
    assert sources.is_cached(CARD)
    assert sources.folder(CARD, never) == folder
    assert len(fake.calls) == 1
    other = CARD.model_copy(update={"revision": "other"})
    assert not sources.is_cached(other)


def test_home_may_be_copied_to_another_machine(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.folder(CARD, never)
    shutil.move(tmp_path / "home", tmp_path / "elsewhere")
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "elsewhere"))
    assert (sources.folder(CARD, never) / "model.safetensors").read_bytes() == b"weights"
    assert len(fake.calls) == 1


def test_home_behind_a_link_is_found_again(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "link"))
    sources.folder(CARD, never)
    assert sources.is_cached(CARD)


def test_interrupted_download_is_not_trusted(fake: FakeHub) -> None:
    complete, stopped = fake.files, []
    fake.files = {"config.json": b"{}", "model.safetensors": b"weights"}

    def interrupt(fraction: float, message: str) -> None:
        if fraction == 0.2 and not stopped:
            stopped.append(fraction)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.folder(CARD, never, interrupt)
    assert not sources.is_cached(CARD)
    fake.files = complete
    assert (sources.folder(CARD, never) / "tokenizer.json").exists()


def test_repository_without_safetensors_is_refused(fake: FakeHub) -> None:
    del fake.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"owner/gpt2 on the hub has no safetensors weights"):
        sources.folder(CARD, never)
    assert not sources.is_cached(CARD)


def test_progress_counts_bytes_and_prints_nothing(
    fake: FakeHub, capfd: pytest.CaptureFixture[str]
) -> None:
    reports: list[tuple[float, str]] = []
    sources.folder(CARD, never, lambda *report: reports.append(report))
    assert (0.1, "Downloading owner/gpt2 (200 MB)") in reports
    assert reports[-1] == (1.0, "gpt2 is ready")
    assert capfd.readouterr() == ("", "")


def response(kind: Callable[..., Exception], status: int) -> Exception:
    request = httpx.Request("GET", "https://hub.invalid")
    return kind("no", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.LocalEntryNotFoundError("offline"),
            r"no connection to the hub\).*strata fetch gpt2",
        ),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "failed with ConnectionResetError"),
        (response(errors.RepositoryNotFoundError, 404), "no owner/gpt2 that it would give to you"),
        (response(errors.GatedRepoError, 403), "accept its terms"),
        (response(errors.RevisionNotFoundError, 404), "has no revision abc123"),
        (OSError(errno.ENOSPC, "No space left on device"), r"No space left.*free some room"),
    ],
)
def test_every_failure_is_one_sentence(fake: FakeHub, error: Exception, message: str) -> None:
    fake.error = error
    with pytest.raises(ModelError, match=message) as caught:
        sources.folder(CARD, never)
    assert "\n" not in str(caught.value)
    assert not sources.is_cached(CARD)


def test_without_network_the_real_client_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="no connection to the hub"):
        hub.download("owner/gpt2", None, tmp_path, lambda fraction, message: None)


def test_a_hub_out_of_reach_is_asked_once(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable() -> None:
        asked.append("hub")
        raise ConnectionError("no connection to the hub")

    monkeypatch.setattr(hub, "reach", unreachable)
    with pytest.raises(ModelError, match="no connection to the hub"):
        sources.folder(CARD, never)
    assert asked == ["hub"]
    assert fake.calls == []
