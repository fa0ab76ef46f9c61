"""Side-by-side measurements of Strata and the plain alternatives: `python -m bench`."""
