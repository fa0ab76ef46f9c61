"""A random twin: what is drawn, what is kept, and that it is never all there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch

from strata.concepts.script import RANDOM_BLOCKS
from strata.errors import InputError
from strata.model import Model
from tests.families.build import build
from tests.families.outcome import load
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
MAMBA = "mamba"


def drawn_of(model: Model, seed: int) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """The matrices of a twin's blocks as they are when a block runs, beside the model's own."""
    twin, found = model.random_twin(seed), []
    for block, own in zip(twin.architecture.blocks, model.architecture.blocks, strict=True):

        def keep(module: torch.nn.Module, args: object, output: object, own=own) -> None:  # type: ignore[no-untyped-def]
            mine = dict(own.named_parameters())
            found.extend((n, p.detach().clone(), mine[n]) for n, p in module.named_parameters())

        block.register_forward_hook(keep, prepend=True)
    twin.capture(PROMPT)
    return found


# Of gpt_oss the biases lie in a table with a row for each expert, of cohere the norms in one with a
# row for each head; mamba's A_log, its rates of decay, is a table as well.
@pytest.mark.parametrize(
    "name",
    ["llama", "gpt2", "gemma2", "qwen3_moe", "gpt_neox-parallel", "gpt_oss", "cohere", MAMBA],
)
def test_matrices_are_drawn_and_all_else_is_kept(tiny: Tiny, name: str) -> None:
    model = load(build(MAMBA)) if name == MAMBA else tiny(name)
    norms = [m for m in model._network.modules() if "Norm" in type(m).__name__]
    kept = {id(each) for norm in norms for each in norm.parameters()}
    n_matrices = 0
    for path, drawn, own in drawn_of(model, 0):
        if own.squeeze().ndim < 2 or id(own) in kept or path.endswith(("bias", "A_log")):
            assert torch.equal(drawn, own), f"{path} is a norm's, a bias or a rate"
            continue
        n_matrices += 1
        stacked, mine = (
            each.flatten(0, -3) if each.ndim > 2 else each[None]
            for each in (drawn.squeeze(), own.squeeze())
        )
        for one, other in zip(stacked, mine, strict=True):
            n, deviation = one.numel(), float(other.std())
            assert abs(float(one.mean() - other.mean())) < 5 * deviation / n**0.5
            assert abs(float(one.std()) / deviation - 1) < 5 / (2 * n) ** 0.5
            correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
            assert abs(float(correlation)) < 5 / n**0.5
    assert n_matrices >= 4 * model.n_layers
    twin = model.random_twin(0)
    assert (
        twin._network.get_input_embeddings().weight is model._network.get_input_embeddings().weight
    )
    assert torch.equal(twin.capture(PROMPT).hidden[0], model.capture(PROMPT).hidden[0])
    assert torch.equal(
        twin.unembed(twin.capture(PROMPT).hidden[0]), model.unembed(model.capture(PROMPT).hidden[0])
    )


@pytest.mark.parametrize("name", ["gpt_oss", "cohere"])
def test_the_code_draws_the_same(tiny: Tiny, twin: Callable[[str], Plain], name: str) -> None:
    network, model = twin(name).network, tiny(name)
    blocks = network.get_submodule(model.blocks_path)
    ran = {"torch": torch, "hashlib": hashlib, "model": network, "BLOCKS": model.blocks_path}
    exec(compile(RANDOM_BLOCKS, "script.py", "exec"), ran)
    before = [each.detach().clone() for each in blocks.parameters()]
    ran["draw_blocks"](5)
    found = [each.detach().clone() for each in blocks.parameters()]
    ran["learned_blocks"]()
    for one, (path, other, _) in zip(found, drawn_of(model, 5), strict=True):
        assert torch.equal(one, other), path
    assert all(map(torch.equal, before, blocks.parameters()))


def test_entries_are_gaussian(model: Model) -> None:
    own = model.architecture.blocks[0].mlp.up_proj.weight
    values = model.random_twin(0).drawn.matrix(own, 4).double().flatten()
    unit = (values - values.mean()) / values.std()
    assert abs(float((unit**3).mean())) < 0.02
    assert abs(float((unit**4).mean()) - 3) < 0.05


def test_a_seed_draws_the_same_whatever_the_threads(tiny: Tiny, two_threads: None) -> None:
    model = tiny("llama")
    first = model.random_twin(7).capture(PROMPT).hidden
    torch.set_num_threads(1)
    again = model.random_twin(7)
    assert torch.equal(again.capture(PROMPT).hidden, again.capture(PROMPT).hidden)
    for (_, one, _), (_, two, _) in zip(drawn_of(model, 7), drawn_of(model, 7), strict=True):
        assert torch.equal(one, two)
    assert torch.allclose(first, again.capture(PROMPT).hidden, atol=1e-5)
    assert not torch.allclose(first, model.random_twin(8).capture(PROMPT).hidden, atol=1e-2)
    for (_, one, own), (_, two, _) in zip(drawn_of(model, 7), drawn_of(model, 8), strict=True):
        assert torch.equal(one, two) == (own.ndim == 1)


def test_one_block_is_there_at_a_time_and_the_model_stays_itself(tiny: Tiny) -> None:
    model = tiny("llama")
    before = model.capture(PROMPT).hidden
    twin = model.random_twin(0)
    blocks = twin.architecture.blocks

    def there() -> list[int]:
        return [
            i for i, block in enumerate(blocks) if all(not p.is_meta for p in block.parameters())
        ]

    seen: list[list[int]] = []
    for block in blocks:
        block.register_forward_hook(lambda *_: seen.append(there()), prepend=True)
    twin.capture(PROMPT)
    assert seen == [[0], [1], [2]]
    assert there() == []
    assert torch.equal(model.capture(PROMPT).hidden, before)
    assert not any(p.is_meta for p in model.parameters)


def test_a_twin_gives_a_block_back_when_its_run_fails(tiny: Tiny) -> None:
    twin = tiny("llama").random_twin(0)

    def fail(*_: object) -> None:
        raise RuntimeError("stop")

    handle = twin.architecture.blocks[1].mlp.register_forward_hook(fail)
    with pytest.raises(RuntimeError):
        twin.capture(PROMPT)
    handle.remove()
    assert all(p.is_meta for p in twin.architecture.blocks[1].parameters() if p.ndim > 1)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, True])
def test_a_bad_seed_is_refused(tiny: Tiny, seed: object) -> None:
    with pytest.raises(InputError, match="seed"):
        tiny("llama").random_twin(seed)  # type: ignore[arg-type]
