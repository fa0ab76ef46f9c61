"""'Show the code' of the laminar profile: its cosines with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

from strata.concepts.laminar_profile import similarity_script
from strata.concepts.laminar_profile.similarity import STATES
from strata.concepts.script import ALL_STATES, SINK_RULE, SINKS, TEXTS, program


def script(
    source: str,
    revision: str | None,
    prompt: str,
    blocks: str,
    positions: Sequence[int] = (0,),
    layers: Sequence[int] = (0,),
    skip_first: bool = True,
    center: bool = False,
    skip_sinks: bool = False,
    similarity: Sequence[str] = (),
    groups: Sequence[str] = (),
    n: int = 2_000,
    dtype: str = "float32",
) -> str:
    """A program with plain transformers that prints every number of this page; `blocks` is the path
    of the model's list of blocks, such as "model.layers". With texts as `similarity`: what compares
    whole layers over `n` positions of these instead, and states of `groups` of words, or of each
    word where there are none."""
    if similarity:
        return program(
            "How alike are whole layers, and how much of that does their distance give?",
            SINK_RULE + similarity_script.BODY,
            source,
            revision,
            None,
            dtype,
            blocks=blocks,
            texts_read=tuple(similarity),
            n=n,
            first=STATES,
            groups=tuple(groups),
        )
    return program(
        "How alike are the states of a prompt, from layer to layer and from token to token?",
        TEXTS + SINK_RULE + ALL_STATES + _SCRIPT + SINKS + _SCRIPT_PROFILE,
        source,
        revision,
        prompt,
        dtype,
        blocks=blocks,
        positions=tuple(positions),
        layers=tuple(layers),
        skip_first=skip_first,
        skip_sinks=skip_sinks,
        center=center,
    )


_SCRIPT = """tokens = spelled(token_ids[0].tolist())
hidden = torch.cat([raw, output.hidden_states[-1]]).double()
n_layers = len(hidden) - 2  # hidden is (L + 2, T, D), the last one after the final norm
names = [f"layer {layer}" for layer in range(n_layers + 1)] + ["after the final norm"]


def centred(states):  # (..., n, D), less their mean if that was asked for
    return states - states.mean(dim=-2, keepdim=True) if CENTER else states


def cosines(states):  # (..., n, D) -> (..., n, n); NaN where a state is zero
    unit = states / states.norm(dim=-1, keepdim=True)
    return (unit @ unit.mT).clamp(-1, 1)


between_layers = {p: cosines(centred(hidden)[:, p]) for p in POSITIONS}  # (L + 2, L + 2) each
for p, matrix in between_layers.items():
    print(f"Token {p}, {tokens[p]!r}: cosine of its state at each layer with the one before, with")
    print("layer 0, and with the last layer")
    for layer in range(1, n_layers + 2):
        step, start, end = matrix[layer, [layer - 1, 0, n_layers]].tolist()
        print(f"  {step:8.4f}  {start:8.4f}  {end:8.4f}  {names[layer]}")

between_tokens = {layer: cosines(centred(hidden[layer])) for layer in LAYERS}  # (T, T) each
for layer, matrix in between_tokens.items():
    print(f"\\nEvery two tokens, {names[layer]}, a row per token:")
    for p, row in enumerate(matrix.tolist()):
        print(f"  {p:3d} {tokens[p]!r}: " + " ".join(f"{value:.2f}" for value in row))
"""

_SCRIPT_PROFILE = """
kept = centred(hidden[:, left])  # (L + 2, T', D)
a, b = torch.triu_indices(kept.shape[1], kept.shape[1], 1)
profile = cosines(kept)[:, a, b]  # (L + 2, pairs)
print(f"\\nLaminar profile of {len(a)} pairs: minimum, quartiles, maximum, mean; then the minimum")
print("and the number of values that torch.unique(torch.triu(C, 1))[1:] would have kept")
statistics = []
for layer, values in enumerate(profile):
    values = values[~values.isnan()]
    if not len(values):
        continue
    quartiles = values.quantile(torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=values.dtype))
    statistics.append([layer, *quartiles.tolist(), values.mean().item()])
    shortcut = torch.unique(torch.triu(cosines(kept[layer]).float(), 1))[1:]
    row = "  ".join(f"{value:8.4f}" for value in statistics[-1][1:])
    wrong = f"{shortcut[0]:8.4f}" if len(shortcut) else "    none"
    print(f"  {row}  | {wrong} {len(shortcut):6d}  {names[layer]}")
"""
