"""The one database, its tables and migrations, prompts, what waits while it is away, secrets.

Imports the nouns and `runtime`.
"""
