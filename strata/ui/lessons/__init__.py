"""The lesson beside a figure: a step's words, the prediction, the measured answer, the list of all.

Of `strata.ui` it imports `server` and `anatomy`.
"""
