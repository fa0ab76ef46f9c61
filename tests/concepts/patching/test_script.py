"""The program of each tab makes its numbers with plain transformers, in families of all kinds."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strata.concepts.heads.script import modules
from strata.concepts.patching import CONCEPT, patch_map
from strata.concepts.patching.pairs import BY_NAME
from strata.concepts.patching.script import script
from strata.concepts.patching.views import (
    Direction,
    both,
    cells,
    estimate,
    failures,
    heads,
    worst_cells,
)
from strata.concepts.scaling.tables import places
from strata.concepts.script import with_reader
from strata.model import Model
from strata.trace import Part
from tests import tiny as tiny_models
from tests.concepts.by_hand import bundled_folder
from tests.families.build import build
from tests.families.outcome import load
from tests.scripts import output_of

CLEAN, OTHER = "The cat sat on the mat.", "The cat ran in the mat."
PAIR = [(1, 3), (2, 4)]
FAMILIES: list[tuple[str, Part, Direction, list[int]]] = [
    ("llama", "stream", "restore", [7, 11]),
    ("gpt2", "stream", "corrupt", [7]),
    ("bloom", "attn", "corrupt", [7]),
    ("opt", "mlp", "restore", [7, 11]),
    ("gemma2", "attn", "restore", [7, 11]),
    ("granite", "mlp", "corrupt", [7, 11]),
    ("falcon-7b", "stream", "restore", [7]),
    ("phi", "attn", "restore", [7]),
    ("qwen2", "mlp", "restore", [7]),
    ("gpt_neo", "attn", "corrupt", [7, 11]),
]


def run(code: str) -> dict[str, Any]:
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "script.py", "exec"), ran)
    return ran


def same(rows: list[tuple[float, ...]], frame: Any, columns: list[str]) -> None:
    """Of the rows those of the cells that are in the table."""
    places = columns[:2]
    known = {tuple(cell) for cell in frame[places].to_numpy().tolist()}
    found = sorted(row for row in rows if tuple(row[:2]) in known)
    wanted = frame.sort_values(places)[columns].to_numpy(float)
    np.testing.assert_allclose(np.array(found, dtype=float), wanted, atol=1e-3)


@pytest.mark.parametrize(("name", "part", "direction", "ids"), FAMILIES, ids=lambda it: str(it))
def test_each_tab_has_its_program(
    tiny: Callable[[str], Model],
    tiny_folder: Callable[[str], Path],
    name: str,
    part: Part,
    direction: Direction,
    ids: list[int],
) -> None:
    model = tiny(name)
    given = (str(tiny_folder(name)), None, CLEAN)
    told: dict[str, Any] = {"other": OTHER, "blocks": model.blocks_path, "direction": direction}
    told |= {"target_ids": ids, "part": part, "within": places(model, part)["within"].tolist()}
    clean = model.capture(CLEAN)
    asked: dict[str, Any] = {"direction": direction, "target_id": ids[0]}
    asked |= {"against_id": ids[1] if len(ids) > 1 else None}
    whole = cells(model, clean, OTHER, part=part, **asked)
    guess = estimate(model, clean, OTHER, part=part, **asked)
    # The estimate's program makes the map as well, and so does that of two cells.
    ran = run(script(*given, **told, worst=3, cells=PAIR))
    columns = ["layer", "position", "value", "share"]
    same(ran["rows"], whole, [*columns, "kl"])
    same(ran["estimate"], guess, columns)
    worst = failures(model, clean, OTHER, **worst_cells(whole, guess, 3), part=part, **asked)
    columns = ["layer", "position", "exact", "estimate", "at_tenth", "sink"]
    np.testing.assert_allclose(
        np.array(ran["failed"], dtype=float), worst[columns].to_numpy(float), atol=5e-3
    )
    two = both(model, clean, OTHER, *PAIR, part=part, **asked).iloc[0]
    assert list(ran["two_cells"]) == list(two.index)
    np.testing.assert_allclose(list(ran["two_cells"].values()), two, atol=1e-4)
    found = modules(model).iloc[0]
    where = {"block": 1, "projection": json.loads(found["projection"])[1]}
    ran = run(script(*given, **told, heads={**where, "n_heads": int(found["n_heads"])}))
    same(ran["rows"], heads(model, clean, OTHER, 1, **asked), ["head", "position", *_VALUES])


_VALUES = ["value", "share", "kl"]


def test_a_part_of_two_modules(tmp_path: Path) -> None:
    network = build("granitemoeshared")
    model = load(network)
    folder = tiny_models.write(network, tmp_path)
    within = places(model, "mlp")["within"].tolist()
    more: dict[str, Any] = {"blocks": model.blocks_path, "within": within, "part": "mlp"}
    code = script(str(folder), None, CLEAN, other=OTHER, target_ids=[7], worst=1, **more)
    frame = patch_map(model, model.capture(OTHER), model.capture(CLEAN), 7, "mlp")
    ran = run(with_reader(code, model.reader))
    rows = [row[:4] for row in ran["rows"]]
    same(rows, frame, ["layer", "position", "value", "share"])
    guess = estimate(model, model.capture(CLEAN), OTHER, part="mlp", target_id=7)
    same(ran["estimate"], guess, ["layer", "position", "value", "share"])


def test_script_runs_by_itself(model: Model, tmp_path: Path) -> None:
    """Of the last blocks only, since it makes a run for each cell."""
    paris = BY_NAME["paris"]
    code = script(
        bundled_folder(),
        None,
        paris.clean,
        other=paris.other,
        target_ids=[7042, 7268],
        blocks=model.blocks_path,
        within=[""] * model.n_layers,
    )
    assert "strata" not in code.replace(bundled_folder(), "")
    few = code.replace(
        "for layer in places:\n    for position",
        "for layer in list(places)[28:]:\n    for position",
    )
    assert few != code
    output = output_of(few, tmp_path)
    clean = model.capture(paris.clean)
    printed = [line.split() for line in output.splitlines() if line.startswith("  layer")]
    frame = cells(model, clean, paris.other, layers=(28, 30)).set_index(["layer", "position"])
    for _, layer, _, position, value, _, share, _, kl in printed:
        if (int(layer), int(position)) in frame.index:
            row = frame.loc[(int(layer), int(position))]
            assert float(value) == pytest.approx(row["value"], abs=1e-3)
            assert float(share) == pytest.approx(row["share"], abs=2e-3)
            assert float(kl) == pytest.approx(row["kl"], abs=1e-3)
    assert "' Paris' minus ' Rome'" in output
    assert len(printed) == 3 * len(clean.tokens)
    assert CONCEPT.script is script
