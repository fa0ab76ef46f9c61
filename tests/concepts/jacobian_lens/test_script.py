"""The program that the page shows prints the page's numbers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strata.concepts import jacobian_lens
from strata.concepts.jacobian_lens import tables
from strata.concepts.jacobian_lens.beams import beams, floor
from strata.concepts.jacobian_lens.script import script
from strata.concepts.logit_lens import lens as logit_lens
from strata.concepts.logit_lens import modules
from strata.concepts.logit_lens.tables import followed as logit_followed
from strata.engine import Job, Settings, open_engine
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.model.fingerprint import fingerprint
from strata.model.fitted import place
from tests.families.build import build
from tests.families.outcome import load
from tests.scripts import output_of
from tests.tiny import PROMPT, write

Tiny = Callable[[str], Model]
Folder = Callable[[str], Path]
TEXTS = (
    "She said that the answer was in the third drawer of the desk on the left.",
    "Where the river is wide, the water is slow and the stones are round.",
    "The dog ran after the other cat in the garden, and the cat sat on the mat.",
)
POSITION, SEED = 3, 1
READ = ("blocks", "norm", "logit_scale", "logit_cap")


def ran(code: str) -> tuple[dict[str, Any], list[list[str]]]:
    """What a program's names are in the end, and what it printed."""
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), found)
    assert "strata" not in code.split("tokenizer =")[1]
    return found, [line.split("\t") for line in printed.getvalue().splitlines()]


def kept(model: Model) -> Path:
    """A lens of three texts, where Strata looks for that of this model."""
    file = place(fingerprint(model))
    file.parent.mkdir(parents=True, exist_ok=True)
    jacobian_lens.fit(model, TEXTS).save(file)
    return file


