"""`python -m tests.breaks`: does a test notice each of the faults that are listed here?"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from tests.breaks import Break, browser, classroom, concepts, engine

ROOT = Path(__file__).parents[2]
AREAS = {
    "engine": engine.BREAKS,
    "concepts": concepts.BREAKS,
    "classroom": classroom.BREAKS,
    "browser": browser.BREAKS,
}
LIMIT = 180.0  # seconds for the tests of one break
PATIENCE = "30"  # seconds that a browser test waits for what a break keeps from coming
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Outcome:
    """What became of a break: "caught", "MISSED", "too long", or "not run" where pytest failed
    before any test did. `by`: the test that caught it, else what was run; `why`: what pytest says
    of it."""

    area: str
    name: str
    fault: str
    said: str
    seconds: float
    by: str
    why: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the breaks that are asked for; 0 only if all of them were caught."""
    parser = argparse.ArgumentParser("python -m tests.breaks", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="breaks whose name holds this")
    parser.add_argument("--dry", action="store_true", help="only see whether each can be made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there too")
    asked = parser.parse_args(arguments)
    chosen = [
        (area, each)
        for area, breaks in AREAS.items()
        for each in breaks
        if asked.only in f"{area}: {each.name}"
    ]
    wrong = [f"{area}: {each.name}: {why}" for area, each in chosen for why in trouble(each)]
    if wrong or not chosen:
        print("\n".join(wrong) or f"No break's name holds {asked.only!r}.", file=sys.stderr)
        return 2
    if asked.dry:
        print(f"{len(chosen)} breaks can be made")
        return 0
    begun = time.monotonic()
    outcomes = []
    with TemporaryDirectory(prefix="breaks-") as folder:
        copy_tree(Path(folder))
        for area, each in chosen:
            outcomes.append(outcome := tried(area, each, Path(folder)))
            which, by = f"{outcome.area}: {outcome.name}", outcome.by
            print(f"{outcome.said:8} {outcome.seconds:4.0f} s  {which}  by {by}", flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(list(map(asdict, outcomes)), indent=1) + "\n")
    caught = sum(outcome.said == "caught" for outcome in outcomes)
    print(f"{caught} of {len(chosen)} caught in {time.monotonic() - begun:.0f} s")
    return 0 if caught == len(chosen) else 1


def trouble(each: Break) -> Iterator[str]:
    """Why a break cannot be made, a sentence each."""
    path = ROOT / each.file
    count = path.read_text("utf-8").count(each.old) if path.is_file() else 0
    if count != 1:
        yield f"what it replaces is {count} times in {each.file}, not once."
    for test in each.tests:
        file, _, name = test.partition("::")
        path = ROOT / file
        if not path.exists():
            yield f"{file} does not exist."
        elif name and f"def {name.partition('[')[0]}(" not in path.read_text("utf-8"):
            yield f"{file} has no {name}."


def copy_tree(folder: Path) -> None:
    """All files that git knows, as they are now, changes that are not committed included."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # else it was deleted and that is not committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def tried(area: str, each: Break, folder: Path) -> Outcome:
    """Break the copy, run the tests, mend it."""
    begun = time.monotonic()
    with broken(each, folder):
        code, output = run(each.tests, folder)
    failed = re.search(r"^FAILED (\S+::\w+)(.*)", output, re.MULTILINE)
    if code is None:
        said = "too long"
    elif code == 1 and failed:
        said = "caught"
    else:  # what only keeps the tests from being imported or set up proves nothing
        said = "not run" if code else "MISSED"
    seconds = time.monotonic() - begun
    if failed and said == "caught":
        by, why = failed[1], failed[2].partition(" - ")[2]
    else:
        by = " ".join(each.tests)
        why = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    return Outcome(area, each.name, each.fault, said, seconds, by, why)


@contextmanager
def broken(each: Break, folder: Path) -> Iterator[None]:
    """The copy with this fault in it."""
    path = folder / each.file
    whole = path.read_text("utf-8")
    try:
        _write(path, whole.replace(each.old, each.new))
        yield
    finally:
        _write(path, whole)


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    if path.suffix == ".py":  # Python takes what was compiled in the same second for this
        Path(cache_from_source(path)).unlink(missing_ok=True)


def run(tests: Sequence[str], folder: Path) -> tuple[int | None, str]:
    """pytest's exit code, None if it took too long, and what it printed."""
    environment = {
        "STRATA_REQUIRE_BROWSER": "1",
        "STRATA_TEST_PATIENCE": PATIENCE,
        **os.environ,
        "PYTEST_ADDOPTS": "",
        "COLUMNS": "200",  # or pytest cuts off what it says
    }
    with TemporaryFile() as printed:
        process = subprocess.Popen(
            [*PYTEST, *tests],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(LIMIT)
        finally:
            with suppress(ProcessLookupError):  # servers that the tests have started go with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed.seek(0)
        return code, printed.read().decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
