"""What every page has: sidebar, question, figure, reading, proof and the strip at the foot.

Of `strata.ui` it imports `server`.
"""
