"""Nothing that a task, a person or a machine wrote becomes markup, on whatever page it shows up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bs4 import BeautifulSoup
from sqlalchemy import Enum, String, update

from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import (
    AlertDelivery,
    AlertEvent,
    AlertKind,
    AlertProblem,
    AlertRule,
    ApiToken,
    Audit,
    Base,
    Bulk,
    DeliveryState,
    Job,
    JobHealth,
    Process,
    ProcessKind,
    Role,
    RunLog,
    RunState,
    RunStep,
    SavedView,
    SchedulerLife,
    Silence,
)
from tests.rows import make_job, make_run
from tests.web.routes import RULES, address, methods
from tests.web.site import HTMX

if TYPE_CHECKING:
    from sqlalchemy import Column

    from tests.web.site import Site

EVIL = "\"'><evil onload=x>{{7*7}}</script>"
NOW = datetime.now(UTC)
AT = {"created_at": NOW, "updated_at": NOW}
BY = {"created_by": "ann", "updated_by": "ann"}
PROCESS = {"process": "app-1:7:abc", "host": "app-1", "pid": 7, "version": "1", "began_at": NOW}

MEANT = {
    *("id", "job_id", "last_job_id", "fingerprint", "key", "hash", "request", "password_hash"),
    *("executor", "timezone", "theme", "screen", "action", "outcome", "process", "ended"),
    *("failure_kind", "silenced_failure"),
}
"""Texts that are keys, or words of ours: nobody else writes them."""


def rows() -> list[Any]:
    """Return something for every page to show."""
    who: dict[str, Any] = {"at": NOW, "actor": "", "target": "1"}
    payload = {"message": EVIL, "rule": EVIL, "job_name": EVIL, "url": None}
    return [
        make_job("1", tags=[EVIL], parameters={EVIL: EVIL}),
        make_job("2", paused_at=NOW, next_run_time=None),
        make_job("3", broken_reason=EVIL),
        make_run(2, "1", state=RunState.RUNNING, started_at=NOW - timedelta(days=1)),
        make_run(3, "1", state=RunState.SKIPPED, finished_at=NOW),
        *(
            RunLog(run_id=1, seq=seq, at=NOW, level="INFO", logger="x", text="x")
            for seq in range(3)
        ),
        RunStep(run_id=1, index=1, name="x", state=RunState.SUCCEEDED, started_at=NOW),
        AlertRule(
            on=AlertKind.FAILING,
            name="x",
            after=1,
            scope={"tags": [EVIL]},
            channels=[{"shown": f"https://example.com/{EVIL}", "sealed": EVIL}],
            notify_recovery=True,
            settle_seconds=1,
            enabled=True,
            **AT,
            **BY,
        ),
        AlertProblem(
            rule_id=1, job_id="1", job_name="", problem="", since=NOW, opened_at=NOW, told_at=NOW
        ),
        AlertDelivery(
            key="k",
            rule_id=1,
            event=AlertEvent.PROBLEM,
            channel="",
            payload=payload,
            state=DeliveryState.FAILED,
            created_at=NOW,
            next_try_at=NOW,
        ),
        Audit(action="job.change", outcome="done", detail={EVIL: EVIL}, **who),
        Audit(action="job.run", outcome="refused", detail={"why": EVIL}, **who),
        ApiToken(name="", hash="x", role=Role.VIEWER, created_at=NOW, created_by=""),
        SavedView(owner="admin", screen="runs", name="", query="", created_at=NOW),
        SchedulerLife(seen_at=NOW, ended="lost", **PROCESS),
        Process(
            kind=ProcessKind.WORKER,
            machine="",
            pid_started=1.0,
            executors=[EVIL],
            places=1,
            seen_at=NOW,
            until=NOW,
            **PROCESS,
        ),
        Bulk(
            created_at=NOW,
            created_by="",
            action="pause",
            targets=["1"],
            left_out=[[EVIL, 1, [EVIL]]],
            position=0,
            refused=1,
            why_refused=[["1", EVIL]],
        ),
    ]


def fill(site: Site) -> None:
    """Write rows, and the hostile text into each of their texts."""
    failed = {"state": RunState.FAILED, "fingerprint": "1", "finished_at": NOW}
    site.add(make_run(1, "1", progress={"done": 1, "total": 2, "text": EVIL}, **failed))
    with site.database.write() as session:
        ended = FinishedRun(1, "1", RunState.FAILED, NOW, NOW, 1.0, error="E: x", fingerprint="1")
        count_finished(session.connection(), [ended])
    site.add(*rows())
    with site.database.write() as session:
        for table in Base.metadata.sorted_tables:
            texts = {column.name: EVIL for column in table.columns if is_written(column)}
            if texts and table.name not in {"lease", "sign_in", "user"}:
                session.execute(update(table).values(texts))
        session.execute(update(Job).where(Job.id != "3").values(broken_reason=None))
        silence = {"silence": Silence.ACKNOWLEDGED, "silenced_at": NOW}
        session.execute(update(JobHealth).where(JobHealth.job_id == "2").values(silence))


def is_written(column: Column[Any]) -> bool:
    """Say whether anybody but the dashboard decides what stands in a column."""
    text = isinstance(column.type, String) and not isinstance(column.type, Enum)
    return text and not column.primary_key and column.name not in MEANT


def injected(page: BeautifulSoup) -> list[str]:
    """Return what has become markup."""
    return [
        str(element)[:300]
        for element in page.find_all(True)
        if element.name == "evil" or any(name.startswith("on") for name in element.attrs)
    ]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "part"])
def test_whatever_was_written_is_only_text(site: Site, headers: dict[str, str]) -> None:
    fill(site)
    told: set[str] = set()
    for rule in RULES:
        if methods(rule) != {"GET"} or "filename" in rule.arguments:
            continue
        answer = site.client.get(address(rule), headers=headers)
        assert answer.status_code != 500, rule
        if answer.mimetype == "text/html":
            page = BeautifulSoup(answer.text, "html.parser")
            assert injected(page) == [], address(rule)
            told |= {rule.endpoint.removeprefix("dashboard.")} if "<evil" in page.text else set()
    screens = {"now", "jobs", "job", "run", "runs", "errors", "timeline", "alerts", "audit"}
    assert screens <= {endpoint.partition(".")[0] for endpoint in told}, "else it tells nothing"
