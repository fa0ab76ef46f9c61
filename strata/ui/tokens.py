"""The prompt as a strip of buttons, one a token, tinted by a quantity. Choosing one sets a slider."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
import streamlit as st

_CSS = """
.strip { display: flex; flex-wrap: wrap; gap: 4px 3px; font-family: var(--st-code-font); }
button {
  font: inherit; font-size: 15px; line-height: 1.5; padding: 2px 6px; cursor: pointer;
  color: var(--st-text-color); border: 1px solid transparent; border-radius: 5px;
  background: color-mix(in srgb, #d0761b calc(var(--level) * 78%), var(--st-secondary-background-color));
  white-space: pre; max-width: 100%; overflow: hidden; text-overflow: ellipsis;
}
button:hover { border-color: var(--st-text-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
button[aria-pressed="true"] { border-color: var(--st-primary-color); box-shadow: 0 0 0 2px var(--st-primary-color); }
.legend { display: flex; align-items: center; gap: 8px; margin-top: 8px; font: 12.5px var(--st-font);
  color: var(--st-text-color); opacity: .8; }
.ramp { width: 120px; height: 9px; border-radius: 4px; border: 1px solid var(--st-border-color);
  background: linear-gradient(to right, var(--st-secondary-background-color),
    color-mix(in srgb, #d0761b 78%, var(--st-secondary-background-color))); }
"""

# Tokens are hostile text: they only ever become text nodes and attribute values.
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".root");
  if (!root) {
    root = document.createElement("div");
    root.className = "root";
    parentElement.appendChild(root);
  }
  const strip = document.createElement("div");
  strip.className = "strip";
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", data.title);
  data.tokens.forEach((token, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = token.shown;
    button.title = token.tip;
    button.setAttribute("aria-label", token.tip);
    button.setAttribute("aria-pressed", String(position === data.chosen));
    button.style.setProperty("--level", token.level);
    button.onclick = () => setTriggerValue("chosen", position);
    strip.appendChild(button);
  });
  const legend = document.createElement("div");
  legend.className = "legend";
  const ramp = document.createElement("span");
  ramp.className = "ramp";
  legend.append(data.low, ramp, data.high);
  root.replaceChildren(strip, legend);
}
"""


@cache
def _component() -> Any:
    return st.components.v2.component("strata_tokens", css=_CSS, js=_JS)


def token_strip(
    frame: pd.DataFrame, chosen: int, *, title: str, low: str, high: str, slider: str
) -> None:
    """Tokens as buttons. Columns: shown, tip, level (0 to 1, how deep the tint is).

    A click moves the slider with the session-state key `slider` to the token's position.
    """

    def choose() -> None:
        position = st.session_state[key].chosen
        if isinstance(position, int) and 0 <= position < len(frame):
            st.session_state[slider] = position

    key = f"strip_{slider}"
    data = {
        "tokens": frame[["shown", "tip", "level"]].to_dict("records"),
        "chosen": int(chosen),
        "title": title,
        "low": low,
        "high": high,
    }
    _component()(key=key, data=data, on_chosen_change=choose)
