"""The programs that pages show, for families whose parts or final norm are no single modules."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strata.concepts import heads
from strata.concepts.chance_script import section
from strata.concepts.evidence.script import script as evidence_script
from strata.concepts.gaussian_baseline.script import script as sampled_script
from strata.concepts.heads.script import modules as heads_modules
from strata.concepts.heads.script import script as heads_script
from strata.concepts.hidden_states.script import script as hidden_states_script
from strata.concepts.laminar_profile.script import script as laminar_script
from strata.concepts.logit_lens import attribution, lens
from strata.concepts.logit_lens.script import modules, script
from strata.concepts.scaling import sweep
from strata.concepts.scaling.script import script as scaling_script
from strata.concepts.scaling.tables import places
from strata.concepts.script import program
from strata.concepts.trajectories.script import script as trajectories_script
from strata.concepts.views import concepts
from strata.errors import ModelError
from strata.model import Model
from tests import tiny as tiny_models
from tests.families.build import build
from tests.families.outcome import load
from tests.tiny import PROMPT

Folder = Callable[[str], Path]
Loaded = Callable[[str], Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("families")
    return cache(lambda family: tiny_models.write(build(family), root / family))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return cache(lambda family: load(build(family)))


def run(code: str) -> dict[str, Any]:
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, "script.py", "exec"), ran)
    return ran


@pytest.mark.parametrize("family", ["mamba", "rwkv"])
def test_states_begin_with_what_enters_the_first_block(
    family: str, folder: Folder, loaded: Loaded
) -> None:
    """The hidden states that transformers lists of these begin with what the first block writes."""
    model, source = loaded(family), str(folder(family))
    wanted, blocks = model.capture(PROMPT).hidden.double(), model.blocks_path
    rows = [(PROMPT, "ab"[i % 2], str(i // 2), "") for i in range(4)]
    null = concepts()["hidden_states"].CONCEPT.nulls["Norm of the state"]
    drawn = section(null, "Norm", "shuffled text", blocks=blocks, n_draws=2)
    start = {"source": source, "revision": None, "prompt": PROMPT, "blocks": blocks}
    for name, code in (
        ("hidden", hidden_states_script(**start, position=1)),
        ("hidden", laminar_script(**start)),
        ("hidden", trajectories_script(**start, shape=True)),
        ("chance_hidden", program("x", "", source, None, PROMPT) + drawn),
        ("states", evidence_script(**start, rows=rows, compared=("a", "b"))),
    ):
        found = torch.as_tensor(run(code)[name])[: len(wanted)].double()
        if name == "states":
            found, last = found[:, 0], wanted[:, -1]
        np.testing.assert_allclose(found, last if name == "states" else wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("roberta", "states"),  # its head is a chain of modules
        ("bart", "deltas_own_norm"),  # it has no final norm
        ("hy_v4", "states"),  # its stream has several rows
        ("granitemoeshared", "mlp_frozen_norm"),  # a part of two modules
        ("falcon_h1", "attn_frozen_norm"),  # each module with a factor of its own
        ("mamba", "attn_frozen_norm"),  # one mixer a block
        ("beam", "attn_frozen_norm"),  # its blocks multiply the stream
        ("gemma4_text", "deltas_frozen_norm"),
    ],
)
def test_the_lens_in_plain_transformers(
    family: str, mode: str, folder: Folder, loaded: Loaded
) -> None:
    model = loaded(family)
    trace = model.capture(PROMPT)
    [paths] = modules(model).to_dict("records")
    ran = run(
        script(str(folder(family)), None, PROMPT, mode=mode, k=3, target_id=11, position=4, **paths)
    )
    found = [value for *_, values in ran["grid"] for value in values]
    np.testing.assert_allclose(found, lens(model, trace, 3, mode)["logit"], atol=2e-4)
    if not model.write_refusal:
        wanted = attribution(model, trace, 11, 4, "mean")
        assert [part for part, *_ in ran["attribution"]] == wanted["part"].tolist()
        np.testing.assert_allclose([v for *_, v in ran["attribution"]], wanted["logit"], atol=1e-4)


def test_heads_of_a_hybrid_whose_other_mixers_have_heads_too(
    folder: Folder, loaded: Loaded
) -> None:
    """Of bailing's four blocks all have projections of heads, and two have attention weights."""
    model = loaded("bailing_hybrid")
    trace = model.capture(PROMPT)
    blocks = heads.shape(model, trace)
    weighted = blocks.loc[blocks["weighted"], "block"].tolist()
    [paths] = heads_modules(model).to_dict("records")
    assert (blocks["heads"] > 0).all()
    assert weighted == [1, 3]
    told = {"target_id": 7, "position": 5, "against": "mean", "weighted": weighted, **paths}
    whole = heads.sink_share(model, trace, [0])
    for block in (0, 3):
        ran = run(heads_script(str(folder("bailing_hybrid")), None, PROMPT, block=block, **told))
        assert sorted(ran["attention"]) == weighted
        if block in weighted:
            wanted = heads.pattern(model, trace, block)["weight"]
            np.testing.assert_allclose(ran["pattern"].flatten(), wanted, atol=5e-6)
        of = [list(row[:2]) for row in ran["shares"]]
        assert of == whole[["block", "head"]].to_numpy().tolist()
        np.testing.assert_allclose([row[2] for row in ran["shares"]], whole["share"], atol=1e-5)
        wanted = heads.writes(model, trace, 7, 5, "mean")
        np.testing.assert_allclose([row[2] for row in ran["writes"]], wanted["logit"], atol=5e-5)


def test_a_part_of_two_modules_is_scaled_in_both(folder: Folder, loaded: Loaded) -> None:
    model = loaded("granitemoeshared")
    trace = model.capture(PROMPT)
    within = places(model, "mlp")["within"].tolist()
    assert within == ["block_sparse_moe+shared_mlp"] * model.n_layers
    code = scaling_script(
        str(folder("granitemoeshared")),
        None,
        PROMPT,
        target_id=7,
        factor=-0.7,
        blocks=model.blocks_path,
        within=within,
        part="mlp",
    )
    wanted = sweep(model, trace, target_id=7, factors=[-0.7], part="mlp")["logprob"]
    np.testing.assert_allclose([row[1] for row in run(code)["rows"]], wanted, atol=1e-4)
    assert wanted.std() > 1e-2


def test_a_mixer_has_no_mlp_to_scale(loaded: Loaded) -> None:
    with pytest.raises(ModelError, match="no MLP"):
        places(loaded("mamba"), "mlp")


def test_sampled_writes_are_summed_with_their_factors(folder: Folder, loaded: Loaded) -> None:
    """Falcon H1 adds 0.6 of its mixer and 0.5 of its attention, at every position of a text."""
    model = loaded("falcon_h1")
    trace = model.capture(PROMPT)
    n = len(trace.tokens) - 1
    code = sampled_script(
        str(folder("falcon_h1")),
        None,
        PROMPT,
        texts=[PROMPT],
        layer=2,
        part="attn",
        blocks=model.blocks_path,
        modules=model.architecture.row.attn,
        scales=[write.scale for write in model.architecture.attn[1]],
        n=n,
    )
    states = run(code)["states"].numpy()
    wanted = trace.attn[1, 1:].numpy()
    order = [int(np.abs(wanted - state).sum(axis=1).argmin()) for state in states]
    np.testing.assert_allclose(states, wanted[order], atol=1e-4)
    assert sorted(order) == list(range(n))
