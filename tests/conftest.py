"""How tests are run; what they are given is in `given.py`."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need the hub
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("STRATA_SUMMARIES", "false")  # what an earlier run found tells nothing
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # why: `one_core` in strata/runtime/cores.py
os.environ.setdefault("STRATA_READ_AHEAD", "0")  # half a minute of a core, beside other tests

from importlib import import_module
from typing import Any

import pytest

from tests.browser import running
from tests.times import FewBrowsers, cores, longest_first

_MAIN = sys.modules["__main__"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="whole products of what continuous integration tries a covering part of",
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for a whole run: one more than there are cores, since tests wait for servers,
    browsers and the disk, and no more than memory is likely to bear. None where files or folders
    are named: they would wait for others to import torch."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(cores() + 1, 4)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FewBrowsers | None:
    return FewBrowsers(config, log) if config.option.dist == "loadfile" else None


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in pytest-xdist's workers
        running.begin()
    # Not in the process that hands tests out, which would import torch before the others can.
    if config.option.dist == "no" or config.option.collectonly:
        config.pluginmanager.register(import_module("tests.given"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        running.end()


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    if not config.getoption("--thorough"):
        left = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    longest_first(items, config.rootpath)


def pytest_collection_finish() -> None:
    """What was imported stays, so no collection of garbage has to look through it again."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A page that a test runs takes the place of the main module, and a process that is started
    then runs that page first, and ends with it."""
    sys.modules["__main__"] = _MAIN
