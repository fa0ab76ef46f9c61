"""Models for every test: the bundled one, and tiny random ones of each family."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need the hub
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import tiny as tiny_models
from tests.browser import shared
from tests.browser.driver import (  # noqa: F401
    address,
    browser,
    empty_page,
    newcomer,
    page,
    small_address,
    windows,
)
from tests.databases import database, place  # noqa: F401
from tests.plain import Plain
from tests.times import longest_first

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from strata.model import Model

# One thread: of a tiny product most time would go by waiting for the other, on a busy machine a
# hundred times what the product takes. What is about threads asks for `two_threads`.
torch.set_num_threads(1)
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
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores + 1, 4)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in pytest-xdist's workers
        shared.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared.end()


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


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether all is asked for, by --thorough, or what covers it."""
    return bool(request.config.getoption("--thorough"))


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch works with two threads, as a server does."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built() -> Callable[[str], PreTrainedModel]:
    """`built(name)`: the tiny model of a configuration of `tests.tiny.NAMES`, in transformers."""
    return cache(tiny_models.build)


@pytest.fixture(scope="session")
def tiny_folder(
    tmp_path_factory: pytest.TempPathFactory, built: Callable[[str], PreTrainedModel]
) -> Callable[[str], Path]:
    """`tiny_folder(name)`: that tiny model saved, once for all workers, so that what is measured
    of it when it is first loaded is remembered."""
    mine = tmp_path_factory.mktemp("tiny")
    by_xdist = "PYTEST_XDIST_WORKER" in os.environ
    shared = tmp_path_factory.getbasetemp().parent / "tiny" if by_xdist else mine / "shared"
    shared.mkdir(exist_ok=True)

    def folder(name: str) -> Path:
        saved = shared / name
        if not saved.exists():
            work = tiny_models.write(built(name), mine / name)
            with suppress(OSError):  # another worker was faster
                work.rename(saved)
        return saved

    return cache(folder)


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Model]:
    """`tiny(name)`: that tiny model, loaded by Strata once per session."""
    from strata.model import load_model

    return cache(lambda name: load_model(str(tiny_folder(name)), device="cpu"))


@pytest.fixture(scope="session")
def twin(built: Callable[[str], PreTrainedModel]) -> Callable[[str], Plain]:
    """`twin(name)`: the same tiny model in plain transformers, apart from the one Strata loaded."""
    return cache(lambda name: Plain(built(name)))


@pytest.fixture(params=tiny_models.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every configuration in turn."""
    return request.param


@pytest.fixture(scope="session")
def model() -> Model:
    """The bundled model; its weights are fetched and converted once into STRATA_HOME."""
    from strata.model import load_model

    return load_model("smollm2-135m", device="cpu")


@pytest.fixture(scope="session")
def bundled(model: Model) -> Plain:
    """The same in plain transformers."""
    from strata.model import convert_gguf
    from strata.weights import sources

    folder = sources.folder(model.card, convert_gguf)
    return Plain(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())
