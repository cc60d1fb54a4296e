from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import promql_parser
import pytest
import yaml
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from dashboard.history.health import FinishedRun, count_finished
from dashboard.settings import load_settings
from dashboard.storage.models import (
    AlertDelivery,
    AlertEvent,
    DeliveryState,
    JobHealth,
    Role,
    RunState,
)
from tests.factories import new_run
from tests.rows import make_job
from tests.web.api.program import make_program
from tests.web.site import open_site
from tests.web.test_system import lead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

    from dashboard.settings import Settings
    from dashboard.storage.db import Database
    from tests.web.site import Site

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
NOW = datetime.now(UTC)


def samples(families: Iterable[Metric]) -> dict[tuple[str, str], float]:
    """Return every value by its name and its labels."""
    return {
        (sample.name, ",".join(map("=".join, sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def parse(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = text_string_to_metric_families(text)
    return families


def read(site: Site) -> dict[tuple[str, str], float]:
    answer = site.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return samples(parse(answer.text))


def end(site: Site, *runs: FinishedRun) -> None:
    with site.database.write() as session:
        count_finished(session.connection(), runs)


def finished(number: int, state: RunState, duration: float | None, delay: float) -> FinishedRun:
    return FinishedRun(number, "nightly", state, NOW, NOW, duration, None, delay)


def test_runs_are_counted_with_how_long_they_took_and_how_late_they_began(site: Site) -> None:
    end(site, finished(1, RunState.SUCCEEDED, 0.01, 0.5), finished(2, RunState.FAILED, 3, 1.5))
    end(
        site,
        finished(3, RunState.SUCCEEDED, 100_000, 0),
        FinishedRun(4, "nightly", RunState.MISSED, NOW, NOW, None),
    )
    found = read(site)
    ended = {
        state: found["apscheduler_runs_total", f"state={state}"]
        for state in RunState
        if ("apscheduler_runs_total", f"state={state}") in found
    }
    assert ended == {
        "succeeded": 2,
        "failed": 1,
        "missed": 1,
        "skipped": 0,
        "interrupted": 0,
        "cancelled": 0,
    }
    bucket, bounds = "apscheduler_run_duration_seconds_bucket", ("0.01", "2.5", "5.0", "+Inf")
    assert [found[bucket, f"le={bound}"] for bound in bounds] == [1, 1, 2, 3]
    assert found["apscheduler_run_duration_seconds_count", ""] == 3
    assert found["apscheduler_run_duration_seconds_sum", ""] == pytest.approx(100_003.01)
    assert found["apscheduler_run_delay_seconds_count", ""] == 3
    assert found["apscheduler_run_delay_seconds_sum", ""] == 2.0


def test_the_scheduler_its_queue_and_its_problems(site: Site) -> None:
    found = read(site)
    assert found["apscheduler_scheduler_up", ""] == 0
    lead(site)
    site.add(
        make_job("a", next_run_time=NOW + timedelta(hours=1)),
        new_run("a", 1, state=RunState.QUEUED, queued_at=NOW - timedelta(seconds=90)),
        new_run("a", 2, state=RunState.RUNNING, started_at=NOW),
        make_job("late", next_run_time=NOW - timedelta(hours=1)),
        make_job("broken", broken_reason="no task"),
    )
    found = read(site)
    assert found["apscheduler_scheduler_up", ""] == 1
    assert found["apscheduler_scheduler_leading", ""] == 1
    assert found["apscheduler_scheduler_leader_info", "leader=app-1:7:abc"] == 1
    assert found["apscheduler_scheduler_heartbeat_age_seconds", ""] < 60
    assert found["apscheduler_queued_runs", "executor=threads"] == 1
    assert found["apscheduler_running_runs", "executor=threads"] == 1
    assert found["apscheduler_running_runs", "executor=processes"] == 0
    assert found["apscheduler_executor_places", "executor=threads"] == 20
    assert 90 <= found["apscheduler_oldest_queued_age_seconds", ""] < 3600
    problems = ("failing", "broken", "overdue", "slow")
    assert [found["apscheduler_problems", f"kind={kind}"] for kind in problems] == [0, 1, 2, 0]
    assert found["apscheduler_recorder_backlog", ""] == 0
    assert found["apscheduler_alert_deliveries", "state=waiting"] == 0


def test_alerts_that_did_not_arrive(site: Site) -> None:
    day = timedelta(days=1)
    for number, (state, ago) in enumerate(
        [
            (DeliveryState.WAITING, None),
            (DeliveryState.SENDING, None),
            (DeliveryState.SENT, 0.1),
            (DeliveryState.FAILED, 0.1),
            (DeliveryState.FAILED, 1.1),
            (DeliveryState.UNKNOWN, 0.1),
        ]
    ):
        ended = None if ago is None else NOW - ago * day
        about = {"key": str(number), "rule_id": 1, "event": AlertEvent.TEST, "channel": "x"}
        moments = {"created_at": NOW, "next_try_at": NOW, "ended_at": ended}
        site.add(AlertDelivery(payload={}, state=state, **about, **moments))
    found = read(site)
    states = ("waiting", "failed", "unknown")
    assert [found["apscheduler_alert_deliveries", f"state={state}"] for state in states] == [
        2,
        1,
        1,
    ]


@pytest.mark.parametrize("name", ['it\'s "quoted"', "back\\slash", "two\nlines", "<b>", "🙂", "%"])
def test_jobs_whatever_they_are_called(site: Site, name: str) -> None:
    success = datetime(2027, 3, 1, 12, tzinfo=UTC)
    site.add(
        make_job(name, next_run_time=success + timedelta(hours=1)),
        JobHealth(
            job_id=name,
            recent=[],
            consecutive_failures=3,
            last_success_at=success,
            usual_duration=2,
        ),
    )
    found = read(site)
    assert found["apscheduler_job_consecutive_failures", f"job_id={name}"] == 3
    at = success.timestamp()
    assert found["apscheduler_job_last_success_timestamp_seconds", f"job_id={name}"] == at
    assert found["apscheduler_job_next_run_timestamp_seconds", f"job_id={name}"] == at + 3600
    assert found["apscheduler_job_usual_duration_seconds", f"job_id={name}"] == 2


def test_only_so_many_jobs_have_metrics_of_their_own(
    database: Database, settings: Settings
) -> None:
    few = settings.model_copy(update={"metrics_jobs": 2})
    with open_site(database, few) as site:
        site.add(*(make_job(f"job-{number}") for number in range(5)))
        found = read(site)
    told = [labels for name, labels in found if name.startswith("apscheduler_job_next_run")]
    assert told == ["job_id=job-0", "job_id=job-1"]
    assert found["apscheduler_jobs", ""] == 5
    assert found["apscheduler_jobs_left_out", ""] == 3


def test_openmetrics_for_who_asks_for_it(site: Site) -> None:
    end(site, finished(1, RunState.SUCCEEDED, 0.01, 0.5))
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = site.client.get("/metrics", headers=headers)
    assert answer.content_type.startswith("application/openmetrics-text")
    found = samples(parse_openmetrics(answer.text))  # type: ignore[no-untyped-call]
    assert found["apscheduler_runs_total", "state=succeeded"] == 1


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("192.0.2.5", {}, 303),
        ("10.1.2.3", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.5"}, 303),
    ],
)
def test_who_may_read_them(
    database: Database, settings: Settings, address: str, headers: dict[str, str], status: int
) -> None:
    open_to = load_settings(data=settings.data, probes="10.0.0.0/8, 2001:db8::/32")
    with open_site(database, open_to) as site:
        stranger = site.client.application.test_client()
        environment = {"REMOTE_ADDR": address}
        for url in ("/metrics", "/healthz"):
            answer = stranger.get(url, environ_base=environment, headers=headers)
            assert (answer.status_code in {200, 503}) is (status == 200), url
        assert site.client.get("/metrics", environ_base=environment).status_code == 200
        program = make_program(site, Role.VIEWER)
        for key, expected in ((program.key, 200), ("wrong", 200 if status == 200 else 401)):
            token = headers | {"Authorization": f"Bearer {key}"}
            answer = stranger.get("/metrics", environ_base=environment, headers=token)
            assert answer.status_code == expected


# -- what ships for Prometheus and Grafana ---------------------------------------------------------

NAME = re.compile(r"\bapscheduler_\w+")


def known_names(site: Site) -> set[str]:
    end(site, finished(1, RunState.SUCCEEDED, 0.01, 0.5))
    lead(site)
    site.add(
        make_job(), JobHealth(job_id="a", recent=[], consecutive_failures=0, last_success_at=NOW)
    )
    families = list(parse(site.client.get("/metrics").text))
    return {sample.name for family in families for sample in family.samples} | {
        family.name for family in families
    }


def asked_for(query: str) -> set[str]:
    """Return the metrics that a query names, which Prometheus' own grammar has to understand."""
    promql_parser.parse(query.replace("$__rate_interval", "5m"))
    return set(NAME.findall(query))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_grafanas_panels_ask_for_metrics_there_are(site: Site) -> None:
    board = json.loads((MONITORING / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    assert {name for query in queries for name in asked_for(query)} <= known_names(site)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_prometheus_rules_ask_for_metrics_there_are(site: Site) -> None:
    [group] = yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 5
    known = known_names(site)
    for rule in group["rules"]:
        names = asked_for(rule["expr"])
        assert names
        assert names <= known
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_documentation_names_every_metric_and_no_other(site: Site) -> None:
    page = (MONITORING.parent / "ALERTS.md").read_text(encoding="utf-8")
    told = set(NAME.findall(page.replace("`_leading`", "`apscheduler_scheduler_leading`")))
    families = parse(site.client.get("/metrics").text)
    # The parser takes the ending of a counter for a sample's.
    there = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    assert told == there
