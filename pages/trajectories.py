"""Trajectories: which way each token travels through the layers, and how far to trust the map."""

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.trajectories import words
from strata.display.tokens import display_text
from strata.ui.anatomy.page import close_page, draw, open_page, reading, readings_wait
from strata.ui.figures import maps

VIEWS = ("Activations and gradients", "Against chance", "Gradient norms", "Several prompts")

page = open_page("trajectories")
dropped = words.DROPPED if readings_wait() else words.WHY_DROPPED
tokens, choose = st.columns([5, 2], vertical_alignment="bottom", gap="medium")
first, last = maps.span(page, tokens)
settings = maps.settings(choose)
both, chance, sizes, several = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
tables: dict[str, pd.DataFrame] = {}


def asked(name: str, view: str, title: str, **changed: object) -> maps.Map:
    """A map of this prompt, drawn with the settings, of which the chosen tokens are shown."""
    frame = tables[name] = page.ask(f"trajectories.{view}", **{**settings, **changed})
    return maps.Map(name.replace(" ", "_"), title, frame, frame["position"].between(first, last))


if both.open:
    with both:
        drawn = [asked("activations", "state_map", "Activations")]
        if page.n_tokens > 1:
            title = "Gradients of the mean next-token loss"
            drawn.append(asked("gradients", "gradient_map", title))
        maps.play(page, drawn)
        if page.n_tokens > 1:
            few = words.silent(tables["gradients"], page.n_layers, page.n_tokens)
            st.caption(f"Gradients: {dropped}.{few}")
        else:
            st.info("A gradient needs a prompt of at least two tokens.")
        st.caption(words.CAVEAT)

if chance.open:
    with chance:
        for method in ("UMAP", "PCA"):
            for walk, place in enumerate(st.columns(2, gap="medium")):
                what = "Random walk with the same steps" if walk else "Activations"
                name = f"{'random walk' if walk else 'activations'} {method}"
                with place:
                    changed = {"walk": bool(walk), "method": method.lower()}
                    drawn_map = asked(name, "state_map", f"{what}: {method}", **changed)
                    maps.show(page, drawn_map)
        other = {"method": "umap", "seed": settings["seed"] + 1}
        again = asked("activations UMAP, next seed", "state_map", "", **other).frame
        pair = tables["activations UMAP"], tables["random walk UMAP"]
        reading(words.null_reading(*pair, again))

if sizes.open:
    with sizes:
        norms = tables["gradient norms"] = page.ask("trajectories.gradient_norms")
        scored = page.labelled(norms[norms["norm"] > 0])  # the others have no place on a log scale
        cells = scored.assign(value=scored["norm"])
        title = "Norm of the gradient, by layer and token"
        sentence = words.norms_reading(page.named(norms))
        draw(charts.heatmap(cells, title, sentence, legend="Norm", log=True), "norms")
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
            joint = page.ask("trajectories.joint_map", prompts=prompts, **settings)
            tables["joint map"] = joint
            maps.play(page, [maps.joint(joint, followed)])
        reading(words.contexts_reading(shared if shared.empty else followed), "_contexts")

close_page(page, tables, page.script(blocks=page.about["blocks"], **settings))
