"""Before and beside the pages: start-up, the door, sockets, turns, who is learning, the engine.

Imports no other room of `strata.ui`, so it can be up before any page is.
"""
