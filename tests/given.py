"""What every test may ask for: models, the bundled one and tiny random ones of each family; a
database; a browser and servers for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import tiny as tiny_models
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

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from strata.model import Model

# One thread: of a tiny product most time would go by waiting for the other, on a busy machine a
# hundred times what the product takes. What is about threads asks for `two_threads`.
torch.set_num_threads(1)


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
