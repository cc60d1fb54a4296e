"""first tables."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from dashboard.storage.models import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = UtcDateTime(timezone=True)


def upgrade() -> None:
    """Apply it."""
    _job()
    _run()
    _run_log()
    _run_step()
    _job_health()
    _run_stats()
    _error_group()
    _error_hour()
    _error_job()
    _audit()
    _alert_rule()
    _alert_problem()
    _alert_delivery()
    _user()
    _sign_in()
    _sign_in_failure()
    _api_token()
    _kept_answer()
    _lease()
    _process()
    _scheduler_life()
    _revision()
    _bulk()
    _saved_view()


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=191), nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("task", sa.String(length=191), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("trigger", sa.JSON(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("executor", sa.String(length=32), nullable=False),
        sa.Column("coalesce", sa.Boolean(), nullable=False),
        sa.Column("max_instances", NUMBER, nullable=False),
        sa.Column("misfire_grace_time", NUMBER, nullable=True),
        sa.Column("slow_after", sa.Float(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=True),
        sa.Column("retries", NUMBER, nullable=False),
        sa.Column("retry_wait", NUMBER, nullable=False),
        sa.Column("max_runs", NUMBER, nullable=True),
        sa.Column("runs_counted", NUMBER, nullable=False),
        sa.Column("stop_on_success", sa.Boolean(), nullable=False),
        sa.Column("stop_on_failure", sa.Boolean(), nullable=False),
        sa.Column("end_at", MOMENT, nullable=True),
        sa.Column("next_run_time", MOMENT, nullable=True),
        sa.Column("paused_at", MOMENT, nullable=True),
        sa.Column("paused_by", sa.String(length=191), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("resume_at", MOMENT, nullable=True),
        sa.Column("broken_reason", sa.Text(), nullable=True),
        sa.Column("finished_reason", sa.Text(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=191), nullable=False),
        sa.Column("runbook", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=191), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("updated_by", sa.String(length=191), nullable=False),
        sa.Column("version", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_broken",
            ["name", "id"],
            unique=False,
            sqlite_where=sa.text("broken_reason IS NOT NULL"),
            postgresql_where=sa.text("broken_reason IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_job_due",
            ["next_run_time"],
            unique=False,
            sqlite_where=sa.text("paused_at IS NULL AND broken_reason IS NULL"),
            postgresql_where=sa.text("paused_at IS NULL AND broken_reason IS NULL"),
        )
        batch_op.create_index("ix_job_name", ["name", "id"], unique=False)
        batch_op.create_index(
            "ix_job_paused",
            ["paused_at"],
            unique=False,
            sqlite_where=sa.text("paused_at IS NOT NULL"),
            postgresql_where=sa.text("paused_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_job_resume",
            ["resume_at"],
            unique=False,
            sqlite_where=sa.text("resume_at IS NOT NULL"),
            postgresql_where=sa.text("resume_at IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_job_task"), ["task"], unique=False)


def _run() -> None:
    op.create_table(
        "run",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=191), nullable=False),
        sa.Column("job_name", sa.String(length=191), nullable=False),
        sa.Column("task", sa.String(length=191), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("scheduled_at", MOMENT, nullable=False),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column(
            "origin",
            sa.Enum(
                "schedule",
                "manual",
                "retry",
                "backfill",
                name="origin",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("requested_by", sa.String(length=191), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "missed",
                "skipped",
                "interrupted",
                "cancelled",
                name="runstate",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("coalesced", NUMBER, nullable=False),
        sa.Column("coalesced_since", MOMENT, nullable=True),
        sa.Column("coalesced_times", sa.JSON(), nullable=True),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("duration", sa.Float(), nullable=True),
        sa.Column("not_before", MOMENT, nullable=True),
        sa.Column("ready_at", MOMENT, nullable=True),
        sa.Column("executor", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("process", sa.String(length=64), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("log_dropped", NUMBER, nullable=False),
        sa.Column("cancel_asked_at", MOMENT, nullable=True),
        sa.Column("cancel_asked_by", sa.String(length=191), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "scheduled_at", "attempt", name="uq_run_fire_time"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(
            "ix_run_active",
            ["state", "job_id", "id"],
            unique=False,
            sqlite_where=sa.text("state IN ('queued', 'running')"),
            postgresql_where=sa.text("state IN ('queued', 'running')"),
        )
        batch_op.create_index(
            "ix_run_cancel",
            ["process"],
            unique=False,
            sqlite_where=sa.text("state = 'running' AND cancel_asked_at IS NOT NULL"),
            postgresql_where=sa.text("state = 'running' AND cancel_asked_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_run_fingerprint",
            ["fingerprint", "id"],
            unique=False,
            sqlite_where=sa.text("fingerprint IS NOT NULL"),
            postgresql_where=sa.text("fingerprint IS NOT NULL"),
        )
        batch_op.create_index("ix_run_job", ["job_id", "id"], unique=False)
        batch_op.create_index(
            "ix_run_queue",
            ["state", "executor", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'queued' AND not_before IS NULL"),
            postgresql_where=sa.text("state = 'queued' AND not_before IS NULL"),
        )
        batch_op.create_index(
            "ix_run_sent",
            ["executor", "sent_at"],
            unique=False,
            sqlite_where=sa.text("state = 'queued' AND sent_at IS NOT NULL"),
            postgresql_where=sa.text("state = 'queued' AND sent_at IS NOT NULL"),
        )
        batch_op.create_index("ix_run_state", ["state", "id"], unique=False)
        batch_op.create_index(
            "ix_run_waiting",
            ["not_before"],
            unique=False,
            sqlite_where=sa.text("state = 'queued' AND not_before IS NOT NULL"),
            postgresql_where=sa.text("state = 'queued' AND not_before IS NOT NULL"),
        )


def _run_log() -> None:
    op.create_table(
        "run_log",
        sa.Column("run_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("seq", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("logger", sa.String(length=191), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq"),
    )


def _run_step() -> None:
    op.create_table(
        "run_step",
        sa.Column("run_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("index", NUMBER, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "missed",
                "skipped",
                "interrupted",
                "cancelled",
                name="runstate",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "index"),
    )


def _job_health() -> None:
    op.create_table(
        "job_health",
        sa.Column("job_id", sa.String(length=191), nullable=False),
        sa.Column("last_run_id", NUMBER, nullable=True),
        sa.Column(
            "last_state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "missed",
                "skipped",
                "interrupted",
                "cancelled",
                name="runstate",
                native_enum=False,
                length=16,
            ),
            nullable=True,
        ),
        sa.Column("last_finished_at", MOMENT, nullable=True),
        sa.Column("last_success_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("consecutive_failures", NUMBER, nullable=False),
        sa.Column("failure_run_id", NUMBER, nullable=True),
        sa.Column(
            "failure_state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "failed",
                "missed",
                "skipped",
                "interrupted",
                "cancelled",
                name="runstate",
                native_enum=False,
                length=16,
            ),
            nullable=True,
        ),
        sa.Column("failure_kind", sa.String(length=64), nullable=True),
        sa.Column(
            "silence",
            sa.Enum("acknowledged", "snoozed", name="silence", native_enum=False, length=16),
            nullable=True,
        ),
        sa.Column("silenced_at", MOMENT, nullable=True),
        sa.Column("silenced_by", sa.String(length=191), nullable=True),
        sa.Column("silenced_until", MOMENT, nullable=True),
        sa.Column("silence_reason", sa.Text(), nullable=True),
        sa.Column("silenced_failure", sa.String(length=64), nullable=True),
        sa.Column("recent", sa.JSON(), nullable=False),
        sa.Column("usual_duration", sa.Float(), nullable=True),
        sa.Column("long_duration", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
    )
    with op.batch_alter_table("job_health", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_health_failing",
            ["failing_since"],
            unique=False,
            sqlite_where=sa.text("failing_since IS NOT NULL"),
            postgresql_where=sa.text("failing_since IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_job_health_missed",
            ["last_finished_at"],
            unique=False,
            sqlite_where=sa.text("last_state = 'missed'"),
            postgresql_where=sa.text("last_state = 'missed'"),
        )
        batch_op.create_index(
            "ix_job_health_silence",
            ["silenced_at"],
            unique=False,
            sqlite_where=sa.text("silence IS NOT NULL"),
            postgresql_where=sa.text("silence IS NOT NULL"),
        )
        batch_op.create_index(
            batch_op.f("ix_job_health_last_finished_at"), ["last_finished_at"], unique=False
        )


def _run_stats() -> None:
    op.create_table(
        "run_stats",
        sa.Column("job_id", sa.String(length=191), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("succeeded", NUMBER, nullable=False),
        sa.Column("failed", NUMBER, nullable=False),
        sa.Column("missed", NUMBER, nullable=False),
        sa.Column("skipped", NUMBER, nullable=False),
        sa.Column("interrupted", NUMBER, nullable=False),
        sa.Column("cancelled", NUMBER, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("started", NUMBER, nullable=False),
        sa.Column("delay", sa.Float(), nullable=False),
        *(sa.Column(f"took_{number:02}", NUMBER, nullable=False) for number in range(21)),
        sa.PrimaryKeyConstraint("job_id", "hour"),
    )
    with op.batch_alter_table("run_stats", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_stats_hour"), ["hour"], unique=False)


def _error_group() -> None:
    op.create_table(
        "error_group",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.Column("jobs", NUMBER, nullable=False),
        sa.Column("last_run_id", NUMBER, nullable=False),
        sa.Column("last_job_id", sa.String(length=191), nullable=False),
        sa.Column(
            "mark",
            sa.Enum("acknowledged", "ignored", name="errormark", native_enum=False, length=16),
            nullable=True,
        ),
        sa.Column("marked_at", MOMENT, nullable=True),
        sa.Column("marked_by", sa.String(length=191), nullable=True),
        sa.Column("mark_reason", sa.Text(), nullable=True),
        sa.Column("until_at", MOMENT, nullable=True),
        sa.Column("until_count", NUMBER, nullable=True),
        sa.Column("until_rate", NUMBER, nullable=True),
        sa.Column("regressed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    with op.batch_alter_table("error_group", schema=None) as batch_op:
        for name, column in (
            ("count", "count"),
            ("first", "first_seen_at"),
            ("last", "last_seen_at"),
        ):
            batch_op.create_index(f"ix_error_group_{name}", [column, "fingerprint"], unique=False)


def _error_hour() -> None:
    op.create_table(
        "error_hour",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "hour"),
    )
    with op.batch_alter_table("error_hour", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_error_hour_hour"), ["hour"], unique=False)


def _error_job() -> None:
    op.create_table(
        "error_job",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=191), nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("last_run_id", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "job_id"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String(length=191), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=191), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index("ix_audit_action", ["action", "id"], unique=False)
        batch_op.create_index("ix_audit_actor", ["actor", "id"], unique=False)
        batch_op.create_index("ix_audit_at", ["at"], unique=False)
        batch_op.create_index("ix_audit_outcome", ["outcome", "id"], unique=False)
        batch_op.create_index("ix_audit_target", ["target", "id"], unique=False)


def _words(name: str, *words: str) -> sa.Enum:
    """Return the type of a column that holds one of these words."""
    return sa.Enum(*words, name=name, native_enum=False, length=16)


def _alert_rule() -> None:
    kinds = ("failing", "failure_rate", "overdue", "slow", "broken", "scheduler_down")
    op.create_table(
        "alert_rule",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("on", _words("alertkind", *kinds), nullable=False),
        sa.Column("after", NUMBER, nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("window_seconds", sa.Float(), nullable=True),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("notify_recovery", sa.Boolean(), nullable=False),
        sa.Column("remind_every_seconds", sa.Float(), nullable=True),
        sa.Column("settle_seconds", sa.Float(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=191), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("updated_by", sa.String(length=191), nullable=False),
        sa.Column("version", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _alert_problem() -> None:
    op.create_table(
        "alert_problem",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("rule_id", NUMBER, nullable=False),
        sa.Column("job_id", sa.String(length=191), nullable=False),
        sa.Column("job_name", sa.String(length=191), nullable=False),
        sa.Column("run_id", NUMBER, nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("flapping", sa.Boolean(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("told_at", MOMENT, nullable=False),
        sa.Column("well_since", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("alert_problem", schema=None) as batch_op:
        batch_op.create_index("ix_alert_problem_closed", ["closed_at"], unique=False)
        batch_op.create_index("ix_alert_problem_job", ["rule_id", "job_id", "id"], unique=False)
        batch_op.create_index(
            "ix_alert_problem_open",
            ["rule_id", "job_id"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )


def _alert_delivery() -> None:
    events = ("problem", "recovered", "reminder", "test")
    states = ("waiting", "claimed", "sending", "sent", "failed", "unknown")
    op.create_table(
        "alert_delivery",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("rule_id", NUMBER, nullable=False),
        sa.Column("problem_id", NUMBER, nullable=True),
        sa.Column("event", _words("alertevent", *events), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", _words("deliverystate", *states), nullable=False),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_try_at", MOMENT, nullable=False),
        sa.Column("process", sa.String(length=64), nullable=True),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("alert_delivery", schema=None) as batch_op:
        batch_op.create_index("ix_alert_delivery_ended", ["ended_at"], unique=False)
        batch_op.create_index("ix_alert_delivery_problem", ["problem_id", "id"], unique=False)
        batch_op.create_index(
            "ix_alert_delivery_unsent",
            ["next_try_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('waiting', 'claimed', 'sending')"),
            postgresql_where=sa.text("state IN ('waiting', 'claimed', 'sending')"),
        )


def _user() -> None:
    op.create_table(
        "user",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("viewer", "operator", "admin", name="role", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("theme", sa.String(length=8), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _sign_in() -> None:
    op.create_table(
        "sign_in",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", NUMBER, nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("remembered", sa.Boolean(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_until"), ["until"], unique=False)
        batch_op.create_index(batch_op.f("ix_sign_in_user_id"), ["user_id"], unique=False)


def _sign_in_failure() -> None:
    op.create_table(
        "sign_in_failure",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("sign_in_failure", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_failure_at"), ["at"], unique=False)
        batch_op.create_index("ix_sign_in_failure_address", ["address", "account"], unique=False)


def _api_token() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column(
            "role",
            sa.Enum("viewer", "operator", "admin", name="role", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=191), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("revoked_by", sa.String(length=191), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    with op.batch_alter_table("api_token", schema=None) as batch_op:
        batch_op.create_index(
            "uq_api_token_name",
            ["name"],
            unique=True,
            sqlite_where=sa.text("revoked_at IS NULL"),
            postgresql_where=sa.text("revoked_at IS NULL"),
        )


def _kept_answer() -> None:
    op.create_table(
        "kept_answer",
        sa.Column("token_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("status", NUMBER, nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "key"),
    )
    with op.batch_alter_table("kept_answer", schema=None) as batch_op:
        batch_op.create_index("ix_kept_answer_at", ["at"], unique=False)


def _lease() -> None:
    table = op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("machine", sa.String(length=255), nullable=False),
        sa.Column("pid", NUMBER, nullable=False),
        sa.Column("pid_started", sa.Float(), nullable=False),
        sa.Column("renewed_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    # The one row it ever has.
    nobody = {"name": "scheduler", "holder": "", "machine": "", "pid": 0, "pid_started": 0.0}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    op.bulk_insert(table, [nobody | {"renewed_at": epoch, "until": epoch}])


def _process() -> None:
    op.create_table(
        "process",
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("dashboard", "worker", name="processkind", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("machine", sa.String(length=255), nullable=False),
        sa.Column("pid", NUMBER, nullable=False),
        sa.Column("pid_started", sa.Float(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("executors", sa.JSON(), nullable=False),
        sa.Column("places", NUMBER, nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("process"),
    )


def _scheduler_life() -> None:
    op.create_table(
        "scheduler_life",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", NUMBER, nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("ended", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def _revision() -> None:
    table = op.create_table(
        "revision",
        sa.Column("id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    # The one row it ever has.
    op.bulk_insert(table, [{"id": 1, "number": 0}])


def _bulk() -> None:
    op.create_table(
        "bulk",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(length=191), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("search", sa.Text(), nullable=True),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("tag", sa.String(length=191), nullable=True),
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("refused", NUMBER, nullable=False),
        sa.Column("why_refused", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _saved_view() -> None:
    op.create_table(
        "saved_view",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(length=191), nullable=False),
        sa.Column("screen", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("owner", "screen", "name", name="uq_saved_view_name"),
    )
