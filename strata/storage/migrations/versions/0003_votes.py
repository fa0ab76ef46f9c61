"""Votes, and what the teacher pushes to a class."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "votes",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("class_id", sa.String(12), sa.ForeignKey("classes.id"), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_votes_class_id", "votes", ["class_id"])
    op.create_index("ix_events_lesson", "events", ["lesson"])
    with op.batch_alter_table("classes") as classes:
        classes.add_column(sa.Column("limits", sa.Text(), nullable=False, server_default="{}"))
        classes.add_column(sa.Column("call", sa.Text(), nullable=False, server_default=""))
        classes.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
