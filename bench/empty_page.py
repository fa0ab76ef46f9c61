"""What `bench.first_guess` compares with: a Streamlit page of one line, and nothing of Strata."""

import streamlit as st

st.text("Here I am.")
