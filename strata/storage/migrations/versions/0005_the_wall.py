"""What a class has on its wall: a timer, names that are not shown, words that were hidden."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("classes") as classes:
        classes.add_column(
            sa.Column("names_hidden", sa.Boolean(), nullable=False, server_default="0")
        )
        classes.add_column(sa.Column("timer", sa.DateTime(timezone=True)))
    with op.batch_alter_table("votes") as votes:
        votes.add_column(sa.Column("hidden", sa.Text(), nullable=False, server_default="[]"))
