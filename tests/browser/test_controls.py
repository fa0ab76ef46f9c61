"""Every control does what it says, by mouse and by keyboard, and every download can be read."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.screen import (
    chart,
    charts,
    eventually_asks,
    idle,
    no_exception,
    popover,
    prompt_box,
    query,
    reading,
    said,
    settled,
    slider,
    token,
    visit,
)
from tests.scripts import output_of

POSITION = "Predict what follows the token at position"


def download(page: Page, button: Locator) -> tuple[str, bytes]:
    """The name and the content of the file behind a download button."""
    with page.expect_download() as started:
        button.click()
    return started.value.suggested_filename, Path(started.value.path()).read_bytes()


def read_csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""])


def read_parquet(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))


def test_a_token_is_chosen_by_mouse_and_by_keyboard(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    expect(token(page, 4)).to_have_attribute("aria-pressed", "true")
    expect(token(page, 1)).to_have_attribute(
        "title", re.compile(r"Position 1, ␣capital: surprisal")
    )

    token(page, 2).click()
    expect(reading(page)).to_contain_text("After “The capital of”")
    expect(slider(page, POSITION)).to_have_attribute("aria-valuetext", "2")
    expect(chart(page, "What may follow ␣of at position 2")).to_be_visible()
    expect(token(page, 2)).to_have_attribute("aria-pressed", "true")
    expect(token(page, 4)).to_have_attribute("aria-pressed", "false")
    eventually_asks(page, at="2")
    followed = page.get_by_text("“␣France” really follows: rank")
    expect(followed).to_be_visible()
    idle(page)

    token(page, 0).focus()
    page.keyboard.press("Enter")
    expect(reading(page)).to_contain_text("After “The”")
    expect(slider(page, POSITION)).to_have_attribute("aria-valuetext", "0")
    idle(page)

    slider(page, POSITION).focus()
    page.keyboard.press("ArrowRight")
    expect(reading(page)).to_contain_text("After “The capital”")
    expect(token(page, 1)).to_have_attribute("aria-pressed", "true")
    expect(chart(page, "What may follow ␣capital at position 1")).to_be_visible()
    no_exception(page)


def test_top_tokens_continuation_and_facts(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    bars = chart(page, "What may follow")
    numbers = bars.locator("svg text").filter(has_text=re.compile(r"^\d+\.\d%$"))
    expect(numbers).to_have_count(10)
    slider(page, "Top tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(numbers).to_have_count(20)
    eventually_asks(page, k="20")

    written = page.get_by_test_id("stCode").first
    expect(written).to_have_count(0)  # it is written only where somebody looks
    page.get_by_text("Let it go on").click()
    expect(written).to_contain_text("␣Paris.")
    length = slider(page, "Tokens to write")
    length.focus()
    page.keyboard.press("Home")
    expect(written).to_have_text("␣Paris")
    eventually_asks(page, more="1")

    idle(page)
    prompt_box(page).fill("The opposite of hot is")
    page.get_by_role("button", name="Look inside").click()
    expect(reading(page)).to_contain_text("hot is")
    expect(written).to_have_count(0)  # closed again: nobody asked for this one's
    page.get_by_text("Does it know anything?").click()
    table = page.get_by_test_id("stExpander").get_by_test_id("stDataFrame")
    expect(table).to_be_visible()
    idle(page)
    expect(said(page, "refusal")).to_have_count(0)
    no_exception(page)


def test_every_view_of_the_hidden_states_draws(page: Page, address: str) -> None:
    # The first view, which has a mark for each of 18,000 activations, is drawn once, at last.
    visit(page, f"{address}/hidden_states?view=All+tokens")

    def choose(view: str) -> None:
        page.get_by_role("tab", name=view).click()
        eventually_asks(page, view=view.replace(" ", "+"))

    heat = chart(page, "Norm of the hidden state")
    expect(heat.locator("svg")).to_contain_text("1 ␣capital")
    expect(heat.locator("svg")).not_to_contain_text("0 The")
    expect(reading(page)).to_contain_text("an attention sink")
    page.get_by_text("Show attention sinks too").click()
    expect(heat.locator("svg")).to_contain_text("0 The")
    eventually_asks(page, first="true")
    page.get_by_text("Show attention sinks too").click()
    expect(heat.locator("svg")).not_to_contain_text("0 The")

    choose("Outlier dimensions")
    bars = chart(page, "Dimensions with the largest").locator("svg")
    expect(bars.get_by_text(re.compile(r"^dim \d+, layer \d+, token"))).to_have_count(10)
    expect(bars).not_to_contain_text("token 0 The")
    page.get_by_text("Show attention sinks too").click()
    expect(bars).to_contain_text("token 0 The")
    slider(page, "Dimensions").focus()
    page.keyboard.press("Home")
    expect(bars.get_by_text(re.compile(r"^dim \d+, layer \d+, token"))).to_have_count(5)
    eventually_asks(page, n="5", with_first="true")

    choose("Final norm")
    expect(chart(page, "Norm of the last state").locator("svg")).to_contain_text("before")
    expect(reading(page)).to_contain_text("the cosine between the two is")

    choose("What came out")
    expect(page.get_by_text("What the run returned")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame")).to_have_count(3)
    expect(charts(page)).to_have_count(0)

    page.get_by_role("tab", name="One token").click()
    strip = chart(page, "Hidden-state activations of ␣is (position 4)")
    expect(strip).to_be_visible()
    expect(charts(page)).to_have_count(5)
    slider(page, "Token at position").focus()
    page.keyboard.press("Home")
    expect(chart(page, "Hidden-state activations of The (position 0)")).to_be_visible()
    settled(page)
    no_exception(page)


def test_tables_script_and_link_can_be_had(page: Page, address: str, tmp_path: Path) -> None:
    visit(page, f"{address}/predictions?k=5")
    body = popover(page, "Table")
    expect(body.get_by_test_id("stDataFrame")).to_have_count(2)
    expect(body).to_contain_text("next tokens · 5 rows")
    page.keyboard.press("Escape")
    body = popover(page, "Link")
    expect(body.locator("code")).to_have_text(page.url)
    assert query(page) == {"k": "5"}
    page.keyboard.press("Escape")
    the_script_prints_its_numbers(page, tmp_path)
    page.keyboard.press("Escape")
    body = popover(page, "Download")
    for name, read in (("CSV", read_csv), ("Parquet", read_parquet)):
        buttons = body.get_by_role("button", name=name, exact=True)
        file, content = download(page, buttons.nth(0))
        top = read(content)
        assert file == f"predictions_next_tokens.{name.lower()}"
        assert list(top.columns) == ["rank", "token_id", "predicted", "prob", "logprob"]
        assert len(top) == 5
        assert top["predicted"][0] == " Paris"
        assert top["prob"][0] == pytest.approx(0.773, abs=1e-3)
        file, content = download(page, buttons.nth(1))
        foreseen = read(content)
        assert file == f"predictions_surprisal.{name.lower()}"
        columns = ["position", "token", "logprob", "rank", "entropy", "surprisal"]
        assert list(foreseen.columns) == columns
        assert foreseen["token"].tolist() == ["The", " capital", " of", " France", " is"]
        assert foreseen["logprob"].isna().tolist() == [True, False, False, False, False]


def test_states_can_be_downloaded(page: Page, address: str) -> None:
    visit(page, f"{address}/hidden_states")
    body = popover(page, "Download")
    file, content = download(page, body.get_by_role("button", name="NPZ"))
    assert file == "hidden_states.npz"
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        hidden, attn, mlp = arrays["hidden"], arrays["attn"], arrays["mlp"]
        assert hidden.shape == (31, 5, 576)
        assert attn.shape == mlp.shape == (30, 5, 576)
        assert np.allclose(np.diff(hidden, axis=0), attn + mlp, atol=1e-5 * np.abs(hidden).max())
    file, content = download(page, body.get_by_role("button", name="CSV").nth(0))
    summary = read_csv(content)
    assert file == "hidden_states_summary.csv"
    expected = ["layer", "position", "token", "mean", "variance", "norm", "kurtosis"]
    assert list(summary.columns) == expected
    assert len(summary) == 31 * 5
    norms = summary.set_index(["layer", "position"])["norm"]
    assert norms[30, 4] == pytest.approx(np.linalg.norm(hidden[30, 4]), rel=1e-4)
    file, content = download(page, body.get_by_role("button", name="Parquet").nth(1))
    values = read_parquet(content)
    assert file == "hidden_states_activations.parquet"
    assert list(values.columns) == ["layer", "dim", "value"]
    assert np.array_equal(values["value"].to_numpy(np.float32), hidden[:, 4].ravel())


def the_script_prints_its_numbers(page: Page, folder: Path) -> None:
    body = popover(page, "Code")
    shown = body.get_by_test_id("stCode").locator("code").inner_text()
    name, content = download(page, body.get_by_role("button", name="Download script"))
    assert name == "predictions.py"
    assert content.decode().strip() == shown.replace("\xa0", " ").strip()
    assert "strata" not in re.sub(r"(# .*\n)*SOURCE = .*", "", shown)
    assert "python -m strata fetch smollm2-135m" in shown
    # In an interpreter of its own: concepts/predictions/test_predictions.py.
    assert re.search(r"prob 0\.77\d\d .*' Paris'\n", output_of(content.decode(), folder))
