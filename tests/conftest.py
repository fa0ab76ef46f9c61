"""Models for every test: the bundled one, and tiny random ones of each family."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need the hub
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests import tiny as tiny_models
from tests.browser import shared
from tests.browser.driver import address, browser, small_address, window  # noqa: F401
from tests.databases import database, place  # noqa: F401
from tests.plain import Plain
from tests.times import longest_first

if TYPE_CHECKING:
    from strata.model import Model

# Few threads: tiny matrices gain nothing from more, and many would fight over a busy machine.
torch.set_num_threads(min(2, os.cpu_count() or 1))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # not in pytest-xdist's workers
        shared.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shared.end()


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    longest_first(items, config.rootpath)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_folder(name)`: the saved tiny model of a configuration of `tests.tiny.NAMES`."""
    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda name: tiny_models.save(name, root / name))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[[str], Model]:
    """`tiny(name)`: that tiny model, loaded by Strata once per session."""
    from strata.model import load_model

    return cache(lambda name: load_model(str(tiny_folder(name)), device="cpu"))


@pytest.fixture(scope="session")
def twin() -> Callable[[str], Plain]:
    """`twin(name)`: the same tiny model in plain transformers, apart from the one Strata loaded."""
    return cache(lambda name: Plain(tiny_models.build(name)))


@pytest.fixture(params=tiny_models.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """Every configuration in turn."""
    return request.param


@pytest.fixture(scope="session")
def model() -> Model:
    """The bundled model; its weights are fetched and converted once into STRATA_HOME."""
    from strata.model import load_model

    return load_model("smollm2-135m", device="cpu")
