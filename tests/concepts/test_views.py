"""Only what a concept lists can be called, and each view says what it wants."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from strata.concepts import found, run, views
from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model


def test_concepts_come_in_teaching_order_and_are_modules() -> None:
    known = views.concepts()
    orders = [module.CONCEPT.order for module in known.values()]
    assert orders == sorted(orders)
    assert "predictions" in known
    assert all(isinstance(module, ModuleType) for module in known.values())
    assert all(module.__name__.endswith(f".{stem}") for stem, module in known.items())


def test_every_listed_view_is_found_by_its_name() -> None:
    for stem, module in views.concepts().items():
        for view in module.CONCEPT.views:
            assert views.find_view(f"{stem}.{view.__name__}") is view
    for view in run.VIEWS:
        assert views.find_view(f"run.{view.__name__}") is view


@pytest.mark.parametrize(
    "name",
    ["", "predictions", "predictions.CONCEPT", "predictions.pd", "os.system", "run.VIEWS", "run."],
)
def test_nothing_else_can_be_called(name: str) -> None:
    with pytest.raises(InputError, match="no view"):
        views.find_view(name)


def test_a_new_module_is_a_new_concept(monkeypatch: pytest.MonkeyPatch) -> None:
    def view(trace) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return pd.DataFrame()

    made = SimpleNamespace(CONCEPT=SimpleNamespace(order=-1, views=(view,)))
    folders = {"predictions": True, "eighth": True, "beside_the_folders": False}
    entries = [SimpleNamespace(name=name, ispkg=folder) for name, folder in folders.items()]
    real = found.import_module
    monkeypatch.setattr(found.pkgutil, "iter_modules", lambda path: entries)
    monkeypatch.setattr(
        found, "import_module", lambda name: made if name.endswith("eighth") else real(name)
    )
    assert list(found.concepts.__wrapped__()) == ["eighth", "predictions"]


def test_a_view_says_what_it_wants() -> None:
    def view(model: Model, progress, k: int, only: list[int] | None = None):  # type: ignore[no-untyped-def]
        """`Model` is a name that only type checkers see here."""

    assert views.supplied(view) == {"model", "progress"}
    assert views.parameters(view) == {"k": (int, ...), "only": (list[int] | None, None)}


def test_every_view_that_ships_has_parameters_that_can_be_checked() -> None:
    from strata.engine.job import _schema

    for view in views.views().values():
        assert _schema(view).model_fields.keys() == views.parameters(view).keys()
