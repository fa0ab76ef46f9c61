"""Strata as `app.py` serves it, but some models are not what they seem once they are loaded.

A model's name in the catalogue says what is wrong with it: `norm`, `writes`, `refused`, `text`,
or nothing.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
import torch
from torch import nn

from strata.engine import LocalEngine, Settings
from strata.model import Model, load_model
from strata.ui.server import resources
from strata.ui.server.start import lifespan, middleware, routes

FRAME = Path(__file__).parents[2] / "strata" / "ui" / "frame.py"


class Louder(nn.Module):
    """Adds a little more than the module inside it, which is the one that is hooked."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.inside(state) * 1.01


def load(name: str, progress: Any = None) -> Model:
    model = load_model(name, progress=progress)
    network: Any = model._network
    if name == "norm":  # the model goes through another norm than the lens, which keeps the old one
        path = model.architecture.norm_path
        other = copy.deepcopy(network.get_submodule(path))
        other.weight.data *= torch.linspace(0.9, 1.1, model.d_model)
        network.set_submodule(path, other)
    elif name == "writes":
        block = network.get_submodule(model.blocks_path)[model.n_layers // 2]
        block.mlp = Louder(block.mlp)
    elif name == "text":  # tokens lose the space that they begin with
        pieces: Any = model.texts._pieces
        whole = pieces.piece
        pieces.piece = lambda token_id, before=None: whole(token_id, before).lstrip()
    elif name == "refused":
        model.write_refusal = "The writes of this model are refused."
    return model


resources._engine = cache(lambda: LocalEngine(Settings(), load=load))
app = st.App(FRAME, lifespan=lifespan, routes=routes, middleware=middleware)
