"""What `bench.presses` serves: this very file is the page as well."""

import sys
import time

import streamlit as st


def _press() -> None:
    st.session_state["presses"] = st.session_state.get("presses", 0) + 1


def _page() -> None:
    st.button("Press", key="press", on_click=_press)
    st.slider("Move", 0, 100, key="move")
    for row in range(20):  # about as many elements, and as long, as a page of Strata
        st.text(f"row {row}")
        time.sleep(0.002)
    st.button("Heard", key=f"heard_{st.session_state.get('presses', 0)}")


if __name__ == "__main__":  # as Streamlit runs a page
    _page()
else:
    from strata.ui.server import throughput

    throughput.mend()
    app = st.App(sys.modules[__name__].__file__ or "")
