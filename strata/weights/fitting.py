"""Does a model fit here: its size, what it would first have to fetch, the memory there is."""

from __future__ import annotations

from pathlib import Path

import psutil

from strata.errors import NotEnoughMemory
from strata.weights import sources
from strata.weights.catalogue import ModelCard
from strata.weights.sizes import count_parameters

BYTES_PER_WEIGHT = 4  # float32, which is what every model has on a CPU
WORKING_ROOM = 1.15  # states, logits and buffers, on top of the weights


def size_bytes(card: ModelCard) -> int | None:
    """Memory of the weights in float32, in bytes; None where that is not known yet."""
    if card.parameters:
        return card.parameters * BYTES_PER_WEIGHT
    place = Path(card.path or "") if card.source == "gguf" else sources.cached_folder(card)
    return count_parameters(place) * BYTES_PER_WEIGHT if place and place.exists() else None


def require_memory(card: ModelCard, bytes_per_weight: int = BYTES_PER_WEIGHT) -> None:
    """Raise NotEnoughMemory if this model would not fit in what is free; unknown sizes pass."""
    size = size_bytes(card)
    if size is None:
        return
    needed = size * WORKING_ROOM * bytes_per_weight / BYTES_PER_WEIGHT
    free = psutil.virtual_memory().available
    if needed > free:
        raise NotEnoughMemory(
            f"{card.id} needs about {_gigabytes(needed)} GB of memory and {_gigabytes(free)} GB "
            "are free; choose a smaller model or close other programs."
        )


def menu_title(card: ModelCard) -> str:
    """The title, and how much would first have to be fetched if the model is not here yet."""
    if card.source not in ("bundled", "hub") or sources.is_cached(card):
        return card.title
    size = sources.BUNDLED.n_bytes if card.source == "bundled" else size_bytes(card)
    if size is None:
        return f"{card.title} · to be fetched"
    shown = f"{_gigabytes(size)} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    return f"{card.title} · {shown}, to be fetched"


def _gigabytes(n_bytes: float) -> str:
    gigabytes = n_bytes / 1e9
    return f"{gigabytes:.0f}" if gigabytes >= 9.95 else f"{gigabytes:.1f}"
