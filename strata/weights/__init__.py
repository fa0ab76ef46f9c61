"""Which models there are, where their files come from, and whether one fits in memory.

Imports the nouns and `runtime`: it knows files, not what is computed with them.
"""
