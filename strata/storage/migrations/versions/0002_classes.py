"""Classes, their members, and the browsers that have entered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("code", sa.String(12), nullable=False, unique=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lessons", sa.Text(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("opens", sa.DateTime(timezone=True)),
        sa.Column("closes", sa.DateTime(timezone=True)),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("class_id", sa.String(12), sa.ForeignKey("classes.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("resume", sa.String(64), nullable=False, unique=True),
        sa.Column("joined", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_members_class_id", "members", ["class_id"])
    op.create_table(
        "seats",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("member", sa.String(12), nullable=False, index=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    )
    with op.batch_alter_table("prompts") as prompts:
        for name in ("owner", "class_id"):
            prompts.add_column(sa.Column(name, sa.String(12), nullable=False, server_default=""))
            prompts.create_index(f"ix_prompts_{name}", [name])
