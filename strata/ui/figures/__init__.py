"""What the figures of single pages need beside the chart: their controls, clicks and second runs.

Of `strata.ui` it imports `server` and `anatomy`.
"""
