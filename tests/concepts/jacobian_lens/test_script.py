"""The program that the page shows prints the page's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from strata.concepts import jacobian_lens
from strata.concepts.jacobian_lens.script import script
from strata.concepts.logit_lens import modules
from strata.engine import Job, Settings, open_engine
from strata.errors import InputError
from strata.model import Model
from tests.scripts import output_of
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
Folder = Callable[[str], Path]
TEXTS = (
    "She said that the answer was in the third drawer of the desk on the left.",
    "Where the river is wide, the water is slow and the stones are round.",
)


@pytest.mark.parametrize("name", ["llama", "gpt2", "cohere"])
def test_the_script_prints_lens_and_beam(
    tiny: Tiny, tiny_folder: Folder, tmp_path: Path, name: str
) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    [about] = modules(model).to_dict("records")
    given = {each: about[each] for each in ("blocks", "norm", "logit_scale", "logit_cap")}
    lens = jacobian_lens.fit(model, TEXTS)
    wanted = jacobian_lens.lens(model, trace, lens, k=1)
    source = str(tiny_folder(name))

    def lens_of(**more: object) -> list[list[str]]:
        code = script(source, None, PROMPT, **given, texts=TEXTS, k=1, **more)  # type: ignore[arg-type]
        return [line.split("\t") for line in output_of(code, tmp_path).splitlines()]

    lines = [line for line in lens_of() if len(line) == 4]
    assert len(lines) == len(wanted)
    for line, row in zip(lines, wanted.itertuples(), strict=True):
        assert (int(line[0]), int(line[1])) == (row.layer, row.position)
        said, prob = line[3].rsplit(" ", 1)
        assert float(prob) == pytest.approx(row.prob, abs=2e-4)
        assert eval(said) in (row.predicted, *model.tokenizer.convert_ids_to_tokens([row.token_id]))

    lens.save(tmp_path / "lens.safetensors")
    target = 7 if name == "llama" else (7, 11)
    lines = lens_of(lens=str(tmp_path / "lens.safetensors"), target_id=target, position=3)
    assert len([line for line in lines if len(line) == 4]) == len(wanted)
    scores = [float(line[2]) for line in lines if line[0] == "beam"]
    frame = jacobian_lens.beam(model, trace, target, TEXTS)
    beam = frame[frame["position"] == 3]["score"]
    assert np.allclose(scores, beam, atol=1e-3 * float(beam.abs().max()))


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
