"""Jacobian lenses against Jacobians of plain transformers, written from their definition."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from strata.errors import InputError, ModelError
from strata.model import Model, pullback
from strata.model.fingerprint import fingerprint
from strata.model.fitted import fitted, kept, kept_in, place
from strata.model.jacobian import Lens, fit
from tests.families.outcome import load
from tests.plain import Plain
from tests.tiny import build

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]

TEXTS = (
    "She said that the answer was in the third drawer of the desk.",
    "Where the river is wide, the water is slow.",
    "The dog ran after the other cat in the garden, and the cat sat on the mat.",
)
SKIP, MOST = 3, 14
FAMILIES = ["llama", "gpt2", "gemma2", "qwen3", "gpt_neox-parallel", "gpt_neo", "lfm2"]


def by_definition(plain: Plain, ids: Tensor, skip: int) -> Tensor:
    """(L + 1, D, D): the whole Jacobian of every last state by every state of a layer, and then
    the sum over targets and the mean over sources."""
    n_layers, used, found = len(plain.blocks), slice(skip, len(ids) - 1), []
    for layer in range(n_layers + 1):

        def last(nudge: Tensor, layer: int = layer) -> Tensor:
            states: list[Tensor] = []

            def enter(module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return (args[0] + nudge, *args[1:])

            def leave(module: torch.nn.Module, args: object, output: object) -> object:
                state = output[0] if isinstance(output, tuple) else output
                states.append(state + nudge if layer == n_layers else state)
                return None

            module = plain.blocks[min(layer, n_layers - 1)]
            handles = [plain.blocks[-1].register_forward_hook(leave)]
            if layer < n_layers:
                handles.append(module.register_forward_pre_hook(enter))
            try:
                plain.network(input_ids=ids[None], use_cache=False)
            finally:
                for handle in handles:
                    handle.remove()
            return states[0][0]  # (T, D)

        zeros = torch.zeros(len(ids), plain.network.config.hidden_size)
        whole = torch.autograd.functional.jacobian(last, zeros)  # (T, D, T, D)
        found.append(whole[used, :, used].sum(dim=0).mean(dim=1))
    return torch.stack(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_matrices_are_the_mean_of_whole_jacobians(tiny: Tiny, twin: Twin, name: str) -> None:
    model, plain = tiny(name), twin(name)
    texts, most = (TEXTS[:2], 10) if name == "llama" else (TEXTS[:1], 8)
    rows = [model.encode(text)[:most] for text in texts]
    wanted = torch.stack([by_definition(plain, row, SKIP) for row in rows]).mean(dim=0)
    lens = fit(model, texts, SKIP, most)
    assert lens.matrices.dtype == torch.float32
    assert torch.equal(lens.matrices[-1], torch.eye(model.d_model))
    for ours, theirs in zip(lens.matrices, wanted, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    assert lens.n_positions == sum(len(row) - 1 - SKIP for row in rows)
    assert all(parameter.grad is None for parameter in model.parameters)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_each_way_gives_the_same_for_cotangents_of_either_sign(tiny: Tiny, name: str) -> None:
    model = tiny(name)
    ids = model.encode(TEXTS[2])[:20]
    cotangents = torch.randn(5, model.d_model)
    plain = pullback._by_one_graph(model, ids[:-1], cotangents, 4)
    trace = model.capture_row(ids[:-1])
    for way in (pullback._TAILS, pullback._WHOLES):
        for factor in (1.0, -3.0):
            [found] = pullback._by_blocks(model, [trace], factor * cotangents, 4, way=way)
            assert torch.allclose(found, factor * plain, atol=1e-5 * float(plain.abs().max()))
    assert pullback._way(model, len(ids), SKIP) == pullback._TAILS


def test_a_window_that_is_cut_by_where_keys_lie_is_noticed() -> None:
    """GPT-Neo's window of 40 holds each of these texts whole, but it cuts by how many keys there
    are, and where a block is run from a position on there are more of them."""
    model = load(build("gpt_neo", window_size=40))
    row = torch.randint(model.d_vocab, (38,), generator=torch.Generator().manual_seed(1))
    cotangents = torch.randn(4, model.d_model)
    [found] = pullback.pulled_back(model, [row[:13]], cotangents, 4)
    plain = pullback._by_one_graph(model, row[:12], cotangents, 4)
    assert torch.allclose(found, plain, atol=1e-5 * float(plain.abs().max()))
    [found] = pullback.pulled_back(model, [row], cotangents, 16)
    plain = pullback._by_one_graph(model, row[:-1], cotangents, 16)
    assert torch.allclose(found, plain, atol=1e-5 * float(plain.abs().max()))


def test_more_cotangents_than_memory_takes_go_in_groups(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    rows = [model.encode(text)[:MOST] for text in TEXTS]
    torch.manual_seed(0)
    cotangents = torch.randn(45, model.d_model)
    shares: list[float] = []
    together = pullback.pulled_back(model, rows, cotangents, SKIP)
    monkeypatch.setattr(pullback, "_BYTES", 1)
    apart = pullback.pulled_back(model, rows, cotangents, SKIP, shares.append)
    assert torch.allclose(together, apart, atol=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_twin_answers_as_its_own_network_does(tiny: Tiny) -> None:
    twin = tiny("llama").random_twin(1)
    ids = twin.encode(TEXTS[2])[:20]
    cotangents = torch.randn(5, twin.d_model)
    [found] = pullback.pulled_back(twin, [ids], cotangents, 4)
    plain = pullback._by_one_graph(twin, ids[:-1], cotangents, 4)
    assert torch.allclose(found, plain, atol=1e-5 * float(plain.abs().max()))


def test_fits_of_disjoint_texts_merge_to_the_fit_of_all(tiny: Tiny) -> None:
    model = tiny("llama")
    whole = fit(model, TEXTS, SKIP, MOST)
    merged = fit(model, TEXTS[:1], SKIP, MOST).merged(fit(model, TEXTS[1:], SKIP, MOST))
    assert float((whole.matrices - merged.matrices).abs().max()) < 1e-6
    assert (merged.n_texts, merged.texts, merged.n_positions) == (3, whole.texts, whole.n_positions)
    assert merged.halves == (), "fits on one text and on two are no halves"
    one, other = (fit(model, [text], SKIP, MOST) for text in TEXTS[:2])
    both = torch.cosine_similarity(one.matrices[:-1].flatten(1), other.matrices[:-1].flatten(1))
    assert one.merged(other).halves == pytest.approx(both.tolist(), abs=1e-6)
    with pytest.raises(InputError, match="share a text"):
        merged.merged(fit(model, TEXTS[:1], SKIP, MOST))
    with pytest.raises(InputError, match="same positions"):
        merged.merged(fit(model, TEXTS[:1], SKIP + 1, MOST))


def test_how_far_it_has_converged(tiny: Tiny) -> None:
    model = tiny("llama")
    means = [fit(model, TEXTS[:n], SKIP, MOST).matrices[:-1].double() for n in (1, 2, 3)]
    lens = fit(model, TEXTS, SKIP, MOST)
    assert set(lens.changes) == {2, 3}
    for (n, before), now in zip(((2, 0), (3, 1)), (means[1], means[2]), strict=True):
        moved = (now - means[before]).flatten(1).norm(dim=1) / now.flatten(1).norm(dim=1)
        assert lens.changes[n] == pytest.approx(moved.tolist(), rel=1e-4)
    even = fit(model, TEXTS[::2], SKIP, MOST).matrices[:-1].flatten(1)
    odd = fit(model, TEXTS[1::2], SKIP, MOST).matrices[:-1].flatten(1)
    assert lens.halves == pytest.approx(torch.cosine_similarity(even, odd).tolist(), abs=1e-5)


def test_a_fit_that_was_broken_off_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    model, keep = tiny("llama"), tmp_path / "fit.pt"
    whole = fit(model, TEXTS, SKIP, MOST)

    def stop(share: float, told: str) -> None:
        if share > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, TEXTS, SKIP, MOST, stop, keep)
    told: list[str] = []
    again = fit(model, TEXTS, SKIP, MOST, lambda share, text: told.append(text), keep)
    assert torch.equal(whole.matrices, again.matrices)
    assert (whole.changes, whole.halves, whole.texts) == (again.changes, again.halves, again.texts)
    assert set(told) == {"Text 3 of 3"}
    with pytest.raises(InputError, match="another fit"):
        fit(model, TEXTS, SKIP + 1, MOST, keep=keep)
    keep.write_bytes(b"no")
    with pytest.raises(InputError, match=r"fit\.pt"):
        fit(model, TEXTS, SKIP, MOST, keep=keep)


def test_a_lens_is_saved_and_found_again(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    model = tiny("llama")
    assert fitted(model) is None
    lens = fit(model, TEXTS, SKIP, MOST)
    file = place(fingerprint(model))
    file.parent.mkdir(parents=True)
    lens.save(file)
    stored = load_file(file)
    assert {name: each.dtype for name, each in stored.items()} == {"jacobian": torch.float16}
    assert len(stored["jacobian"]) == model.n_layers
    again = Lens.load(file)
    known = [name for name in lens.__dataclass_fields__ if name != "matrices"]
    assert [getattr(again, name) for name in known] == [getattr(lens, name) for name in known]
    assert torch.equal(again.matrices, lens.matrices.half().float())
    found = fitted(model)
    assert found is not None
    assert torch.equal(found.matrices, again.matrices)
    assert fitted(model) is found
    again.require(model)
    before = kept()
    fit(model, TEXTS[:1], SKIP, MOST).save(file)
    assert kept() != before
    newer = fitted(model)
    assert newer is not None
    assert newer.n_texts == 1
    file.write_bytes(b"no lens")  # then there is none, also where its name says so
    assert (kept_in(model), fitted(model)) == (None, None)


def test_a_lens_of_another_model_is_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    lens = fit(model, TEXTS[:1], SKIP, MOST)
    with pytest.raises(ModelError, match="other weights"):
        lens.require(tiny("arcee"))
    with pytest.raises(ModelError, match="3 blocks and width 32"):
        lens.require(tiny("gemma2"))
    with pytest.raises(ModelError, match="other weights"):
        lens.require(model.random_twin(0))
    twins = fit(model.random_twin(0), TEXTS[:1], SKIP, MOST)
    twins.require(model.random_twin(0))
    with pytest.raises(ModelError, match="other weights"):
        twins.require(model.random_twin(1))
    other = Lens(**{**vars(lens), "tokenizer": "0"})
    with pytest.raises(ModelError, match="another tokenizer"):
        other.require(model)


def test_files_that_are_no_lens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        Lens.load(tmp_path / "absent.safetensors")
    strange = tmp_path / "strange.safetensors"
    for content in (b"", b"no safetensors file", b"\x08" + b"\0" * 7 + b"{}      "):
        strange.write_bytes(content)
        with pytest.raises(InputError, match="not a Jacobian lens"):
            Lens.load(strange)
    form = {"format": "strata jacobian lens 1"}
    for about in ({}, form, form | {"about": "[]"}, form | {"about": json.dumps({"texts": 1})}):
        save_file({"jacobian": torch.zeros(1, 2, 2)}, strange, metadata=about)
        with pytest.raises(InputError, match="not a Jacobian lens"):
            Lens.load(strange)


def test_what_is_no_lens_and_no_file_is_told_so(tiny: Tiny, tmp_path: Path) -> None:
    made = fit(tiny("llama"), TEXTS[:1], 2)
    for path in (tmp_path, tmp_path / "none" / "lens", "", None, 5):
        with pytest.raises(InputError, match="cannot be written to"):
            made.save(path)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="There is no file"):
            Lens.load(path)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="merged with another one"):
        made.merged(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="finite numbers"):
        replace(made, matrices=made.matrices * math.nan)


def test_texts_that_cannot_be_used_are_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    with pytest.raises(InputError, match="at least one text"):
        fit(model, [])
    with pytest.raises(InputError, match="at least 18 are needed"):
        fit(model, ["The cat sat."])
    with pytest.raises(InputError, match="at least 18 are needed"):
        fit(model, TEXTS, 16, 17)
    for skip in (-1, 1.5, None, True):
        with pytest.raises(InputError, match="“skip” is a whole number, 0 or more"):
            fit(model, TEXTS, skip)  # type: ignore[arg-type]
    for most in (0, -5, None, 2.5):
        with pytest.raises(InputError, match="“max_tokens” is a whole number, 1 or more"):
            fit(model, TEXTS, 2, most)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Give texts in a list"):
        fit(model, TEXTS[0])
    assert fit(model, TEXTS, 0, 2).n_positions == 3
