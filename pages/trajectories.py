"""Trajectories: which way each token travels through the layers, and how far to trust the map."""

from functools import partial

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.trajectories import words
from strata.display.tokens import display_text
from strata.ui.anatomy.page import close_page, draw, open_page, reading, readings_wait
from strata.ui.figures import maps, shapes

VIEWS = "Activations and gradients", "Against chance", "Gradient norms", "Several prompts", "Shape"
GRADIENTS = "Gradients of the mean next-token loss"

page = open_page("trajectories")
dropped = words.DROPPED if readings_wait() else words.WHY_DROPPED
tokens, choose = st.columns([5, 2], vertical_alignment="bottom", gap="medium")
first, last = maps.span(page, tokens)
settings = maps.settings(choose, page.n_layers)
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
both, chance, sizes, several, shape = tabs
tables: dict[str, pd.DataFrame] = {}
asked = partial(maps.asked, page, tables, settings, (first, last))

if both.open:
    with both:
        drawn = [asked("activations", "state_map", "Activations")]
        there = partial(maps.meanwhile, page, drawn[0])
        if page.n_tokens > 1:
            drawn.append(asked("gradients", "gradient_map", GRADIENTS, meanwhile=there))
        maps.play(page, drawn)
        if page.n_tokens == 1:
            st.info(words.TWO)
        elif "gradients" in tables:
            n_layers = tables["activations"]["layer"].nunique() - 1
            few = words.silent(tables["gradients"], n_layers, page.n_tokens)
            st.caption(f"Gradients: {dropped}.{few}")
        st.caption(words.CAVEAT)

if chance.open:
    with chance:
        for method in ("UMAP", "PCA"):
            for walk, place in enumerate(st.columns(2, gap="medium")):
                what = "Random walk with the same steps" if walk else "Activations"
                name = f"{'random walk' if walk else 'activations'} {method}"
                changed = {"walk": bool(walk), "method": method.lower()}
                with place:
                    if one := asked(name, "state_map", f"{what}: {method}", **changed):
                        maps.show(page, one)
        if {"activations UMAP", "random walk UMAP"} <= tables.keys():
            other = {"method": "umap", "seed": settings["seed"] + 1}
            if again := asked("activations UMAP, next seed", "state_map", "", **other):
                pair = tables["activations UMAP"], tables["random walk UMAP"]
                reading(words.null_reading(*pair, again.frame))

if sizes.open and page.n_tokens == 1:
    sizes.info(words.TWO)
elif sizes.open:
    with sizes:
        norms = tables["gradient norms"] = page.ask("trajectories.gradient_norms")
        scored = page.labelled(norms[norms["norm"] > 0])  # the others have no place on a log scale
        cells = scored.assign(value=scored["norm"])
        title = "Norm of the gradient, by layer and token"
        sentence = words.norms_reading(page.named(norms))
        some = words.DROPPED.lower() if len(scored) < len(norms) else ""
        chart = charts.heatmap(cells, title, sentence, legend="Norm", log=True)
        draw(chart, "norms", note=some)
        st.caption(f"A map by cosine hides this size. {dropped}.")

if several.open:
    with several:
        beside, token = st.columns([5, 2], gap="medium")
        prompts = (page.prompt, *maps.companions(page, beside))
        shared = tables["contexts"] = page.ask("trajectories.contexts", prompts=prompts)
        named = zip(words.LETTERS, prompts, strict=False)
        st.text("\n".join(f"{letter}: {display_text(prompt, 110)}" for letter, prompt in named))
        if not shared.empty:
            followed = maps.follow(shared, token)
            if joint := asked("joint map", "joint_map", "", prompts=prompts):
                maps.play(page, [maps.joint(page, prompts, joint.frame, followed)])
        reading(words.contexts_reading(shared if shared.empty else followed), "_contexts")

if shape.open:
    with shape:
        tables |= shapes.draw_shape(page)

script = page.script(blocks=page.about["blocks"], **settings, shape=shape.open)
close_page(page, tables, script)
