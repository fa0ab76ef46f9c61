"""Gradients of exactly zero have no direction, so a map leaves them out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from strata.concepts.trajectories import gradient_map, project, words
from strata.errors import InputError
from strata.model import Model
from tests.tiny import PROMPT


def test_gradients_of_a_text_that_was_foreseen_with_certainty(tiny: Callable[[str], Model]) -> None:
    """A probability that rounds to 1 has a gradient of exactly zero, which has no direction."""
    model = tiny("llama")
    run, gradients = model.capture(PROMPT), model.gradients(PROMPT).clone()
    gradients[:, 3], gradients[2, 0] = 0, 0
    n_layers, n_tokens = gradients.shape[:2]
    frame = gradient_map(run, gradients, method="pca", metric="euclidean")
    wanted = [
        (layer, t)
        for layer in range(n_layers)
        for t in range(n_tokens - 1)
        if t != 3 and (layer, t) != (2, 0)
    ]
    assert list(zip(frame["layer"], frame["position"], strict=True)) == wanted
    points = torch.stack([gradients[layer, t] for layer, t in wanted])[None]
    np.testing.assert_array_equal(
        frame[["x", "y"]], project(points, method="pca", metric="euclidean")[0]
    )
    said = words.silent(frame, n_layers - 1, n_tokens)
    assert said.startswith(f" {n_layers + 1} more states are left out")
    whole = gradient_map(run, model.gradients(PROMPT), method="pca", metric="euclidean")
    assert words.silent(whole, n_layers - 1, n_tokens) == ""
    with pytest.raises(InputError, match="exactly zero"):
        gradient_map(run, torch.zeros_like(gradients), method="pca", metric="euclidean")
