"""What `streamlit run app.py` serves."""

import os

# A learner's laptop has other things to do than to spin: read by OpenMP when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import streamlit as st

from strata.ui.server.start import lifespan, middleware, routes

app = st.App("strata/ui/frame.py", lifespan=lifespan, routes=routes, middleware=middleware)
