"""Whether a class takes learners who are not in it yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("classes") as classes:
        # A plain number: of true, SQLite would make the table anew, which its members hinder.
        classes.add_column(sa.Column("joining", sa.Boolean(), nullable=False, server_default="1"))
