from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from dashboard.samples.report import read_report, rendered
from dashboard.storage.models import RunState
from tests.rows import make_run
from tests.sinks import Sink, run

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
OLD, NEW = NOW - timedelta(hours=30), NOW - timedelta(hours=1)
EVIL = "<script>alert('x')</script> & \"co\""


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.seen.append(tag)


def add_history(database: Database) -> None:
    with database.write() as session:
        session.add_all(
            [
                make_run(1, "old", queued_at=OLD, state=RunState.FAILED, duration=900.0),
                make_run(2, "a", queued_at=NEW, duration=5.0),
                make_run(3, "a", queued_at=NEW, duration=50.0),
                make_run(4, "b", queued_at=NEW, state=RunState.FAILED, error_message="first"),
                make_run(
                    5,
                    "b",
                    queued_at=NEW,
                    job_name=EVIL,
                    state=RunState.FAILED,
                    error_type="ValueError",
                    error_message=f"{EVIL}\n{'x' * 500}",
                ),
                make_run(6, "c", queued_at=NEW, state=RunState.INTERRUPTED, reason="killed"),
                make_run(7, "c", queued_at=NEW, state=RunState.MISSED),
                make_run(8, "c", queued_at=NEW, state=RunState.RUNNING),
            ]
        )


def test_the_history_of_the_last_hours_is_read(database: Database) -> None:
    add_history(database)
    with database.read() as session:
        report = read_report(session, NOW - timedelta(hours=24), NOW)
        assert read_report(session, NOW, NOW).runs == 0
    assert report.counts == {
        "running": 1,
        "succeeded": 2,
        "failed": 2,
        "missed": 1,
        "interrupted": 1,
    }
    assert report.runs == 7
    assert (report.slowest[0].run_id, report.slowest[0].seconds) == (3, 50.0)
    assert [(job.job, job.failures, job.run_id) for job in report.failing] == [
        (EVIL, 2, 5),
        ("c", 1, 6),
    ]
    assert report.failing[0].error.startswith("ValueError: <script>")
    assert len(report.failing[0].error) == 200
    assert report.failing[1].error == "killed"


def test_the_page_escapes_what_comes_from_outside(database: Database) -> None:
    add_history(database)
    with database.read() as session:
        report = read_report(session, NOW - timedelta(hours=24), NOW)
    page, text = rendered(report, "html"), rendered(report, "txt")
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in page
    assert EVIL in text
    assert "7 runs from " in text


def test_the_task_writes_both_files_and_keeps_the_newest(
    settings: Settings, database: Database, sink: Sink
) -> None:
    add_history(database)
    folder = settings.data / "reports"
    folder.mkdir()
    for name in ("report-20200101-000000.html", "report-20200101-000000.txt", "mine.txt"):
        (folder / name).touch()
    outcome = run("dashboard.report", {"hours": 24, "keep": 1}, settings=settings, sink=sink)
    assert outcome.state == "succeeded", outcome.traceback
    assert outcome.result is not None
    assert '"runs": 7' in outcome.result
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 3
    assert not any("2020" in name for name in names)
    assert sink.texts()[0].startswith("7 runs from ")
    assert sink.steps() == [("Read the history", "succeeded"), ("Write the files", "succeeded")]


@pytest.mark.usefixtures("database")
def test_an_empty_history_gives_a_report_too(settings: Settings) -> None:
    outcome = run("dashboard.report", settings=settings)
    assert outcome.state == "succeeded", outcome.traceback
    [page] = (settings.data / "reports").glob("*.html")
    assert "No job failed." in page.read_text()


@pytest.mark.usefixtures("database")
def test_a_report_is_never_seen_half_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    outcome = run("dashboard.report", settings=settings)
    assert (outcome.state, outcome.error_type) == ("failed", "OSError")
    assert list((settings.data / "reports").iterdir()) == []
