"""The jobs of `--demo`: what a small operations team might have, made of the shipped tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def sample_jobs() -> list[dict[str, Any]]:
    """Return jobs in their JSON form, new ones at each call.

    Two keys are no part of that form: `paused` is the reason of a job to be paused,
    `history: False` marks one that cannot have had runs before.
    """
    return [
        *_housekeeping(),
        *_outside(),
        *_shop(),
        *_billing(),
        *_special(datetime.now(UTC)),
    ]


def _housekeeping() -> list[dict[str, Any]]:
    return [
        {
            "id": "disk-and-memory",
            "name": "Disk and memory",
            "task": "system.disk_and_memory",
            "parameters": {"max_disk_percent": 95, "max_memory_percent": 97},
            "trigger": {"type": "interval", "minutes": 1},
            "tags": ["ops", "host"],
            "notes": "Fails when the machine fills up. Free space first, then ask for more.",
        },
        {
            "id": "backup",
            "name": "Back up the dashboard",
            "task": "dashboard.backup",
            "parameters": {"keep": 7},
            "trigger": {"type": "cron", "hour": 2, "minute": 30},
            "tags": ["ops", "nightly"],
            "notes": "The copies are in the folder backups of the data folder.",
        },
        {
            "id": "prune",
            "name": "Forget old runs",
            "task": "dashboard.prune",
            "parameters": {},
            "trigger": {"type": "cron", "hour": 3, "minute": 15},
            "tags": ["ops", "nightly"],
            "notes": "How long runs are kept is a setting: DASHBOARD_RETENTION_DAYS.",
        },
        {
            "id": "report",
            "name": "Hourly report",
            "task": "dashboard.report",
            "parameters": {"hours": 24},
            "trigger": {"type": "cron", "minute": 5},
            "tags": ["ops", "report"],
            "notes": "The reports are in the folder reports of the data folder.",
        },
    ]


def _outside() -> list[dict[str, Any]]:
    return [
        {
            "id": "payment-gateway",
            "name": "Payment gateway answers",
            "task": "http.check",
            "parameters": {"url": "http://127.0.0.1:9/sample-that-fails", "timeout": 2},
            "trigger": {"type": "interval", "minutes": 5},
            "tags": ["billing", "monitoring"],
            "notes": "A sample that fails: nothing listens there. See how a failing job looks.",
        },
        {
            "id": "exchange-rates",
            "name": "Fetch exchange rates",
            "task": "demo.unsteady",
            "parameters": {
                "fail_probability": 0.1,
                "seconds": 2,
                "message": "the bank's server did not answer in time",
            },
            "trigger": {"type": "interval", "minutes": 2, "jitter": 5},
            "tags": ["billing"],
            "notes": "A single failure is nothing; three in a row: call the bank.",
        },
    ]


def _shop() -> list[dict[str, Any]]:
    return [
        {
            "id": "order-import",
            "name": "Import orders",
            "task": "demo.import",
            "parameters": {"rows": 5000, "seconds": 90},
            "trigger": {"type": "interval", "minutes": 10},
            "tags": ["shop"],
            "notes": "Takes a minute and a half: watch its steps, progress and log.",
        },
    ]


def _billing() -> list[dict[str, Any]]:
    return [
        {
            "id": "invoice-mails",
            "name": "Mail invoices",
            "task": "demo.unsteady",
            "parameters": {
                "fail_probability": 0.05,
                "seconds": 8,
                "message": "450 mailbox temporarily unavailable",
            },
            "trigger": {
                "type": "cron",
                "crontab": "*/15 8-18 * * mon-fri",
                "timezone": "Europe/Berlin",
            },
            "tags": ["billing", "mail"],
            "notes": "In working hours only, by the clock of the office.",
        },
        {
            "id": "statements",
            "name": "Monthly statements",
            "task": "demo.import",
            "parameters": {"rows": 20000, "seconds": 240, "faulty_rows": 0},
            "trigger": {
                "type": "calendarinterval",
                "months": 1,
                "hour": 6,
                "timezone": "Europe/Berlin",
            },
            "tags": ["billing", "monthly"],
            "notes": "",
        },
    ]


def _special(now: datetime) -> list[dict[str, Any]]:
    move = (now + timedelta(days=10)).replace(hour=22, minute=0, second=0, microsecond=0)
    return [
        {
            "id": "verification",
            "name": "Verification pipeline",
            "task": "verification.pipeline",
            "parameters": {"steps": _verification_steps()},
            "trigger": {"type": "interval", "seconds": 58},
            "tags": ["release"],
            "notes": "Verifies one step after another and finishes itself; a failure pauses it.",
            "history": False,
        },
        {
            "id": "data-centre-move",
            "name": "Freeze imports for the data centre move",
            "task": "demo.unsteady",
            "parameters": {"fail_probability": 0},
            "trigger": {"type": "date", "run_date": move.isoformat()},
            "tags": ["ops"],
            "notes": "Fires once.",
            "history": False,
        },
        {
            "id": "legacy-export",
            "name": "Export to the old warehouse",
            "task": "demo.import",
            "parameters": {"rows": 800, "seconds": 20},
            "trigger": {"type": "cron", "crontab": "@weekly"},
            "tags": ["shop", "legacy"],
            "notes": "Remove it when the audit is over.",
            "paused": "The old warehouse is switched off; kept until the audit is over.",
        },
    ]


def _verification_steps() -> list[dict[str, Any]]:
    """Return steps that succeed on every machine the dashboard runs on."""
    return [
        {"kind": "disk", "path": "/", "min_free_percent": 1, "name": "The system disk has room"},
        {"kind": "disk", "path": ".", "min_free_percent": 1, "name": "The data disk has room"},
        {"kind": "file", "path": ".", "name": "The data folder is there"},
        {"kind": "file", "path": "/etc/hosts", "min_bytes": 1, "name": "Host names are set up"},
    ]
