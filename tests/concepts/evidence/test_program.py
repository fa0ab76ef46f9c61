"""The program that the page shows prints the numbers of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from strata.concepts import chance
from strata.concepts.evidence import compared, tables
from strata.concepts.evidence import script as scripts
from strata.concepts.evidence.compared import ALL, EXPLORED, HELD_OUT, Hypothesis
from strata.concepts.logit_lens.script import modules
from strata.concepts.scaling.tables import places
from strata.concepts.views import curves
from strata.display.files import as_csv
from strata.model import Model
from tests.concepts.by_hand import bundled_folder
from tests.concepts.evidence.test_evidence import made
from tests.scripts import output_of

BEFORE = ("the", "a", "on the", "and a", "the cat and the", "a dog sat on the", "on a", "and the")
NUMBER = r"([+-]?[\d.]+(?:e[+-]\d+)?)"


def cells_of(*words: str) -> list[tuple[str, str, str, str]]:
    """Eight pairs of which both prompts end with the same token, so at layer 0 some numbers are the
    same; an expected word each."""
    return [
        (f"{start} {noun} sat", noun, str(i), word)
        for i, start in enumerate(BEFORE)
        for noun, word in zip(("dog", "cat"), words, strict=True)
    ]


def values_of(
    model: Model, cells: list[tuple[str, str, str, str]], names: tuple[str, ...]
) -> pd.DataFrame:
    prompts, *columns = zip(*cells, strict=True)
    different = tuple(dict.fromkeys(prompts))
    runs = zip(different, model.capture_many(different), strict=True)
    return tables.values(model, prompts, runs, *(c if any(c) else () for c in columns), names)


def reads_of(model: Model) -> dict[str, object]:
    [known] = modules(model).to_dict("records")
    parts = {
        p: (places(model, p)["within"].tolist(), known["write_scale"]) for p in ("attn", "mlp")
    }
    return {name: known[name] for name in ("norm", "logit_scale", "logit_cap")} | {"parts": parts}


def printed(said: str, line: str) -> np.ndarray:
    return np.array(re.findall(rf"^ +(\d+){line}$", said, re.MULTILINE), dtype=float)


@pytest.mark.parametrize("paired", [True, False])
def test_the_program_prints_the_numbers_of_the_page(
    tiny: Callable[[str], Model],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    paired: bool,
) -> None:
    """Every quantity; of pairs with a hypothesis on the half that was held out."""
    model = tiny("llama")
    cells = cells_of("the", "on")
    names = tuple(curves())
    if not paired:
        cells = [(prompt, condition, "", word) for prompt, condition, _, word in cells]
        names = names[:2]
    frame = values_of(model, cells, names)
    for name in names:
        halves = [compared.compared(frame, name, half) for half in (EXPLORED, HELD_OUT)]
        rows = [sorted(i for each in f.rows.values() for i in each) for f in halves]
        code = scripts.script(
            str(tiny_folder("llama")),
            None,
            "",
            blocks=model.blocks_path,
            rows=[cells[i] for i in rows[0]],
            quantity=name,
            compared=("dog", "cat"),
            claim=(1, 2, True),
            held_out=[cells[i] for i in rows[1]],
            n_draws=7,
            **reads_of(model),
        )
        assert "read_csv" not in code, f"{name}: it has a program"
        assert "strata" not in re.sub(r"SOURCE = .*", "", code)
        said = output_of(code, tmp_path)
        explored, held = halves
        means = compared.means(explored)[["layer", "mean", "low", "high"]].to_numpy(float)
        scale = np.abs(means[:, 1]).max()
        found = printed(said, rf" +{NUMBER} +{NUMBER} to +{NUMBER}")
        assert np.allclose(found, means, rtol=1e-3, atol=2e-5 + 1e-4 * scale), name
        told = compared.differences(explored)
        found = printed(said, rf" +{NUMBER} +{NUMBER} +{NUMBER}")
        wanted = told[["layer", "difference", "p", "p_layers"]].to_numpy(float)
        assert np.allclose(found[:, :2], wanted[:, :2], rtol=1e-2, atol=2e-5 + 1e-4 * scale), name
        apart = 0.0001 if paired else 0.03  # of four pairs all signs are tried
        assert np.mean(np.abs(found[:, 2:] - wanted[:, 2:]) <= apart) > 0.9, name  # ties
        outcome = compared.outcome(held, Hypothesis(1, 2, True), ("dog", "cat"))
        [p] = re.findall(r"p = ([\d.]+)", said)
        assert abs(float(p) - outcome["p"][0]) <= apart, name
        mine, drawn = compared.by_chance(explored, 7)
        by_chance = chance.band(mine, drawn)
        found = printed(said, rf": +{NUMBER} +{NUMBER} +{NUMBER} +{NUMBER}")
        assert np.allclose(found, by_chance, rtol=2e-3, atol=2e-6 + 1e-4 * scale), name


def test_texts_too_short_for_a_number_have_none_in_the_program_either(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """One token, two, and the same token again and again, whose cosines are all 1 at layer 0."""
    model = tiny("llama")
    prompts = ("the", "the cat", "cat cat cat cat", "the cat sat on the mat")
    runs = list(zip(prompts, model.capture_many(prompts), strict=True))
    names = [n for n, (stem, _) in curves().items() if stem == "laminar_profile"]
    assert len(names) == 3
    missing = 0
    for name in names:
        wanted = tables.values(model, prompts, iter(runs), tuple("abcd"), names=(name,))[name]
        cells = [(prompt, "a", "", "") for prompt in prompts]
        code = scripts.script(
            str(tiny_folder("llama")),
            None,
            "",
            blocks=model.blocks_path,
            rows=cells,
            quantity=name,
            compared=("a", "a"),
        )
        body = code[: code.index("def of(condition")] + "print(numbers.tolist())\n"
        nan = {"nan": np.nan}
        found = np.array(eval(output_of(body, tmp_path), nan))
        assert np.allclose(found.ravel(), wanted, rtol=1e-3, atol=1e-6, equal_nan=True), name
        missing += int(wanted.isna().sum())
    assert 0 < missing < 3 * len(wanted)


@pytest.mark.parametrize("name", ["gemma2", "granite"])
def test_what_a_family_does_to_logits_is_done_to_them(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """A cap in one, a factor in the other; without them each probability is another."""
    model, quantity = tiny(name), "Probability of the expected word"
    prompts = ("the cat", "a dog sat", "on the mat", "the dog")
    cells = [(prompt, "xy"[i % 2], str(i // 2), "the") for i, prompt in enumerate(prompts)]
    found = compared.compared(values_of(model, cells, (quantity,)), quantity, ALL)
    reads = reads_of(model)
    assert reads["logit_cap"] or reads["logit_scale"] != 1
    asked = {"rows": cells, "quantity": quantity, "compared": ("x", "y"), **reads}
    code = scripts.script(str(tiny_folder(name)), None, "", blocks=model.blocks_path, **asked)
    said = output_of(code, tmp_path)
    printed = re.findall(r"^ +\d+ +(-?[\d.]+) +\S+ to", said, re.MULTILINE)
    wanted = compared.means(found)["mean"]
    assert len(printed) == len(wanted)
    assert np.allclose(np.array(printed, dtype=float), wanted, atol=2e-5)


def test_a_number_without_lines_is_read_from_the_table(tmp_path: Path) -> None:
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
