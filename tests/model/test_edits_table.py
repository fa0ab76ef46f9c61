"""The table of docs/edits.md, row by row: what stands there, what the writes are, what holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from strata.model import Model
from strata.model.head_slices import projection
from strata.trace import (
    Add,
    Difference,
    Edit,
    Keep,
    Noise,
    Part,
    Project,
    Replace,
    Scale,
    Skip,
    State,
)
from tests.tiny import PROMPT

_TABLE = Path(__file__).parents[2] / "docs" / "edits.md"
OTHER = "The dog sat on the mat, and the cat ran."
TEXTS = ("Where the river is wide, the water is slow.", "She said that the answer was in it.")
B, F, H, K = 1, -0.7, 2, 3
DIRECTION = Difference(PROMPT, OTHER, 1)
_NAMES = {"b": B, "f": F, "h": H, "k": K, "d": DIRECTION, "source": State(OTHER), "sample": TEXTS}
_KINDS = {kind.__name__: kind for kind in (Scale, Replace, Add, Project, Noise, Skip, Keep)}


def rows() -> Iterator[tuple[str, str, str, str]]:
    """The table's rows, their cells as they are written."""
    for line in _TABLE.read_text("utf-8").splitlines():
        cells = re.split(r"(?<!\\) \| ", line.strip("| "))
        if line.startswith("| `") and len(cells) == 4:  # the table of directions has three
            yield cells[0].strip("`"), cells[1].replace("\\", ""), cells[2], cells[3]


def edits(code: str) -> list[Edit]:
    """What a row is about: of a part once with attention and once with the MLP, and where it leaves
    out what it is of, all three."""
    parts: tuple[Part, ...] = ("attn", "mlp") if "part" in code else ("stream",)
    if "..." in code:
        parts = get_args(Part)
    code = code.replace("...", "b, part")
    return [eval(code, {**_KINDS, **_NAMES, "part": part}) for part in parts]


def handed_on(model: Model, edit: Edit | None, prompt: str = PROMPT) -> Tensor:
    """(T, width): what head H hands on in that run, after the edit."""
    module, n_heads = projection(model.architecture, B)
    heard: list[Tensor] = []
    handle = module.register_forward_hook(lambda module, args, output: heard.append(args[0][0]))
    try:
        model.capture(prompt, [] if edit is None else [edit])
    finally:
        handle.remove()
    return heard[0].unflatten(-1, (n_heads, -1))[:, H].clone()


def pushed(after: Tensor, before: Tensor, size: float = 1.0) -> bool:
    """Whether these are as long as those, and every one in another direction."""
    torch.testing.assert_close(after.norm(dim=-1), size * before.norm(dim=-1))
    units = torch.nn.functional.normalize(after, dim=-1)
    return bool((units @ units.T - torch.eye(len(units))).abs().max() < 0.9)


def without(x: Tensor, d: Tensor) -> Tensor:
    u = d / d.norm()
    return x - (x @ u)[:, None] * u


def kept(x: Tensor, sample: Tensor) -> Tensor:
    mean = sample.mean(dim=0)
    vectors = torch.tensor(np.linalg.svd((sample - mean).numpy())[2][:K])
    return mean + (x - mean) @ vectors.T @ vectors


def test_every_row_is_true(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    clean, other = model.capture(PROMPT), model.capture(OTHER)
    d = (clean.hidden[1, -1] - other.hidden[1, -1]).double()
    sample = torch.cat([model.capture(text).hidden[B + 1] for text in TEXTS]).double()

    def same(ours: Tensor, theirs: Tensor) -> bool:
        torch.testing.assert_close(ours.double(), theirs.double(), atol=1e-5, rtol=1e-4)
        return True

    # By its words: what stands there (`x` without the edit, `y` with it, `z` in the source).
    states: dict[str, Callable[[Tensor, Tensor, Tensor], bool]] = {
        "f x": lambda x, y, z: same(y, F * x),
        "the source's `hidden[b + 1]`": lambda x, y, z: same(y, z),
        "the source's write": lambda x, y, z: same(y, z),
        "x + f d": lambda x, y, z: same(y, x + F * d),
        "x - (x·u) u, u = d / |d|": lambda x, y, z: same(y, without(x.double(), d)),
        "|x| u, u random of length 1": lambda x, y, z: pushed(y, x),
        "likewise, of the write": lambda x, y, z: pushed(y, x),
        "x + |f - 1| |x| u: as far as `Scale` by f pushes it": (
            lambda x, y, z: pushed(y - x, x, abs(F - 1))
        ),
        "`hidden[b]`, to the bit": lambda x, y, z: torch.equal(y, clean.hidden[B]),
        "f x, x what head h hands on": lambda x, y, z: same(y, F * x),
        "what head h hands on in the source": lambda x, y, z: same(y, z),
        "a random vector of the same norm as what head h hands on": lambda x, y, z: pushed(y, x),
        "zeros in the place of what head h hands on": lambda x, y, z: not y.any(),
        "m + P (x - m): `sample` is texts, m their mean, P onto their k largest components": (
            lambda x, y, z: same(y, kept(x.double(), sample))
        ),
    }
    seen = set()
    for code, state, writes, holds in rows():
        for edit in edits(code):
            part = edit.part if edit.head is None else "attn"
            case = f"{code}, {part}"
            trace = model.capture(PROMPT, [edit])
            both = {name: getattr(trace, name)[B] for name in ("attn", "mlp")}

            of_runs = [
                run.hidden[B + 1] if part == "stream" else getattr(run, part)[B]
                for run in (clean, trace, other)
            ]
            if edit.head is not None:
                asked = ((None, PROMPT), (edit, PROMPT), (None, OTHER))
                of_runs = [handed_on(model, each, prompt) for each, prompt in asked]
                module, n_heads = projection(model.architecture, B)
                x, y = of_runs[:2]
                columns = module.get_parameter("weight").unflatten(1, (n_heads, -1))[:, H]
                same(both["attn"], clean.attn[B] + (y - x) @ columns.T)
            assert states[state](*of_runs), case
            gave = writes == "as above" and part == "stream"
            if gave or writes == "what the parts gave":
                for name, given in both.items():
                    assert torch.equal(given, getattr(clean, name)[B]), case
            elif writes == "both zero":
                assert not any(given.any() for given in both.values()), case
            else:  # those of this part are what stands there; attention does not read the MLP
                assert part != "stream", case
                if part == "mlp":
                    assert torch.equal(both["attn"], clean.attn[B]), case
                else:  # and this MLP comes after attention, and reads it
                    assert not torch.equal(both["mlp"], clean.mlp[B]), case
            gap = trace.hidden[1:] - trace.hidden[:-1] - trace.attn - trace.mlp
            broken = gap.abs().amax(dim=(1, 2)) > 1e-4
            assert holds in ("holds", "not at block b", "as above"), case
            sums = part != "stream" if holds == "as above" else holds == "holds"
            assert broken.nonzero()[:, 0].tolist() == [B] * (not sums), case
            assert trace.unsummed == (B,) * (not sums), case
            assert torch.equal(trace.hidden[: B + 1], clean.hidden[: B + 1]), case
            same(model.unembed(trace.hidden[-1]), trace.logits)
            seen.add(type(edit))
    assert seen == set(_KINDS.values())
    assert len(list(rows())) == 15
