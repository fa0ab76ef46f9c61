"""A Jacobian lens for a small model, and one for its random blocks, where Strata looks for them."""

from __future__ import annotations

from strata.corpus.passages import fitting, passages
from strata.model import Model
from strata.model.fingerprint import fingerprint
from strata.model.fitted import place
from strata.model.jacobian import fit


def fit_lenses(model: Model, n_texts: int = 2) -> None:
    """Fit both on a few passages and keep them in STRATA_HOME."""
    texts = [fitting(model, [text])[0] for text in list(passages().values())[:n_texts]]
    for each in (model, model.random_twin(0)):
        file = place(fingerprint(each))
        file.parent.mkdir(parents=True, exist_ok=True)
        fit(each, texts, max_tokens=40).save(file)
