"""Texts: passages written for Strata, own ones, data sets, curated prompts, and sampled states.

Imports the nouns, `runtime`, `weights` and `model`. Its face hands on the sampling, late: a list of
prompts should not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strata.corpus.sampling import Reading, sample
    from strata.corpus.states import Sample, Source
else:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            from strata.corpus import sampling

            return getattr(sampling, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Reading", "Sample", "Source", "sample"]
