"""Trajectories: PCA against NumPy, UMAP by its promises, the null, and what the page says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from strata.concepts.trajectories import (
    CONCEPT,
    contexts,
    gradient_map,
    gradient_norms,
    joint_map,
    measures,
    project,
    random_walk,
    state_map,
    trajectories,
    words,
)
from strata.concepts.trajectories.script import script
from strata.concepts.trajectories.tables import LARGEST
from strata.corpus.examples import BY_ID
from strata.engine import Job, LocalEngine, Settings
from strata.errors import CancelledError, InputError
from strata.model import Model
from strata.trace import Scale, Trace
from tests.concepts.by_hand import HOSTILE, bundled_folder, trace
from tests.scripts import output_of

COLUMNS = ["layer", "position", "token", "x", "y"]
JUDGED = ["trust", "n_neighbors", "kept"]
PROMPT = "The cat sat on the mat, and the dog ran."
QUICK = {"n_neighbors": 5, "n_epochs": 20}


# -- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["umap", "pca"])
@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray])
def test_a_map_has_two_numbers_for_each_state(method: str, kind: type) -> None:
    hidden = trace(layers=4, tokens=6, d_model=16).hidden
    drawn = project(hidden if kind is torch.Tensor else hidden.numpy(), method, n_neighbors=5)
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == (4, 6, 2)
    assert np.isfinite(drawn).all()
    assert drawn.reshape(-1, 2).std(axis=0).min() > 0.01


def test_trajectories_are_the_projected_states_by_layer_and_position() -> None:
    run = trace(layers=4, tokens=6)
    frame = trajectories(run, **QUICK)
    assert list(frame) == COLUMNS
    assert frame["layer"].tolist() == [layer for layer in range(4) for _ in range(6)]
    assert frame["position"].tolist() == list(range(6)) * 4
    assert frame["token"].tolist() == list(run.tokens) * 4
    drawn = project(run.hidden, **QUICK)
    np.testing.assert_array_equal(frame[["x", "y"]].to_numpy().reshape(4, 6, 2), drawn)


def test_trajectories_of_bare_states_name_positions() -> None:
    frame = trajectories(trace(layers=3, tokens=4).hidden, "pca")
    assert list(frame) == COLUMNS
    assert frame["token"].tolist() == ["0", "1", "2", "3"] * 3


@pytest.mark.parametrize("shape", [(4, 6, 16), (3, 2, 16), (5, 4, 2)])  # many, few states; flat
def test_pca_is_scikit_learns_up_to_the_sign(shape: tuple[int, ...]) -> None:
    states = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) + 3
    drawn = project(states, "pca", metric="cosine").reshape(-1, 2)
    judge = PCA(2, svd_solver="full")
    expected = judge.fit_transform(states.double().numpy().reshape(-1, shape[-1]))
    np.testing.assert_allclose(np.abs(drawn), np.abs(expected), atol=1e-8)
    assert (np.sign((drawn * expected).sum(axis=0)) != 0).all()
    run = replace(trace(*shape[:2]), hidden=states)
    frame = state_map(run, method="pca", metric="euclidean", **QUICK)
    np.testing.assert_allclose(frame[["x", "y"]], drawn, atol=1e-8)
    assert frame["kept"][0] == pytest.approx(judge.explained_variance_ratio_.sum())


def test_pca_under_cosine_sees_directions_only() -> None:
    run = trace(layers=4, tokens=6)
    sizes = torch.rand(4, 6, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    resized = replace(run, hidden=run.hidden * sizes)
    one, other = (state_map(t, method="pca", **QUICK)[["x", "y"]] for t in (run, resized))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert not np.allclose(project(run.hidden, "pca"), project(resized.hidden, "pca"))


def test_the_same_seed_gives_the_same_map() -> None:
    hidden = trace(layers=4, tokens=20).hidden
    first, again, other = (project(hidden, **QUICK, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_every_setting_reaches_the_map() -> None:
    hidden = trace(layers=4, tokens=20).hidden
    usual = project(hidden, **QUICK)
    for name, value in {"n_neighbors": 9, "min_dist": 0.9, "metric": "euclidean"}.items():
        assert np.abs(project(hidden, **(QUICK | {name: value})) - usual).max() > 0.1, name


def test_random_walk_starts_there_and_takes_the_same_steps() -> None:
    run = trace(layers=5, tokens=6)
    hidden = run.hidden.double().numpy()
    walk = random_walk(run)
    assert walk.shape == hidden.shape
    np.testing.assert_array_equal(walk[0], hidden[0])
    steps, theirs = np.diff(walk, axis=0), np.diff(hidden, axis=0)
    norms = np.linalg.norm(theirs, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=-1), norms, rtol=1e-12)
    cosines = (steps * theirs).sum(axis=-1) / norms**2
    assert np.abs(cosines).mean() < 0.5
    np.testing.assert_array_equal(walk, random_walk(run, seed=0))
    assert np.abs(walk - random_walk(run, seed=1)).max() > 0.1


def test_random_walk_of_states_that_stand_still() -> None:
    still = replace(trace(layers=3), hidden=torch.ones(3, 6, 4))
    np.testing.assert_array_equal(random_walk(still), still.hidden)


# -- the edges ------------------------------------------------------------------------------------


def test_few_states_have_fewer_neighbours_and_say_so() -> None:
    for layers, tokens in ((4, 1), (2, 2), (5, 3)):
        run = trace(layers=layers, tokens=tokens)
        frame = state_map(run, n_epochs=20)
        assert len(frame) == layers * tokens
        assert np.isfinite(frame[["x", "y"]]).all(axis=None)
        assert (frame["n_neighbors"] == layers * tokens - 1).all()
    assert (state_map(trace(layers=4, tokens=20), **QUICK)["n_neighbors"] == 5).all()


@pytest.mark.parametrize(
    ("states", "settings", "message"),
    [
        (torch.zeros(2, 3), {}, "shape"),
        (torch.zeros(2, 0, 3), {}, "shape"),
        (torch.ones(3, 4, 5), {}, "All states are equal"),
        (torch.ones(1, 1, 5), {"method": "pca"}, "All states are equal"),
        (torch.ones(3, 4, 5) * torch.arange(1, 4)[:, None, None], {}, "same way"),
        (torch.full((3, 4, 5), torch.nan), {}, "finite"),
        (torch.eye(12).reshape(3, 4, 12) * torch.arange(12)[:, None].reshape(3, 4, 1), {}, "zero"),
        (torch.randn(1, 3, 5), {}, "at least 4 states"),
        (torch.zeros(2, LARGEST, 1), {}, "10,000 tokens"),
        (torch.randn(3, 4, 5), {"method": "tsne"}, "umap, pca"),
        (torch.randn(3, 4, 5), {"metric": "manhattan"}, "cosine, euclidean"),
        (torch.randn(3, 4, 5), {"n_neighbors": 1}, "n_neighbors"),
        (torch.randn(3, 4, 5), {"n_neighbors": 2.5}, "n_neighbors"),
        (torch.randn(3, 4, 5), {"min_dist": 1.5}, "min_dist"),
        (torch.randn(3, 4, 5), {"min_dist": math.nan}, "min_dist"),
        (torch.randn(3, 4, 5), {"seed": -1}, "seed"),
        (torch.randn(3, 4, 5), {"n_epochs": 0}, "n_epochs"),
    ],
)
def test_what_cannot_be_mapped_is_refused(
    states: torch.Tensor, settings: dict[str, Any], message: str
) -> None:
    for view in (project, trajectories):
        with pytest.raises(InputError, match=message):
            view(states, **settings)


def test_a_map_can_be_given_up() -> None:
    def leave(fraction: float, message: str) -> None:
        raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        project(trace().hidden, **QUICK, progress=leave)


# -- gradients ------------------------------------------------------------------------------------


def test_the_gradient_map_drops_the_last_position(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    run, gradients = model.capture(PROMPT), model.gradients(PROMPT)
    frame = gradient_map(run, gradients, **QUICK)
    assert list(frame) == COLUMNS + JUDGED
    assert frame["position"].max() == len(run.tokens) - 2
    assert frame["token"].tolist() == list(run.tokens[:-1]) * len(run.hidden)
    drawn = project(gradients[:, :-1], **QUICK)
    np.testing.assert_array_equal(frame[["x", "y"]], drawn.reshape(-1, 2))
    with pytest.raises(InputError, match="zero"):
        project(gradients)


def test_gradient_norms_by_layer_and_token(tiny: Callable[[str], Model]) -> None:
    model = tiny("gpt2")
    run, gradients = model.capture(PROMPT), model.gradients(PROMPT)
    frame = gradient_norms(run, gradients)
    assert list(frame) == ["layer", "position", "token", "norm"]
    table = frame.pivot(index="layer", columns="position", values="norm").to_numpy()
    np.testing.assert_allclose(table, np.linalg.norm(gradients, axis=-1), rtol=1e-5)
    assert (table[:, -1] == 0).all()
    assert (table[:, :-1] > 0).all()
    assert CONCEPT.measures["last_gradient_norm"](frame) == 0
    layer = CONCEPT.measures["largest_gradient_layer"](frame, position=2)
    assert layer == table[:, 2].argmax()
    top = np.unravel_index(table.argmax(), table.shape)
    assert f"position {top[1]}, layer {top[0]} " in words.norms_reading(frame)


@pytest.mark.parametrize(("stride", "layers"), [(1, [0, 1, 2, 3, 4]), (3, [0, 3, 4]), (4, [0, 4])])
def test_a_map_of_every_few_layers_has_the_last(stride: int, layers: list[int]) -> None:
    run, other = (trace(layers=5, tokens=6, seed=seed) for seed in (0, 1))
    gradients = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))
    walked = torch.as_tensor(random_walk(run))
    both = torch.cat([run.hidden, other.hidden], dim=1)
    for frame, states in (
        (state_map(run, **QUICK, stride=stride), run.hidden),
        (state_map(run, walk=True, **QUICK, stride=stride), walked),
        (gradient_map(run, gradients, **QUICK, stride=stride), gradients[:, :-1]),
        (joint_map([run, other], **QUICK, stride=stride), both),
    ):
        kept = torch.stack([states[layer] for layer in layers])
        assert frame["layer"].drop_duplicates().tolist() == layers
        assert len(frame) == kept.shape[0] * kept.shape[1]
        np.testing.assert_array_equal(frame[["x", "y"]], project(kept, **QUICK).reshape(-1, 2))
    for wrong in (0, 5):
        with pytest.raises(InputError, match="stride"):
            state_map(run, **QUICK, stride=wrong)


# -- several prompts ------------------------------------------------------------------------------


def test_several_prompts_on_one_map() -> None:
    runs = [trace(layers=3, tokens=n, seed=n) for n in (4, 6)]
    frame = joint_map(runs, **QUICK)
    assert list(frame) == ["prompt", *COLUMNS, *JUDGED]
    assert len(frame) == 3 * (4 + 6)
    together = torch.cat([run.hidden for run in runs], dim=1)
    drawn = project(together, **QUICK)
    for row in frame.itertuples():
        place = row.position + (4 if row.prompt else 0)
        assert (row.x, row.y) == tuple(drawn[row.layer, place])
        assert row.token == runs[row.prompt].tokens[row.position]
    with pytest.raises(InputError, match="at least one prompt"):
        joint_map([])


def test_contexts_follow_a_token_in_two_prompts() -> None:
    one, other = trace(layers=3, tokens=5, seed=1), trace(layers=3, tokens=4, seed=2)
    one = replace(one, token_ids=torch.tensor([1, 2, 3, 2, 4]))
    other = replace(other, token_ids=torch.tensor([5, 2, 6, 7]))
    frame = contexts([one, other])
    columns = ["layer", "token", "prompt_a", "position_a", "prompt_b", "position_b", "cosine"]
    assert list(frame) == columns
    assert frame["layer"].tolist() == [0, 1, 2]
    assert (frame[["prompt_a", "position_a", "prompt_b", "position_b"]] == [0, 3, 1, 1]).all(None)
    for layer, cosine in enumerate(frame["cosine"]):
        a, b = one.hidden[layer, 3].numpy(), other.hidden[layer, 1].numpy()
        expected = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert cosine == pytest.approx(expected, abs=1e-6)
    lowest = frame.loc[frame["cosine"].idxmin()]
    low = f"{lowest['cosine']:.2f}".replace("-", "−")
    assert words.contexts_reading(frame).endswith(f"at layer {lowest['layer']}, {low}.")
    assert "in A and B have a cosine" in words.contexts_reading(frame)
    apart = contexts([one, replace(other, token_ids=torch.tensor([5, 8, 6, 7]))])
    assert apart.empty
    assert list(apart) == columns
    assert "no token in common" in words.contexts_reading(apart)
    begun = replace(other, tokens=("w", "", "y", "z"))  # a part of a character, which has no text
    assert contexts([one, begun]).empty


def test_the_same_word_in_two_contexts_starts_equal_and_parts(model: Model) -> None:
    runs = [model.capture(BY_ID[name].prompt) for name in ("bat", "bat2")]
    frame = contexts(runs)
    bat = frame[frame["token"] == " bat"].set_index("layer")["cosine"]
    assert bat[0] == pytest.approx(1)
    assert bat.min() < 0.9


# -- the bundled model, the engine, the script ----------------------------------------------------


def paragraph(model: Model, n_tokens: int = 90) -> str:
    words = BY_ID["long"].prompt.split()
    while len(model.encode(" ".join(words))) > n_tokens:
        words.pop()
    return " ".join(words)


def test_maps_of_the_bundled_model_can_be_trusted(model: Model) -> None:
    run = model.capture(paragraph(model))
    frame = state_map(run)
    drawn = frame[["x", "y"]].to_numpy()
    points = run.hidden.flatten(0, 1).numpy()
    expected = trustworthiness(points, drawn, n_neighbors=15, metric="cosine")
    assert CONCEPT.measures["map_trust"](frame) == pytest.approx(expected, abs=1e-4)
    assert expected >= 0.99
    walk = state_map(run, walk=True)
    assert measures.smoothness(walk) < 2 * measures.smoothness(frame), "noise is smooth too"


def test_through_the_engine_the_model_is_free_meanwhile(tiny_folder: Callable[[str], Path]) -> None:
    name = str(tiny_folder("llama"))
    with LocalEngine(Settings(any_model=True)) as engine:
        long = {"n_neighbors": 5, "n_epochs": 2_000}
        prompt = PROMPT * 3
        slow = engine.submit(
            Job(view="trajectories.state_map", model=name, prompt=prompt, params=long)
        )
        quick = engine.run(Job(view="run.tokens", model=name, prompt="The dog"))
        assert not slow.done(), "the map was not drawn apart from the model"
        frame = slow.result(180)
        assert len(frame) == 4 * len(engine.run(Job(view="run.tokens", model=name, prompt=prompt)))
        assert len(quick) >= 2
        params = {"method": "pca"}
        for view in ("trajectories", "gradient_map", "gradient_norms"):
            of = params if view != "gradient_norms" else {}
            asked = Job(view=f"trajectories.{view}", model=name, prompt=PROMPT, params=of)
            assert len(engine.run(asked)) > 0
        prompts = (PROMPT, "The dog ran.")
        for view in ("joint_map", "contexts"):
            of = params if view == "joint_map" else {}
            asked = Job(view=f"trajectories.{view}", model=name, prompts=prompts, params=of)
            assert len(engine.run(asked)) > 0
        edited = Job(
            view="trajectories.gradient_norms", model=name, prompt=PROMPT, edits=(Scale(0, 0.5),)
        )
        with pytest.raises(InputError, match="leave out the edits"):
            engine.run(edited)


def test_script_draws_the_same_maps(model: Model, tmp_path: Path) -> None:
    """As a learner would run it: the coordinates agree. With as many threads, since UMAP makes
    another map of states that differ in their last digit."""
    prompt, settings = "The keeper wrote one line.", {"n_neighbors": 8, "n_epochs": 30, "seed": 2}
    settings["stride"] = 4
    code = script(bundled_folder(), None, prompt, blocks=model.blocks_path, **settings)
    output = output_of(f"{code}\nnp.savez('maps.npz', **maps, norms=norms)\n", tmp_path)
    run, gradients = model.capture(prompt), model.gradients(prompt)
    ours = {
        "activations": state_map(run, **settings),
        "random walk": state_map(run, walk=True, **settings),
        "gradients": gradient_map(run, gradients, **settings),
    }
    with np.load(tmp_path / "maps.npz") as theirs:
        for name, frame in ours.items():
            np.testing.assert_allclose(
                theirs[name].reshape(-1, 2), frame[["x", "y"]], atol=1e-3, err_msg=name
            )
            assert f"{name}: trust {frame['trust'][0]:.3f}" in output
        norms = gradient_norms(run, gradients)["norm"]
        np.testing.assert_allclose(theirs["norms"].ravel(), norms, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["llama", "gpt2", "falcon-7b", "bloom", "opt", "gemma2"])
def test_script_reproduces_pca_in_every_kind_of_family(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], name: str
) -> None:
    model, prompt = tiny(name), 'A \u202e "cat"\n sat \x00 on """ the mat'
    run, gradients = model.capture(prompt), model.gradients(prompt)
    ran: dict[str, Any] = {}
    code = script(str(tiny_folder(name)), None, prompt, blocks=model.blocks_path, method="pca")
    exec(compile(code, "script.py", "exec"), ran)
    np.testing.assert_allclose(ran["hidden"], run.hidden, atol=1e-5)
    np.testing.assert_allclose(ran["gradients"], gradients, atol=1e-5)
    for kind, frame in {
        "activations": state_map(run, method="pca"),
        "random walk": state_map(run, walk=True, method="pca"),
        "gradients": gradient_map(run, gradients, method="pca"),
    }.items():
        np.testing.assert_allclose(ran["maps"][kind].reshape(-1, 2), frame[["x", "y"]], atol=1e-3)


def test_hostile_tokens_are_shown_safely() -> None:
    frame = gradient_norms(trace(), torch.randn(4, 6, 16).abs() * torch.eye(6)[0][None, :, None])
    assert HOSTILE[0] not in words.norms_reading(frame)
    assert "<img␣src=x" in words.norms_reading(frame)


def test_traces_are_only_read() -> None:
    run: Trace = trace()
    before = run.hidden.clone()
    state_map(run, **QUICK)
    random_walk(run)
    assert torch.equal(run.hidden, before)
