#!/usr/bin/env bash
# streamlit 1.67.0: AppTest runs a page inside a test's own process. Expected: afterwards the process is as
# before. Seen: sys.modules["__main__"] stays the page's module, whose file is gone when the page was a
# function. A process that multiprocessing starts by "spawn" begins with that module and ends there:
# a ProcessPoolExecutor raises BrokenProcessPool. (multiprocessing's own Pool puts another process in
# the place of each that is lost, and its caller waits for good.) Which tests are struck depends on
# their order. Source: script_runner.py, multiprocessing/spawn.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q streamlit==1.67.0
cat >"$folder/seen.py" <<'PY'
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from streamlit import __version__
from streamlit.testing.v1 import AppTest


def page():
    import streamlit

    streamlit.write("a page")


def spawned():
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(len, "four").result()
    except BrokenProcessPool:
        return "broken"


if __name__ == "__main__":
    main = sys.modules["__main__"]
    before = spawned()
    AppTest.from_function(page).run()
    stays, after = sys.modules["__main__"] is not main, spawned()
    sys.modules["__main__"] = main
    again = spawned()
    print(f"streamlit {__version__}: before {before}, after {after}, main module put back {again}")
    assert (before, stays, after, again) == (4, True, "broken", 4), "the behaviour has changed"
PY
"$folder/venv/bin/python" "$folder/seen.py" 2>"$folder/said" || { cat "$folder/said"; exit 1; }