# No caps and caps, tied and apart, a bias of the norm, factors on logits.
@pytest.mark.parametrize("name", ["llama", "gpt2", "cohere", "gemma2"])
def test_the_script_prints_what_the_tables_show(
    tiny: Tiny,
    tiny_folder: Folder,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    model = tiny(name)
    trace, twin = model.capture(PROMPT), model.random_twin(SEED)
    [about] = modules(model).to_dict("records")
    target = 7 if name == "llama" else (7, 11)
    files = {"lens": str(kept(model)), "random_lens": str(kept(twin))}
    code = script(
        str(tiny_folder(name)),
        None,
        PROMPT,
        **{each: about[each] for each in READ},
        **files,
        shows=("grid", "difference", "followed", "convergence", "beam"),
        texts=TEXTS,
        target_id=target,
        position=POSITION,
        random_blocks=SEED,
        k=1,
    )
    found, lines = ran(code)
    assert "OTHER WEIGHTS" not in str(lines)
    other = trace if twin is model else twin.capture_row(trace.token_ids)
    for kind, wanted in (
        ("jacobian", tables.lens(model, trace, k=1)),
        ("logit", logit_lens(model, trace, 1)),
        ("random", tables.lens(twin, other, k=1)),
    ):
        rows = [line[1:] for line in lines if line[0] == kind and len(line) == 5]
        assert [list(map(int, row[:2])) for row in rows] == wanted[
            ["layer", "position"]
        ].values.tolist()
        np.testing.assert_allclose(
            [float(row[3].rsplit(" ", 1)[1]) for row in rows], wanted["prob"], atol=2e-4
        )
    frame = tables.difference(model, trace)
    wanted = frame.sort_values(["layer", "position"])
    rows = np.array([row[2:] for row in found["differences"]])
    assert len(rows) == len(wanted)
    np.testing.assert_allclose(rows[:, [0, 2]], wanted[["kl", "by"]], atol=2e-4)
    clear = wanted["by"].to_numpy() > 1e-3
    np.testing.assert_array_equal(rows[clear, 1], wanted["risen_id"][clear])
    steps = tables.convergence(model)
    assert found["changes"] == {
        n: pytest.approx(rows["change"].tolist()) for n, rows in steps.groupby("n_texts")
    }
    assert found["halves"] == pytest.approx(steps["halves"].head(model.n_layers).tolist())
    pair = isinstance(target, tuple)
    for kind, view in (("jacobian", tables.followed), ("logit", logit_followed)):
        rows = view(model, trace, POSITION, target_id=target)
        rows = rows[rows["other"] != ""] if pair else rows[rows["token_id"] == target]
        columns = ["logit"] if pair else ["prob", "rank"]
        np.testing.assert_allclose(found["followed"][kind], rows[columns].astype(float), atol=2e-4)
    *_, own = beams(model, trace, target, TEXTS)
    *_, random = beams(twin, other, target, TEXTS)
    for kind, frame in (
        ("jacobian", own),
        ("random", random),
        ("logit", floor(model, trace, target)),
    ):
        wanted = frame[frame["position"] == POSITION][["score", "low", "high"]]
        atol = 1e-3 * float(wanted["score"].abs().max())
        np.testing.assert_allclose(found["beams"][kind], wanted, atol=atol)


def test_the_script_fits_a_lens_by_itself(tiny: Tiny, tiny_folder: Folder, tmp_path: Path) -> None:
    model = tiny("llama")
    [about] = modules(model).to_dict("records")
    given = {each: about[each] for each in READ}
    source = str(tiny_folder("llama"))
    lens = jacobian_lens.fit(model, TEXTS)
    code = script(source, None, PROMPT, **given, shows=("grid", "convergence"), texts=TEXTS, k=1)
    found, lines = ran(code)
    np.testing.assert_allclose(found["matrices"], lens.matrices, atol=1e-4)
    assert found["halves"] == pytest.approx(list(lens.halves), abs=1e-4)
    assert found["changes"] == {
        n: pytest.approx(list(c), rel=1e-3) for n, c in lens.changes.items()
    }
    wanted = tables.lens(model, model.capture(PROMPT), lens, k=1)
    for line, row in zip(
        (line for line in lines if len(line) == 5), wanted.itertuples(), strict=False
    ):
        said = eval(line[4].rsplit(" ", 1)[0])
        assert said in (row.predicted, *model.tokenizer.convert_ids_to_tokens([row.token_id]))

    file = tmp_path / "other.safetensors"  # a lens of other weights of the same shape
    jacobian_lens.fit(tiny("arcee"), TEXTS[:1]).save(file)
    code = script(source, None, PROMPT, **given, lens=str(file))
    assert "It was fitted to OTHER WEIGHTS than these" in output_of(code, tmp_path)


def test_the_script_reads_states_where_the_final_norm_is_no_single_module(tmp_path: Path) -> None:
    family = "roberta"  # its head is a chain of modules
    model = load(build(family))
    [about] = modules(model).to_dict("records")
    assert about["norm"] is None
    trace, lens = model.capture(PROMPT), jacobian_lens.fit(model, TEXTS[:1])
    source = str(write(build(family), tmp_path / family))
    given = {each: about[each] for each in READ}
    found, lines = ran(script(source, None, PROMPT, **given, texts=TEXTS[:1], k=1))
    wanted = tables.lens(model, trace, lens, k=1)
    rows = [line for line in lines if line[0] == "jacobian" and len(line) == 5]
    np.testing.assert_allclose(
        [float(row[4].rsplit(" ", 1)[1]) for row in rows], wanted["prob"], atol=2e-4
    )
    np.testing.assert_allclose(found["matrices"], lens.matrices, atol=1e-4)
    with pytest.raises(ModelError, match="not a scaling"):
        floor(model, trace, 7)
    with pytest.raises(ModelError, match=r"fit-lens tiny” makes one\.$"):  # so no beam is offered
        tables.grid(model, trace)


def test_the_engine_serves_the_views(tiny_folder: Folder) -> None:
    name = str(tiny_folder("llama"))
    with open_engine(Settings(any_model=True)) as engine:

        def ask(view: str, **params: object) -> object:
            job = Job(view=f"jacobian_lens.{view}", model=name, prompt=PROMPT, params=params)
            return engine.run(job)

        one = ask("passage_beam", target=7, n_passages=1)
        two = ask("passage_beam", target=[7, 9], n_passages=2, random_blocks=1)
        assert len(one) == len(two) == len(ask("floor", target=7))  # type: ignore[arg-type]
        assert not ask("grid", by="logit").empty  # type: ignore[attr-defined]
        assert ask("about").empty  # type: ignore[attr-defined]
        for params in ({"n_passages": 0}, {"n_passages": "5"}, {"random_blocks": -1}):
            with pytest.raises(InputError):
                ask("passage_beam", target=7, **params)
