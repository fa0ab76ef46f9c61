"""The script that Streamlit runs for every page: navigation, sidebar, then the page itself.

It has no `pages/` folder beside it, so Streamlit cannot run a page without it.
"""

from pathlib import Path

import streamlit as st

from strata.errors import StrataError
from strata.ui import sidebar, style
from strata.views import concepts

ROOT = Path(__file__).parents[2]


def start() -> None:
    """The bare address opens the first concept, keeping what the rest of the address asks for."""
    st.switch_page(pages[0], query_params=st.query_params.to_dict())


pages = [
    st.Page(
        ROOT / "pages" / f"{stem}.py",
        title=module.CONCEPT.title,
        icon=module.CONCEPT.icon,
        url_path=stem,
    )
    for stem, module in concepts().items()
]
style.apply()
# A default page would be found at the bare address only, not under its own name.
root = st.Page(start, title="Strata", default=True, visibility="hidden")
navigation = st.navigation({"": [root], "Concepts": pages})
try:
    if navigation != root:
        with st.sidebar:
            st.session_state["choice"] = sidebar.choose()
    navigation.run()
except StrataError as error:  # a page ends where its model or prompt is refused
    style.say("refusal", str(error))
