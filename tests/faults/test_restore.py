"""A backup made under load is a whole dashboard: one starts on it, and everything is there."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from click.testing import CliRunner
from sqlalchemy import select

from dashboard.cli import cli
from dashboard.storage.models import Audit, Job, RunState, User
from tests.factories import wait_until
from tests.faults.dashboards import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERY_SECOND = {"type": "interval", "seconds": 1, "start_date": "2026-01-01T00:00:00+00:00"}


def test_a_dashboard_goes_on_from_a_backup_made_under_load(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    place = make_place()
    for number in range(5):
        place.add_job(f"tick-{number}", trigger=EVERY_SECOND, next_run_time=datetime.now(UTC))
    place.add_job("slow", parameters={"seconds": 60})
    process = place.start()
    slow = place.ask("slow", parameters={"seconds": 60})[0]
    place.ask("slow", first=1, count=500)
    wait_until(lambda: place.state(slow) == "running")
    before = len(place.runs())
    target = tmp_path / "backup.sqlite"
    made = CliRunner().invoke(cli, ["backup", str(target), "--data", str(place.settings.data)])
    assert made.exit_code == 0, made.output
    process.kill()

    (tmp_path / "restored" / "data").mkdir(parents=True)
    shutil.copy(target, tmp_path / "restored" / "data" / "dashboard.sqlite")
    restored = Place.make(tmp_path / "restored")
    kept = {run.id for run in restored.runs()}
    assert before <= len(kept)
    assert kept <= {run.id for run in place.runs()}
    for table in (Job, User, Audit):
        assert rows(restored, table) == rows(place, table)
    assert rows(restored, User)

    again = restored.start()
    wait_until(lambda: restored.state(slow) == RunState.INTERRUPTED)
    wait_until(lambda: {run.job_id for run in restored.runs() if run.id > max(kept)})
    checked = CliRunner().invoke(cli, ["doctor", "--data", str(restored.settings.data)])
    again.kill()
    restored.database.close()
    assert checked.exit_code == 0, checked.output
    assert " leads; its heartbeat is" in checked.output


def rows(place: Place, table: type[Job | User | Audit]) -> list[str | int]:
    with place.database.read() as session:
        return list(session.scalars(select(table.id).order_by(table.id)))
