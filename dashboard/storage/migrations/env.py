"""Alembic's entry: run on the connection that `dashboard.storage.migrate` opened, and no other."""

from __future__ import annotations

from alembic import context

from dashboard.storage.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
