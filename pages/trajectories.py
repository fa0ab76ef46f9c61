"""Trajectories: which way each token travels through the layers, and how far to trust the map."""

import pandas as pd
import streamlit as st

from strata import charts, map_words
from strata.display import display_text
from strata.ui import maps
from strata.ui.page import close_page, draw, open_page, reading

VIEWS = ("Activations and gradients", "Against chance", "Gradient norms", "Several prompts")

page = open_page("trajectories")
tokens, depth, choose = st.columns([3, 3, 2], vertical_alignment="bottom", gap="medium")
first, last = maps.span(page, tokens)
shallow, deep = maps.layers(page, depth)
settings = maps.settings(choose)
both, chance, sizes, several = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
tables: dict[str, pd.DataFrame] = {}


def show(name: str, frame: pd.DataFrame, title: str) -> None:
    """A map of this prompt, its chosen tokens and layers drawn."""
    tables[name] = frame
    drawn = frame["position"].between(first, last) & frame["layer"].between(shallow, deep)
    maps.show(page, frame, drawn, title, name)


if both.open:
    left, right = both.columns(2, gap="medium")
    with left:
        show("activations", page.ask("trajectories.state_map", **settings), "Activations")
    with right:
        if page.n_tokens > 1:
            gradients = page.ask("trajectories.gradient_map", **settings)
            show("gradients", gradients, "Gradients of the mean next-token loss")
            st.caption("Without the last position: its gradient is zero at every layer.")
        else:
            st.info("A gradient needs a prompt of at least two tokens.")
    both.caption(map_words.CAVEAT)

if chance.open:
    with chance:
        drawn = {}
        for method in ("UMAP", "PCA"):
            asked = settings | {"method": method.lower()}
            for walk, place in enumerate(st.columns(2, gap="medium")):
                frame = page.ask("trajectories.state_map", walk=bool(walk), **asked)
                what = "Random walk with the same steps" if walk else "Activations"
                with place:
                    show(f"{what.split(' with')[0].lower()} {method}", frame, f"{what}: {method}")
                drawn[method, walk] = frame
        asked = settings | {"method": "umap", "seed": settings["seed"] + 1}
        again = page.ask("trajectories.state_map", **asked)
        reading(map_words.null_reading(drawn["UMAP", 0], drawn["UMAP", 1], again))

if sizes.open:
    with sizes:
        norms = tables["gradient norms"] = page.ask("trajectories.gradient_norms")
        scored = page.labelled(norms[norms["position"] < page.n_tokens - 1])
        cells = scored.assign(value=scored["norm"])
        title = "Norm of the gradient, by layer and token"
        sentence = map_words.norms_reading(norms)
        draw(charts.heatmap(cells, title, sentence, legend="Norm", log=True), "norms")
        st.caption("Without the last position: nothing after it is scored, so it is exactly 0.")

if several.open:
    with several:
        prompts = (page.prompt, *maps.companions(page))
        shared = page.ask("trajectories.contexts", prompts=prompts)
        joint = page.ask("trajectories.joint_map", prompts=prompts, **settings)
        for letter, prompt in zip(maps.LETTERS, prompts, strict=False):
            st.text(f"{letter}: {display_text(prompt, 110)}")
        maps.show_shared(page, joint, shared, "joint")
        reading(map_words.contexts_reading(shared))
        tables |= {"joint map": joint, "contexts": shared}

close_page(page, tables, page.script(blocks=page.about["blocks"], **settings))
