"""How Alembic runs: on the connection that `strata.storage.database.upgrade` gives it."""

from alembic import context

from strata.storage.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
context.run_migrations()
