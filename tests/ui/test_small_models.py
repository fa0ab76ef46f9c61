"""Every page opens for a model of one block and eight tokens, and for a prompt of one token: no
slider of one value, no list of more tokens than there are, no empty chart, no refusal, a foot."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from strata.concepts.jacobian_lens.words import WHY_RANDOM
from strata.engine import Job, LocalEngine, Settings
from strata.model import load_model
from strata.model.fingerprint import fingerprint
from strata.model.fitted import place
from strata.model.jacobian import fit
from strata.ui.anatomy import page as anatomy
from strata.ui.server import resources
from tests.families import build as families
from tests.lenses import fit_lenses
from tests.tiny import build

PAGES = Path(__file__).parents[2] / "pages"
WORDS = "<end> the cat sat on a mat .".split()
PROMPT = "the cat sat on a mat ."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The pages' engine knows four models: `small`; `scan`, which has no attention; `mixed`, whose
    attention stands beside a scan, so that its heads do not add up; and `linear`, whose even blocks
    have heads that weigh no tokens."""
    folder = tmp_path_factory.mktemp("models")
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="."))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    networks = {
        "small": build("llama", num_hidden_layers=1, vocab_size=len(WORDS)),
        "scan": families.build("mamba"),
        "mixed": families.build("falcon_h1"),
        "linear": families.build("bailing_hybrid"),
    }
    listed = folder / "models.toml"
    with listed.open("w") as file:
        for name, network in networks.items():
            tokenizer.save_pretrained(folder / name)
            network.save_pretrained(folder / name)
            file.write(f'[[model]]\nid = "{name}"\nsource = "folder"\n')
            file.write(f'path = "{folder / name}"\nlicence = "none"\n')
    patch = pytest.MonkeyPatch()
    patch.setenv("STRATA_MODELS", str(listed))
    patch.setenv("STRATA_HOME", str(folder / "home"))
    fit_lenses(load_model(str(folder / "small"), device="cpu"))
    engine = LocalEngine(Settings())
    patch.setattr(resources, "_engine", lambda: engine)
    resources.models.cache_clear()  # pages have it by name, so it is no use to replace it
    yield
    engine.close()
    patch.undo()
    resources.models.cache_clear()


# Run by itself, without the imports above.
def page(path: str, prompt: str, chosen: dict, model: str = "small") -> None:
    import runpy

    import streamlit as st

    from strata.ui.anatomy.sidebar import Choice

    for name, value in {"text": prompt, **chosen}.items():
        st.session_state.setdefault(name, value)
    st.session_state["choice"] = Choice(model, prompt, st.container())
    runpy.run_path(path)


PAIR = {"minus_choice": 5, "minus_model": "small"}  # a word that is taken off, of this model's
LENGTH = {"chance_of": "Length of the paths (norm)", "of_path": "length"}
PAIRED = {"pair": "own", "second_text": "the cat sat on the mat ."}
SCALING = ("Block by block", "Every factor", "Beside noise", "One block in detail")
EVERY = [
    *((stem, {}) for stem in ("predictions", "logit_lens")),
    ("logit_lens", {"view": "Nearest states"}),
    *(("scaling", {"view": v}) for v in SCALING),
    *(
        ("hidden_states", {"view": view})
        for view in ("One token", "All tokens", "Outlier dimensions", "Final norm", "What came out")
    ),
    ("hidden_states", {"view": "Massive"}),
    ("laminar_profile", {"view": "Whole layers"}),
    ("trajectories", {"view": "Shape"}),
    ("trajectories", {"view": "Shape", "by_chance": "layers in another order", **LENGTH}),
    ("laminar_profile", {}),
    *(
        ("laminar_profile", {"view": view, "center": center})
        for view in ("Between layers", "Between tokens")
        for center in (False, True)
    ),
    *(
        ("trajectories", {"view": view, "method": method})
        for view in ("Activations and gradients", "Gradient norms", "Several prompts")
        for method in ("UMAP", "PCA")
    ),
    ("trajectories", {"view": "Against chance"}),
    *(
        ("patching", {"view": view, **PAIRED})
        for view in ("Exact map", "The gradient's estimate", "Two cells", "Attention heads")
    ),
    ("patching", {"view": "Read elsewhere"}),
    ("patching", {"by_chance": "random directions", **PAIRED}),
    ("heads", {"view": "The sink", "by_chance": "random blocks"}),
    *(("heads", {"view": view}) for view in ("Who reads whom", "The sink", "Who wrote it")),
    ("heads", {"view": "Who reads whom", "which": "own", "no_sink": True}),
    ("heads", {"view": "Who wrote it", "which": "idle", "head_colour": "norm"}),
    *(("heads", {"view": "Change a head", "change": each}) for each in ("skip", "scale")),
    ("heads", {"view": "Change a head", "change": "replace", **PAIRED}),
    *(("jacobian_lens", {"view": view}) for view in ("The grid", "Controls")),
    ("jacobian_lens", {"by": "difference"}),
    ("jacobian_lens", PAIR),
    ("jacobian_lens", {"view": "The beam of a word", "passages": 2}),
    ("predictions", {"by_chance": "random blocks"}),
    ("hidden_states", {"by_chance": "shuffled text", "chance_of": "Variance of the state"}),
    ("logit_lens", {"by_chance": "random directions"}),
    ("evidence", {"each": True}),
    ("evidence", {"half": "all", "quantity": "Laminar median cosine"}),
    ("evidence", {"view": "Probe"}),
]


