"""A page that asks for a file behind Strata's middleware, without any model."""

from __future__ import annotations

import sys

import streamlit as st

from strata.ui.server.start import middleware

if __name__ == "__main__":  # as Streamlit runs a page
    file = st.file_uploader("A file", key="file")
    st.text(f"Got {file.name}" if file else "No file yet")
else:
    app = st.App(sys.modules[__name__].__file__ or "", middleware=middleware)
