"""The teacher's pages and what a class sees of them: who is where, votes, gradebook, projector.

Of `strata.ui` it imports `server`, `anatomy` and `lessons`.
"""
