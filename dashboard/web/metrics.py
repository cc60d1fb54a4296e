"""What Prometheus reads: the scheduler, its queue, its runs and its jobs in numbers.

Every number is read when it is asked for, from rows that are kept while runs end. So nothing is
counted in this process, and every process tells the same; only the recorder's backlog is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from dashboard.history.metrics import read_figures
from dashboard.services.status import scheduler_status
from dashboard.web.access import public
from dashboard.web.health import check_prober
from dashboard.web.state import dashboard_state
from dashboard.web.system import executor_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from dashboard.history.metrics import Figures, Totals
    from dashboard.services.status import SchedulerStatus

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@public
def show() -> Response:
    """Answer Prometheus; other machines only when they are let in or signed in."""
    check_prober()
    state = dashboard_state()
    now = datetime.now(UTC)
    with state.database.read() as session:
        status = scheduler_status(session, process=state.process or None)
        figures = read_figures(session, now, most_jobs=state.settings.metrics_jobs)
    registry = CollectorRegistry()
    registry.register(
        _Collector(
            (
                *_of_scheduler(status),
                *_of_load(figures, executor_places(state.settings, figures.members), now),
                *_of_runs(figures.totals),
                *_of_jobs(figures),
                _gauge(
                    "recorder_backlog",
                    "Items of history this process has yet to write.",
                    {(): state.recorder_backlog()},
                ),
            )
        )
    )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = Response(encode(registry), content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response


@dataclass(frozen=True, eq=False)  # registries know their collectors by identity
class _Collector:
    """What a registry asks for metrics."""

    metrics: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self.metrics


def _gauge(
    name: str,
    meaning: str,
    values: Mapping[tuple[str, ...], float | None],
    labels: tuple[str, ...] = (),
) -> Metric:
    """Return a gauge with a value for each combination of labels; None leaves one out."""
    family = GaugeMetricFamily(f"apscheduler_{name}", meaning, labels=labels)
    for given, value in values.items():
        if value is not None:
            family.add_metric(given, value)
    return family


def _of_scheduler(status: SchedulerStatus) -> Iterator[Metric]:
    yield _gauge("scheduler_up", "1 while some process leads and jobs start.", {(): status.alive})
    yield _gauge(
        "scheduler_leading", "1 while it is this process that leads.", {(): status.leading}
    )
    yield _gauge(
        "scheduler_heartbeat_age_seconds",
        "Seconds since the leader's last sign of life.",
        {(): status.heartbeat_age_seconds},
    )
    yield _gauge(
        "scheduler_leader_info",
        "1 for the process that leads.",
        {(status.leader,): 1} if status.leader else {},
        ("leader",),
    )


def _of_load(figures: Figures, places: Mapping[str, int], now: datetime) -> Iterator[Metric]:
    labels = ("executor",)
    loads = figures.loads
    yield _gauge(
        "executor_places",
        "Runs that an executor can run at once.",
        {(name,): number for name, number in places.items()},
        labels,
    )
    names = sorted({*places, *loads})
    for state in ("running", "queued"):
        yield _gauge(
            f"{state}_runs",
            f"Runs that are {state}.",
            {(name,): getattr(loads[name], state) if name in loads else 0 for name in names},
            labels,
        )
    oldest = figures.oldest_queued
    yield _gauge(
        "oldest_queued_age_seconds",
        "Seconds that the oldest queued run has waited; 0 when none waits.",
        {(): max(0.0, (now - oldest).total_seconds()) if oldest else 0.0},
    )
    yield _gauge(
        "problems",
        "What is wrong now, as the page Now lists it.",
        {(kind,): number for kind, number in figures.problems.items()},
        ("kind",),
    )
    yield _gauge(
        "alert_deliveries",
        "Alerts that wait to be sent, and those of the last day that failed or are in doubt.",
        {(state,): number for state, number in figures.alerts.items()},
        ("state",),
    )


def _of_runs(totals: Totals) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        "apscheduler_runs", "Runs that ended, by how they did.", labels=("state",)
    )
    for state, number in totals.by_state.items():
        runs.add_metric((state,), number)
    yield runs
    yield HistogramMetricFamily(
        "apscheduler_run_duration_seconds",
        "How long runs took.",
        buckets=[
            ("+Inf" if bound == float("inf") else str(bound), number)
            for bound, number in totals.durations
        ],
        sum_value=totals.seconds,
    )
    yield SummaryMetricFamily(
        "apscheduler_run_delay_seconds",
        "How late runs began after their fire times.",
        count_value=totals.started,
        sum_value=totals.delay,
    )


def _of_jobs(figures: Figures) -> Iterator[Metric]:
    jobs, labels = figures.jobs, ("job_id",)
    yield _gauge("jobs", "Jobs there are.", {(): figures.number_of_jobs})
    yield _gauge(
        "jobs_left_out",
        "Jobs without metrics of their own, by the setting metrics_jobs.",
        {(): max(0, figures.number_of_jobs - len(jobs))},
    )
    yield _gauge(
        "job_next_run_timestamp_seconds",
        "When a job fires next; absent while it is paused or finished.",
        {(job.id,): _seconds(job.next_run_time) for job in jobs},
        labels,
    )
    yield _gauge(
        "job_last_success_timestamp_seconds",
        "When a job last succeeded.",
        {(job.id,): _seconds(job.last_success_at) for job in jobs},
        labels,
    )
    yield _gauge(
        "job_consecutive_failures",
        "Failures of a job since its last success.",
        {(job.id,): job.consecutive_failures for job in jobs},
        labels,
    )
    yield _gauge(
        "job_usual_duration_seconds",
        "Median duration of a job's latest successes.",
        {(job.id,): job.usual_duration for job in jobs},
        labels,
    )


def _seconds(moment: datetime | None) -> float | None:
    """Return a moment as Prometheus counts time."""
    return None if moment is None else moment.timestamp()
