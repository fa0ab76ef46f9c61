"""Every page opens for a model of one block and eight tokens: no slider of one value, no list of
more tokens than there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from strata.engine import LocalEngine, Settings
from strata.ui.server import resources
from tests.tiny import build

PAGES = Path(__file__).parents[2] / "pages"
WORDS = "<end> the cat sat on a mat .".split()
PROMPT = "the cat sat on a mat ."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The pages' engine knows one model, `small`."""
    folder = tmp_path_factory.mktemp("small")
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="."))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>").save_pretrained(folder)
    build("llama", num_hidden_layers=1, vocab_size=len(WORDS)).save_pretrained(folder)
    listed = folder / "models.toml"
    listed.write_text(
        f'[[model]]\nid = "small"\nsource = "folder"\npath = "{folder}"\nlicence = "none"\n'
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("STRATA_MODELS", str(listed))
    engine = LocalEngine(Settings())
    patch.setattr(resources, "_engine", lambda: engine)
    resources.models.cache_clear()  # pages have it by name, so it is no use to replace it
    yield
    engine.close()
    patch.undo()
    resources.models.cache_clear()


def page(path: str, prompt: str, chosen: dict) -> None:  # run by itself, without imports above
    import runpy

    import streamlit as st

    from strata.ui.anatomy.sidebar import Choice

    for name, value in chosen.items():
        st.session_state.setdefault(name, value)
    st.session_state["choice"] = Choice("small", prompt, st.container())
    runpy.run_path(path)


@pytest.mark.parametrize(
    ("stem", "chosen"),
    [
        ("predictions", {}),
        ("hidden_states", {}),
        ("laminar_profile", {}),
        ("logit_lens", {}),
        ("logit_lens", {"mode": "attn_frozen_norm"}),
        ("scaling", {}),
        ("scaling", {"view": "One block in detail"}),
        ("gaussian_baseline", {}),
        ("trajectories", {"method": "PCA"}),
    ],
)
def test_a_page_opens(stem: str, chosen: dict[str, Any], small: None) -> None:
    arguments = (str(PAGES / f"{stem}.py"), PROMPT, chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    assert app.get("vega_lite_chart") or app.get("bidi_component")
