"""The lens's tables and a word's beam, against states and gradients computed apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from strata.concepts import jacobian_lens, logit_lens
from strata.concepts.jacobian_lens import tables
from strata.concepts.target import TargetId, target_token
from strata.corpus.passages import passages
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.model.fingerprint import fingerprint
from strata.model.fitted import place
from strata.model.jacobian import Lens
from tests.concepts.logit_lens.test_logit_lens import unembed
from tests.plain import Plain
from tests.tiny import PROMPT

in_beams = sys.modules["strata.concepts.jacobian_lens.beams"]  # its name is a function's too
Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]

TEXTS = (
    "She said that the answer was in the third drawer of the desk on the left.",
    "Where the river is wide, the water is slow and the stones are round.",
    "The dog ran after the other cat in the garden, and the cat sat on the mat.",
)
FAMILIES = ["llama", "gpt2", "gemma2", "qwen3", "gpt_neox-parallel"]


def any_lens(model: Model, sign: float = 1.0) -> Lens:
    """A lens of random matrices that is taken for one fitted to the model."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(model.n_layers, model.d_model, model.d_model, generator=generator)
    eye = torch.eye(model.d_model)
    matrices = torch.cat([sign * (eye + 0.2 * noise), eye[None]])
    weights, tokenizer = fingerprint(model)
    return Lens(matrices, model.name, weights, tokenizer, 16, 128, ("a", "b"), 9, {2: (0.5,) * 3})


