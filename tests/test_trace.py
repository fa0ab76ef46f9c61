"""What a trace says of itself."""

from __future__ import annotations

from strata.trace import Scale
from tests.concepts.by_hand import trace


def test_a_trace_shows_its_sizes_instead_of_its_numbers() -> None:
    made = trace(tokens=4)
    n_layers, n_tokens, d_model = made.hidden.shape
    shown = repr(made)
    assert "\n" not in shown
    assert len(shown) < 300
    assert f"hidden ({n_layers}, {n_tokens}, {d_model})" in shown
    assert f"logits ({n_tokens}, {made.logits.shape[-1]})" in shown
    assert "tensor" not in shown


def test_a_long_text_is_cut_and_edits_are_named() -> None:
    from dataclasses import replace

    shown = repr(replace(trace(), text="word " * 500, edits=(Scale(1, 0.5),), writes=None))
    assert len(shown) < 300
    assert "Scale(block=1, factor=0.5" in shown
    assert "attn" not in shown