@pytest.mark.parametrize(
    ("prompt", "stem", "chosen"),
    [("cat", *each) for each in EVERY]
    + [("the cat", *each) for each in EVERY if each[0] in ("laminar_profile", "trajectories")],
)
def test_a_short_prompt_has_a_whole_page(
    prompt: str, stem: str, chosen: dict[str, Any], small: None
) -> None:
    arguments = (str(PAGES / f"{stem}.py"), prompt, chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    assert not app.error
    assert "Link" in [block.proto.popover.label for block in app.get("popover")], "no foot"
    assert not [chart.proto.alt for chart in app.get("vega_lite_chart") if empty(chart.proto)]


def test_random_blocks_without_a_lens_are_read_by_the_beam_of_a_word(small: None) -> None:
    twin = load_model(str(Path(os.environ["STRATA_MODELS"]).parent / "small")).random_twin(0)
    fitted = place(fingerprint(twin))
    kept = fitted.rename(fitted.with_suffix(".kept"))
    for asked, named in (({}, ""), (PAIR, " minus ␣a")):
        chosen = {"view": "Controls", "passages": 2, **asked}
        arguments = (str(PAGES / "jacobian_lens.py"), "the cat sat .", chosen)
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert not app.exception, app.exception[0].message
        texts = " ".join(text.value for text in app.text)
        assert "andom blocks" not in texts, "nobody has asked for them"
        assert WHY_RANDOM in [each.value for each in app.caption]
        app.toggle(key="random").set_value(True).run()
        assert not app.exception, app.exception[0].message
        texts = " ".join(text.value for text in app.text)
        assert "“python -m strata fit-lens small --random-blocks 0” makes one" in texts
        assert "random blocks give" in texts
        assert "random blocks name" not in texts
        alts = [chart.proto.alt for chart in app.get("vega_lite_chart")]
        assert any(re.match(f"How disposed the state of .* is to .*{named}, by", a) for a in alts)
    kept.rename(fitted)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert "andom blocks" not in " ".join(text.value for text in app.text)
    app.toggle(key="random").set_value(True).run()
    assert "random blocks name" not in " ".join(text.value for text in app.text)
    assert "Random blocks and the Jacobian lens name" in " ".join(t.value for t in app.text)


@pytest.mark.parametrize(
    ("view", "table", "rows"),
    [
        ("Exact map", "map", ["layer", "position", "value", "share", "kl"]),
        ("The gradient's estimate", "estimate", ["layer", "position", "value", "share"]),
        ("Two cells", "two cells", []),
        ("Attention heads", "heads", ["head", "position", "value", "share", "kl"]),
    ],
)
def test_each_tab_of_patching_has_the_program_of_its_numbers(
    small: None, monkeypatch: pytest.MonkeyPatch, view: str, table: str, rows: list[str]
) -> None:
    _, tables, ran = with_its_program(monkeypatch, "patching", {"view": view, **PAIRED})
    frame = tables[table]
    if not rows:
        found = [ran["two_cells"][name] for name in frame]
        np.testing.assert_allclose(found, frame.iloc[0], atol=1e-4)
        return
    places = set(map(tuple, frame[rows[:2]].to_numpy().tolist()))
    made = ran["estimate" if table == "estimate" else "rows"]
    found = sorted(each for each in made if tuple(each[:2]) in places)
    wanted = frame.sort_values(rows[:2])[rows].to_numpy(float)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def with_its_program(
    monkeypatch: pytest.MonkeyPatch, stem: str, chosen: dict[str, Any]
) -> tuple[AppTest, dict[str, Any], dict[str, Any]]:
    """A page, its tables, and what its program has made in the end."""
    shown: list[tuple[dict[str, Any], str]] = []
    close = anatomy.close_page

    def keep(page: Any, tables: dict[str, Any], script: str, **beside: Any) -> None:
        shown.append((tables, script))
        close(page, tables, script, **beside)

    monkeypatch.setattr(anatomy, "close_page", keep)
    arguments = (str(PAGES / f"{stem}.py"), PROMPT, chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
    assert not app.exception, app.exception[0].message
    [(tables, script)] = shown
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(script, "script.py", "exec"), ran)
    return app, tables, ran


def test_what_heads_write_is_one_number_in_tables_program_and_sentence(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pair in ({}, PAIR):
        app, tables, ran = with_its_program(monkeypatch, "heads", {"view": "Who wrote it", **pair})
        heads, sums = tables["heads"], tables["sums"]
        added = heads.groupby("block")["logit"].sum()
        np.testing.assert_allclose(sums.set_index("block")["heads"], added, atol=1e-5)
        made = [row[2] for row in ran["writes"]]
        np.testing.assert_allclose(heads["logit"], made, atol=1e-4)
        np.testing.assert_allclose(sums[["block", "heads", "bias"]], ran["sums"], atol=1e-4)
        told = " ".join(text.value for text in app.text).replace("−", "-")
        [whole] = re.findall(r"heads together add ([+-][\d.]+),", told)
        assert float(whole) == pytest.approx(sums["heads"].sum(), abs=0.006)


def test_a_head_taken_from_a_longer_prompt_is_told_to_be_so_at_the_last_token(small: None) -> None:
    chosen = {"view": "Change a head", "change": "replace", **PAIRED}
    for prompt, told in ((PROMPT, False), ("the cat sat .", True)):
        arguments = (str(PAGES / "heads.py"), prompt, chosen)
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert not app.exception, app.exception[0].message
        texts = " ".join(text.value for text in app.text)
        since = "taken from the other prompt at the last token only, since the prompts differ in"
        assert (since in texts) is told
        [chart] = app.get("vega_lite_chart")
        assert ("at the last token only" in chart.proto.alt) is told


def test_a_lens_is_seen_that_is_fitted_while_pages_are_open(small: None) -> None:
    """First there is none, then one on two texts, then one on a single text."""
    name = str(Path(os.environ["STRATA_MODELS"]).parent / "small")
    model = load_model(name, device="cpu")
    file = place(fingerprint(model))
    two = file.rename(file.with_suffix(".kept"))
    one = fit(model, [" ".join(WORDS[1:] * 4)], max_tokens=20)
    prompt, told = "on a mat the cat sat", []
    for lens in (None, two, one):
        if lens is two:
            two.rename(file)
        elif lens is one:
            one.save(file)
        for view in ("The grid", "Controls")[: 1 + (lens is one)]:
            arguments = (str(PAGES / "jacobian_lens.py"), prompt, {"view": view, "random": False})
            app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
            assert not app.exception, app.exception[0].message
            told.append(" ".join(each.value for each in (*app.text, *app.caption)))
            assert bool(app.get("vega_lite_chart")) is not (lens is None)
    assert "python -m strata fit-lens" in told[0]
    assert "over 2 texts" in told[1]
    assert "over 1 text." in told[2]
    assert "J was fitted on 1 text" in told[3]
    with LocalEngine(Settings()) as engine:  # as lessons ask, without a page
        job = Job(view="jacobian_lens.about", model="small")
        assert engine.run(job)["n_texts"].tolist() == [1]
        fit_lenses(model)
        assert not engine.knows(job)
        assert engine.run(job)["n_texts"].tolist() == [2]
        assert engine.knows(job)


def test_a_family_without_heads_is_told_so_in_a_sentence(small: None) -> None:
    for view in ("Who reads whom", "The sink", "Who wrote it", "Change a head"):
        arguments = (str(PAGES / "heads.py"), PROMPT, {"view": view}, "scan")
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert not app.exception, app.exception[0].message
        told = [each.value for each in app.text if "this mamba model" in each.value]
        assert len(told) == 1, (view, told)
        assert told[0].endswith(("all other pages work.", "parts are.")), told
        assert "blocks that have" not in told[0]
        assert told[0].startswith(("No block of", "There are no attention heads in")), told
        assert not app.get("vega_lite_chart")
        assert "Link" in [block.proto.popover.label for block in app.get("popover")], "no foot"


def test_heads_that_do_not_add_up_are_read_and_changed_all_the_same(small: None) -> None:
    for view, told in (("Who reads whom", ""), ("Who wrote it", "add up"), ("Change a head", "")):
        arguments = (str(PAGES / "heads.py"), PROMPT, {"view": view}, "mixed")
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert not app.exception, app.exception[0].message
        assert bool(app.get("vega_lite_chart")) is not bool(told)
        said = " ".join(each.value for each in app.text)
        assert told in said
        assert "By its own write alone" not in said


def test_a_block_without_weights_says_which_have_them(small: None) -> None:
    own = {"which": "own", "block": 0, "head": 1}
    written = ("Who wrote it", {})
    for view, chosen in (
        ("Who reads whom", own),
        ("Who reads whom", {}),
        ("The sink", own),
        written,
    ):
        arguments = (str(PAGES / "heads.py"), PROMPT, {"view": view, **chosen}, "linear")
        app = AppTest.from_function(page, args=arguments, default_timeout=60).run()
        assert not app.exception, app.exception[0].message
        told = view == "Who reads whom" and bool(chosen)
        assert bool(app.get("vega_lite_chart")) is not told
        texts = " ".join(each.value for each in app.text)
        assert ("Block 0 mixes its tokens without" in texts) is told
        assert ("Blocks 1 and 3 have them: choose one of them." in texts) is told
    assert "All 8 heads that weigh tokens together add" in texts
    assert "Left out are the heads of blocks 0 and 2, which weigh no tokens." in texts


def empty(chart: Any) -> bool:
    """Whether a chart has no rows, or none with a number."""
    rows = pa.ipc.open_stream(chart.datasets[0].data.data).read_pandas()
    numbers = [name for name in ("cosine", "value") if name in rows]
    return rows.empty or any(rows[name].isna().all() for name in numbers)


def test_a_map_of_some_factors_says_so_and_all_can_be_had(small: None) -> None:
    chosen = {"view": "Every factor", "few_factors": True}
    arguments = (str(PAGES / "scaling.py"), "the cat", chosen)
    app = AppTest.from_function(page, args=arguments, default_timeout=60).run()

    def factors() -> list[float]:
        drawn = app.get("vega_lite_chart")[-1].proto
        rows = pa.ipc.open_stream(drawn.datasets[0].data.data).read_pandas()
        return sorted(set(rows["factor"]))

    assert factors() == [0, 1, 2]
    assert "3 of 9 factors" in app.get("vega_lite_chart")[-1].proto.spec
    app.button(key="all_factors").click().run()
    assert len(factors()) == 9
    assert "of 9 factors" not in app.get("vega_lite_chart")[-1].proto.spec
    assert not app.exception