@pytest.fixture
def kept(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose lens is kept on this machine."""
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    model = tiny("llama")
    file = place(fingerprint(model))
    file.parent.mkdir(parents=True)
    replace(any_lens(model), halves=(0.1, 0.2, 0.3)).save(file)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_with_the_identity_it_is_the_logit_lens_exactly(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    lens = any_lens(model)
    identity = torch.eye(model.d_model).expand_as(lens.matrices)
    ours = jacobian_lens.lens(model, trace, replace(lens, matrices=identity), k=4)
    pd.testing.assert_frame_equal(ours, logit_lens.lens(model, trace, k=4), check_exact=True)


@pytest.mark.parametrize("sign", [1.0, -2.0])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_it_reads_each_state_through_its_matrix(
    tiny: Tiny, twin: Twin, name: str, sign: float
) -> None:
    model, plain = tiny(name), twin(name)
    lens, trace = any_lens(model, sign), model.capture(PROMPT)
    frame = jacobian_lens.lens(model, trace, lens, k=3)
    hidden = plain.run(trace.token_ids).hidden
    carried = torch.einsum("lij,ltj->lti", lens.matrices.double(), hidden.double()).float()
    said = unembed(plain, carried)  # (L + 1, T, V)
    for layer in range(model.n_layers + 1):
        for position in (0, len(trace.tokens) - 1):
            rows = frame[(frame["layer"] == layer) & (frame["position"] == position)]
            values, ids = said[layer, position].topk(3)
            assert rows["token_id"].tolist() == ids.tolist()
            assert rows["logit"].to_numpy() == pytest.approx(values.numpy(), rel=1e-3, abs=1e-3)


def test_the_pages_tables_agree_with_the_lens(kept: Model) -> None:
    trace = kept.capture(PROMPT)
    lens = jacobian_lens.fitted(kept)
    assert lens is not None
    whole = jacobian_lens.lens(kept, trace, k=1)
    drawn = tables.grid(kept, trace, width=64)
    assert drawn["token_id"].tolist() == whole["token_id"].tolist()
    assert np.allclose(drawn["logit"], whole["logit"], atol=1e-5)
    plain = tables.grid(kept, trace, by="logit", width=64)
    pd.testing.assert_frame_equal(plain, logit_lens.grid(kept, trace, width=64))
    here = tables.cell(kept, trace, 1, 2, k=3)
    wanted = jacobian_lens.lens(kept, trace, k=3)
    wanted = wanted[(wanted["layer"] == 1) & (wanted["position"] == 2)]
    assert here["token_id"].tolist() == wanted["token_id"].tolist()
    told = tables.followed(kept, trace, 2, [5])
    assert len(told) == kept.n_layers + 1
    with pytest.raises(InputError, match="jacobian or the logit lens"):
        tables.grid(kept, trace, by="tuned")  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1.0, -2.0])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_of_a_pair_the_difference_of_logits_is_told(
    tiny: Tiny, twin: Twin, monkeypatch: pytest.MonkeyPatch, name: str, sign: float
) -> None:
    model, plain = tiny(name), twin(name)
    lens, trace = any_lens(model, sign), model.capture(PROMPT)
    monkeypatch.setattr(tables, "fitted", lambda model: lens)
    hidden = plain.run(trace.token_ids).hidden
    carried = torch.einsum("lij,ltj->lti", lens.matrices.double(), hidden.double()).float()
    said = unembed(plain, carried)  # (L + 1, T, V)
    wanted = (said[..., 7] - said[..., 11]).numpy()
    drawn = tables.grid(model, trace, width=64, target_id=(7, 11))
    assert drawn["target_logit"].to_numpy() == pytest.approx(wanted.ravel(), rel=1e-3, abs=1e-3)
    assert drawn["target_prob"].isna().all()
    assert drawn["target_rank"].isna().all()
    way = tables.followed(model, trace, 3, [5], target_id=(7, 11))
    assert list(dict.fromkeys(zip(way["token_id"], way["other"] != "", strict=True))) == [
        (5, False),
        (7, False),
        (11, False),
        (7, True),
    ]
    apart = way[way["other"] != ""]
    assert apart["logit"].to_numpy() == pytest.approx(wanted[:, 3], rel=1e-3, abs=1e-3)
    assert apart[["prob", "rank"]].isna().all().all()
    plainly = logit_lens.grid(model, trace, width=64, target_id=(7, 11))
    assert drawn.dtypes.to_dict() == plainly.dtypes.to_dict()
    for same in (lambda: tables.grid(model, trace, target_id=(7, 7)), lambda: beam_of(model, 7)):
        with pytest.raises(InputError, match="two different words"):
            same()


def beam_of(model: Model, token_id: int) -> pd.DataFrame:
    """The beam of a word less itself."""
    return jacobian_lens.beam(model, model.capture(PROMPT), (token_id, token_id), TEXTS[:1])


def test_the_difference_is_that_of_two_distributions(kept: Model) -> None:
    trace = kept.capture(PROMPT)
    lens = jacobian_lens.fitted(kept)
    assert lens is not None
    frame = tables.difference(kept, trace, start=1, width=3)
    assert frame["layer"].nunique() == kept.n_layers + 1
    for row in frame.itertuples():
        state = trace.hidden[row.layer, row.position]
        p, q = (
            kept.unembed(each).double().softmax(dim=-1)
            for each in (lens.matrices[row.layer] @ state, state)
        )
        assert row.kl == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-4)
        assert (row.jacobian_id, row.logit_id) == (int(p.argmax()), int(q.argmax()))
        assert row.by == pytest.approx(float((p - q).max()), abs=1e-5)
        assert row.same == (row.jacobian_id == row.logit_id)
    last = frame[frame["layer"] == kept.n_layers]
    assert last["same"].all()
    assert last["kl"].max() < 1e-9
    assert last["risen_id"].tolist() == last["jacobian_id"].tolist()


def test_what_is_known_of_a_lens(kept: Model, tiny: Tiny) -> None:
    [row] = tables.about(kept).to_dict("records")
    assert (row["n_texts"], row["skip"], row["worst_change"], row["worst_halves"]) == (
        2,
        16,
        0.5,
        0.1,
    )
    assert row["file"] == str(place(fingerprint(kept)))
    frame = tables.convergence(kept)
    assert frame["halves"].tolist() == [0.1, 0.2, 0.3]
    assert frame["change"].tolist() == [0.5] * 3
    other = tiny("gpt2")
    assert tables.about(other).empty
    assert tables.convergence(other).empty
    with pytest.raises(ModelError, match="fit-lens"):
        jacobian_lens.lens(other, other.capture(PROMPT))
    with pytest.raises(ModelError, match="other weights"):
        jacobian_lens.lens(other, other.capture(PROMPT), any_lens(kept))


# -- beams ------------------------------------------------------------------------------------


def logit_gradients(plain: Plain, ids: Tensor, along: Tensor) -> Tensor:
    """(L + 1, D): the mean over sources of the gradient of sum_t along . h_L[t], by nudges."""
    used, nudges, states = slice(16, len(ids) - 1), [], []

    def nudge(state: Tensor) -> Tensor:
        nudges.append(torch.zeros_like(state).requires_grad_(True))
        return state + nudges[-1]

    def enter(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (nudge(args[0]), *args[1:])

    def leave(module: torch.nn.Module, args: object, output: object) -> object:
        changed = nudge(output[0] if isinstance(output, tuple) else output)
        states.append(changed)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handles = [block.register_forward_pre_hook(enter) for block in plain.blocks]
    handles.append(plain.blocks[-1].register_forward_hook(leave))
    try:
        with torch.enable_grad():
            plain.network(input_ids=ids[None], use_cache=False)
            answer = (states[0][0, used] @ along).sum()
            found = torch.autograd.grad(answer, nudges)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([each[0, used].mean(dim=0) for each in found])


@pytest.mark.parametrize(
    ("name", "target"),
    [*((name, 7) for name in FAMILIES), *((name, (7, 11)) for name in ("gpt2", "gemma2"))],
)
def test_a_beam_is_the_mean_of_gradients_with_its_interval(
    tiny: Tiny, twin: Twin, name: str, target: TargetId
) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    frame = jacobian_lens.beam(model, trace, target, TEXTS)
    assert frame.columns.tolist() == ["layer", "position", "token", "score", "low", "high"]
    norm = plain.network.get_submodule(plain.norm_path)
    with torch.no_grad():
        bias = norm(torch.zeros(model.d_model))
        # Of a norm with its scale held fixed: what each coordinate of a large state becomes.
        is_layer_norm = hasattr(norm, "bias") and norm.bias is not None
        head = plain.network.get_output_embeddings().weight
        head = head[target[0]] - head[target[1]] if isinstance(target, tuple) else head[target]
        factor = float(model.float_head.logit_scale)
        weight = norm.weight if name != "gemma2" else 1 + norm.weight
        along = weight * head * factor
        along = along - along.mean() if is_layer_norm else along
        last = trace.hidden[-1]
        centred = last - last.mean(dim=-1, keepdim=True) if is_layer_norm else last
        scale = (norm(last) - bias)[:, 0] / (weight[0] * centred[:, 0])  # (T,)
    each = torch.stack([logit_gradients(plain, model.encode(text), along) for text in TEXTS])
    scores = torch.einsum("nld,ltd->nlt", each.double(), trace.hidden.double()) * scale
    wanted = scores.mean(dim=0).flatten().numpy()
    size = np.abs(wanted).max()
    assert np.allclose(frame["score"], wanted, atol=2e-4 * size)
    half = stats.t.ppf(0.975, 2) * stats.sem(scores.flatten(1).numpy(), axis=0)
    assert np.allclose(frame["high"] - frame["score"], half, atol=2e-3 * size)
    assert np.allclose(frame["score"] - frame["low"], half, atol=2e-3 * size)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox-parallel"])
def test_a_beam_ends_in_the_models_logit(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    state = trace.hidden[-1]
    for target in (7, (7, 11)):
        frame = jacobian_lens.beam(model, trace, target, TEXTS[:1])
        floor = in_beams.floor(model, trace, target)
        logits = model.unembed(state).double()
        biases = model.unembed(0 * state[:1]).double()  # all that a norm leaves of nothing
        own = logits - biases
        wanted = own[:, 7] - own[:, 11] if isinstance(target, tuple) else own[:, 7]
        last = frame[frame["layer"] == model.n_layers]
        assert np.allclose(last["score"], wanted, atol=1e-3)
        assert frame["low"].isna().all()
        assert np.allclose(floor[floor["layer"] == model.n_layers]["score"], wanted, atol=1e-3)


def test_a_beam_is_the_lens_before_its_norm(tiny: Tiny) -> None:
    """The score is the word's logit of J h, had its norm the scale of the last state."""
    model, target = tiny("llama"), 9
    trace = model.capture(PROMPT)
    lens = jacobian_lens.fit(model, TEXTS)
    frame = jacobian_lens.beam(model, trace, target, TEXTS)
    carried = lens.transported(trace.hidden)
    sizes = (each.pow(2).mean(dim=-1) for each in (carried, trace.hidden[-1]))
    own, end = (size.add(model.config.rms_norm_eps).sqrt() for size in sizes)
    wanted = model.unembed(carried)[..., target] * own / end
    assert np.allclose(frame["score"], wanted.flatten(), atol=1e-4 * float(wanted.abs().max()))


def test_beams_come_passage_by_passage_and_are_kept(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    trace, calls = model.capture(PROMPT), []
    original = in_beams.pulled_back

    def counted(model: Model, rows: list[Tensor], *more: object) -> Tensor:
        calls.append(len(rows))
        return original(model, rows, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(in_beams, "pulled_back", counted)
    all_three = list(jacobian_lens.beams(model, trace, 13, TEXTS))
    assert len(all_three) == 3
    assert calls == [1, 1, 1]
    for n, frame in enumerate(all_three, start=1):
        pd.testing.assert_frame_equal(frame, jacobian_lens.beam(model, trace, 13, TEXTS[:n]))
    assert calls == [1, 1, 1]
    told: list[float] = []
    frame = in_beams.passage_beam(model, trace, 13, 2, None, lambda share, text: told.append(share))
    assert (frame["n"] == 2).all()
    assert told == [0.5, 1.0]
    assert calls == [1] * 5
    monkeypatch.setattr(in_beams, "_TOGETHER", 5)
    twin_frame = in_beams.passage_beam(model, trace, 13, 6, random_blocks=3)
    assert calls[5:] == [5, 1]
    twin = model.random_twin(3)
    texts = [in_beams.fitting(model, [text])[0] for text in list(passages().values())[:6]]
    again = jacobian_lens.beam(twin, twin.capture(PROMPT), 13, texts)
    assert np.allclose(twin_frame["score"], again["score"])
    assert calls[5:] == [5, 1]
    assert not np.allclose(twin_frame["score"][30:], frame["score"][30:])


def test_what_is_no_run_no_lens_and_no_text_is_told_so(tiny: Tiny) -> None:
    model, other = tiny("llama"), tiny("gemma2").capture(PROMPT)
    trace = model.capture(PROMPT)
    fitted = jacobian_lens.fit(model, TEXTS[:1], 2)
    for run, said in ((None, "not None"), ("The cat", "not 'The cat'"), (other, "another model")):
        with pytest.raises(InputError, match=said):
            jacobian_lens.lens(model, run, fitted)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=said):
            jacobian_lens.beam(model, run, 13, TEXTS)  # type: ignore[arg-type]
    for strange in (5, fitted.matrices):
        with pytest.raises(InputError, match=r"A lens is what .* gives"):
            jacobian_lens.lens(model, trace, strange)  # type: ignore[arg-type]
    for texts in (TEXTS[0], None, 5):
        with pytest.raises(InputError, match="Give texts in a list"):
            jacobian_lens.beam(model, trace, 13, texts)  # type: ignore[arg-type]


def test_words_and_texts_that_cannot_be_used(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    assert target_token(model, "the") == model.texts.word(" the")[0]
    word = jacobian_lens.beam(model, trace, "the", TEXTS[:1])
    by_id = jacobian_lens.beam(model, trace, target_token(model, "the"), TEXTS[:1])
    pd.testing.assert_frame_equal(word, by_id)
    with pytest.raises(InputError, match="several tokens"):
        jacobian_lens.beam(model, trace, "garden river desk", TEXTS[:1])
    with pytest.raises(InputError, match="does not exist"):
        jacobian_lens.beam(model, trace, 5_000, TEXTS[:1])
    with pytest.raises(InputError, match="at least 18"):
        jacobian_lens.beam(model, trace, 7, ["The cat."])
    with pytest.raises(InputError, match="number of passages"):
        in_beams.passage_beam(model, trace, 7, 51)
    with pytest.raises(InputError, match="at least one text"):
        jacobian_lens.beam(model, trace, 7, [])
    bert = tiny("opt-post_norm")
    with pytest.raises(ModelError, match="word has no direction"):
        jacobian_lens.beam(bert, bert.capture(PROMPT), 7, TEXTS[:1])
