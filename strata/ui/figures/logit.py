"""Where a target's logit comes from, and the proof that its parts add up, on a page."""

from __future__ import annotations

import pandas as pd

from strata.charts.lens import attribution
from strata.concepts.logit_lens import words
from strata.display.tokens import display_candidate
from strata.errors import StrataError
from strata.ui.anatomy.page import Page, draw, reading
from strata.ui.anatomy.style import say


def draw_attribution(
    page: Page, token: str, *, target_id: int, position: int, cap: float
) -> dict[str, pd.DataFrame]:
    """Bars by block and part, and their sum; the tables behind them. `cap`: of the model's logits.

    A model whose writes are refused says so here, and keeps the rest of the page.
    """
    try:
        found = page.ask("logit_lens.attribution", target_id=target_id, position=position)
        norms = page.ask("logit_lens.write_norms")
    except StrataError as error:
        say("note", str(error), "attribution")
        draw_proof(page, position, "_parts")
        return {}
    way = page.ask("logit_lens.followed", position=position, token_ids=[target_id])
    sentence = words.attribution_reading(found, way, position, cap)
    title = f"What adds to the logit of {display_candidate(token)} at position {position}"
    draw(attribution(found, title, sentence), "attribution", read=False)
    reading(sentence, "_attribution")
    draw_proof(page, position, "_parts")
    return {"attribution": found, "write norms": norms}


def draw_proof(page: Page, position: int, name: str = "") -> None:
    """Both sums over the whole vocabulary, with the largest error of each."""
    proof = page.ask("logit_lens.proof", position=position)
    reading(words.proof_reading(proof, position, page.about["d_vocab"]), f"_proof{name}")
