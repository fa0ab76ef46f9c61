"""The program that the page shows prints the numbers of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strata.concepts.evidence import compared, tables
from strata.concepts.evidence import script as scripts
from strata.concepts.evidence.compared import ALL, HELD_OUT, Hypothesis
from strata.concepts.logit_lens.script import modules
from strata.concepts.views import curves
from strata.corpus.sets import sets
from strata.display.files import as_csv
from strata.model import Model
from tests.concepts.by_hand import bundled_folder
from tests.concepts.evidence.test_evidence import made
from tests.scripts import output_of

SOME = (
    "Laminar median cosine",
    "Rank of the expected word (0 is best)",
    "Logit of the expected word less the other's",
)


@pytest.mark.parametrize("quantity", SOME)
def test_the_program_prints_the_numbers_of_the_page(
    model: Model, tmp_path: Path, quantity: str
) -> None:
    rows = sets()["number"].rows[:16]  # eight pairs, four of each half
    prompts = tuple(dict.fromkeys(row.prompt for row in rows))
    runs = zip(prompts, model.capture_many(prompts), strict=True)
    frame = tables.values(
        model,
        tuple(row.prompt for row in rows),
        runs,
        tuple(row.condition for row in rows),
        tuple(row.pair for row in rows),
        tuple(row.expected for row in rows),
        (quantity,),
    )
    explored, held = (
        compared.compared(frame, quantity),
        compared.compared(frame, quantity, HELD_OUT),
    )
    cells = [(row.prompt, row.condition, row.pair, row.expected) for row in rows]

    def of(found: compared.Compared) -> list[tuple[str, str, str, str]]:
        return [cells[i] for i in sorted(i for each in found.rows.values() for i in each)]

    code = scripts.script(
        bundled_folder(),
        None,
        "",
        blocks="model.layers",
        rows=of(explored),
        quantity=quantity,
        compared=("singular", "plural"),
        claim=(10, 12, True),
        held_out=of(held),
        norm="model.norm",
    )
    assert "strata" not in re.sub(r"SOURCE = .*", "", code)
    said = output_of(code, tmp_path)
    means = compared.means(explored)
    number = r"([+-]?[\d.]+)"
    printed = re.findall(rf"^ +(\d+) +{number} +{number} to +{number}$", said, re.MULTILINE)
    wanted = means[["layer", "mean", "low", "high"]].to_numpy(float)
    scale = np.abs(wanted[:, 1]).max()
    assert np.allclose(np.array(printed, dtype=float), wanted, rtol=1e-3, atol=1e-4 * scale)
    told = compared.differences(explored)
    printed = re.findall(rf"^ +(\d+) +{number} +{number} +{number}$", said, re.MULTILINE)
    found = np.array(printed, dtype=float)
    found = found[np.isin(found[:, 0], told["layer"])]
    assert np.allclose(found[:, 1], told["difference"], rtol=1e-2, atol=1e-3 * scale)
    assert np.mean(np.abs(found[:, 3] - told["p_layers"]) < 0.001) > 0.9  # ties by rounding
    outcome = compared.outcome(held, Hypothesis(10, 12, True), ("singular", "plural"))
    assert f"p = {outcome['p'][0]:.4f}" in said


@pytest.mark.parametrize("name", ["gemma2", "granite"])
def test_what_a_family_does_to_logits_is_done_to_them(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """A cap in one, a factor in the other; without them each probability is another."""
    model, quantity = tiny(name), "Probability of the expected word"
    prompts = ("the cat", "a dog sat", "on the mat", "the dog")
    cells = [(prompt, "xy"[i % 2], str(i // 2), "the") for i, prompt in enumerate(prompts)]
    runs = zip(prompts, model.capture_many(prompts), strict=True)
    columns = tuple(zip(*cells, strict=True))[1:]
    found = compared.compared(
        tables.values(model, prompts, runs, *columns, (quantity,)), quantity, ALL
    )
    [known] = modules(model).to_dict("records")
    assert known["logit_cap"] or known["logit_scale"] != 1
    lens = {each: known[each] for each in ("norm", "logit_scale", "logit_cap")}
    asked = {"rows": cells, "quantity": quantity, "compared": ("x", "y"), **lens}
    code = scripts.script(str(tiny_folder(name)), None, "", blocks=known["blocks"], **asked)
    said = output_of(code, tmp_path)
    printed = re.findall(r"^ +\d+ +(-?[\d.]+) +\S+ to", said, re.MULTILINE)
    wanted = compared.means(found)["mean"]
    assert len(printed) == len(wanted)
    assert np.allclose(np.array(printed, dtype=float), wanted, atol=2e-5)


def test_a_quantity_of_another_page_is_read_from_the_table(tmp_path: Path) -> None:
    frame = made()
    explored, held = compared.compared(frame, "Q"), compared.compared(frame, "Q", HELD_OUT)
    first = frame.iloc[::6]
    cells = [("x", c, p, "") for c, p in zip(first["condition"], first["pair"], strict=True)]
    halves = [sorted(i for each in f.rows.values() for i in each) for f in (explored, held)]
    by_row = frame.set_index("row", drop=False)
    (tmp_path / "evidence_prompts.csv").write_bytes(as_csv(by_row.loc[halves[0] + halves[1]]))
    code = scripts.script(
        bundled_folder(),
        None,
        "",
        blocks="b",
        rows=[cells[i] for i in halves[0]],
        quantity="Q",
        compared=("a", "b"),
        claim=(3, 3, True),
        held_out=[cells[i] for i in halves[1]],
    )
    said = output_of(code, tmp_path)
    told = compared.differences(explored)
    for row in told.itertuples():
        assert f"{row.layer:3d}  {row.difference:+12.5f}  {row.p:.4f}  {row.p_layers:.4f}" in said
    outcome = compared.outcome(held, Hypothesis(3, 3, True))
    assert f"p = {outcome['p'][0]:.4f}" in said


def test_every_quantity_has_a_program_that_is_python() -> None:
    for name in curves():
        code = scripts.script(
            "x",
            None,
            "",
            blocks="b",
            rows=[("p", "a", "1", "w")],
            quantity=name,
            compared=("a", "b"),
        )
        compile(code, name, "exec")
