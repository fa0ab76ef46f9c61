"""Commands answer on standard output, explain on standard error, and exit by code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strata import __version__
from strata.__main__ import main
from strata.errors import ModelError
from strata.trace import ModelCheck
from strata.weights import sources

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STRATA_MODELS", raising=False)
    return tmp_path / "home"


def cache_bundled(home: Path) -> Path:
    folder = home / "converted" / f"{sources.BUNDLED.member_sha256}.{sources.CONVERSION}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "strata", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_models_lists_the_catalogue_and_what_is_cached(home: Path) -> None:
    cache_bundled(home)
    done = run("models")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["id", "title", "parameters", "source", "licence", "cached"]
    assert rows[0].split() == [
        *("smollm2-135m", "SmolLM2", "135M", "Instruct", "135", "M", "bundled", "Apache-2.0", "yes")
    ]
    assert [row.split()[-1] for row in rows] == ["yes", "no", "no", "no", "no"]
    assert len({row.index("M  ") for row in rows}) <= 2  # numbers end in one column


def test_models_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["id"] == "smollm2-135m"
    assert rows[0]["cached"] is False
    assert rows[3]["repository"] == "EleutherAI/pythia-410m"


def test_fetch_prints_the_folder_and_needs_no_torch_for_it(home: Path) -> None:
    folder = cache_bundled(home)
    code = "import sys; from strata.__main__ import main; main(['fetch', 'smollm2-135m'])"
    code += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder}\n", "")


def test_fetch_shows_each_step_on_standard_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def folder(card: Any, convert: Any, progress: Callable[[float, str], None]) -> Path:
        for step in (0.1, 0.2, 0.3):
            progress(step, "Downloading")
        progress(0.6, "Converting")
        return home

    monkeypatch.setattr(sources, "folder", folder)
    assert main(["fetch", "gpt2"]) == 0
    assert capsys.readouterr() == (f"{home}\n", "Downloading\nConverting\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["fetch", "gpt2"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{home}\n"
    assert "\r\x1b[K 20%  Downloading" in err
    assert err.endswith("\r\x1b[K")  # the line is cleared before the answer


def test_fetch_converts_with_the_models_own_function(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def convert(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr("strata.model.convert_gguf", convert)
    (tmp_path / "x.gguf").write_bytes(b"weights")
    assert main(["fetch", str(tmp_path / "x.gguf")]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def fake_model(check: ModelCheck) -> Callable[..., SimpleNamespace]:
    sizes = {"n_layers": 2, "d_model": 8, "d_vocab": 99}
    about = {"name": "tiny", "family": "llama", "device": "cpu", "dtype": "torch.float32"}
    texts = SimpleNamespace(added=((1,), (2,)), decode=lambda ids: tuple(f"<{i}>" for i in ids))
    return lambda *_: SimpleNamespace(**sizes, **about, check=check, texts=texts)


@pytest.mark.parametrize(
    ("check", "code", "lines"),
    [
        (
            ModelCheck(2e-4, 3e-7),
            0,
            [
                "final layer     ok (error 0.0002, at most 0.001)",
                "writes          ok (error 3e-07, at most 1e-05)",
                "adds            '<1>' before every text, '<2>' after every text, what the model "
                "says at the end is about what follows that",
                "verdict         ok",
            ],
        ),
        (
            ModelCheck(2e-4, 0.5, "the MLP is not what was added"),
            1,
            [
                "writes          refused (error 0.5, at most 1e-05)",
                "verdict         refused: the MLP is not what was added",
            ],
        ),
    ],
)
def test_check_prints_shapes_and_identities(
    check: ModelCheck,
    code: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("strata.model.load_model", fake_model(check))
    assert main(["check", "tiny"]) == code
    printed = capsys.readouterr().out.splitlines()
    for line in ["blocks (L)      2", "width (D)       8", "vocabulary (V)  99", *lines]:
        assert line in printed


def test_check_of_the_bundled_model_is_ok(
    model: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("strata.model.load_model", lambda *_: model)
    assert main(["check", "smollm2-135m"]) == 0
    printed = capsys.readouterr().out
    assert "vocabulary (V)  49152" in printed
    assert "verdict         ok" in printed


@pytest.mark.parametrize("command", ["fetch", "check"])
def test_errors_are_one_sentence_and_exit_code_2(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "nope"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("strata: There is no model 'nope'; choose one of smollm2-135m, ")
    assert err.count("\n") == 1


def test_bad_catalogue_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("[[model]]\nid = 'x'\nsource = 'hub'\n")
    monkeypatch.setenv("STRATA_MODELS", str(tmp_path / "mine.toml"))
    done = run("models")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "strata: mine.toml, line 1: 'licence' is missing.\n"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (ModelError, 2)])
def test_interrupt_is_quiet(
    error: type[BaseException],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise error("stop")

    monkeypatch.setattr(sources, "folder", stop)
    assert main(["fetch", "gpt2"]) == code
    assert capsys.readouterr() == ("", "" if code == 130 else "strata: stop\n")


def test_closed_pipe_is_quiet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # or the pipe would break earlier
    code = "import time; time.sleep(1); from strata.__main__ import main; main(['models'])"
    shell = f'{sys.executable} -c "{code}" | true'
    done = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("command", [[], ["models"], ["fetch"], ["check"]])
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "usage: python -m strata" in printed
    assert ("example: python -m strata" in printed) == bool(command)


def test_version_and_missing_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"strata {__version__}\n"
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
