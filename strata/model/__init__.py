"""One language model: loading, capture, edits, replay, gradients, generation; all of transformers.

Imports the nouns, `runtime` and `weights`. Its face hands on three names, late: transformers takes
seconds to import, and whoever asks for a device only should not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strata.model.load import convert_gguf, load_model
    from strata.model.model import Model
else:

    def __getattr__(name: str) -> Any:
        if name in ("convert_gguf", "load_model"):
            from strata.model import load

            return getattr(load, name)
        if name == "Model":
            from strata.model.model import Model

            return Model
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Model", "convert_gguf", "load_model"]
