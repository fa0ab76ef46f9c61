"""How things are shown and taken away: tokens made safe, terms explained, tables as files.

Imports no other room: whoever shows something may import it.
"""
