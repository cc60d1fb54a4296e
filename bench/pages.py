"""Opening pages of a dashboard with much in it, against a page of the same size with nothing behind it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from bench.floor import floor_app
from bench.isolation import scratch
from bench.parties import dashboard
from bench.population import populate
from bench.processes import dashboard_process, floor_process
from bench.results import Figure, Target, percentile
from bench.visitors import NAME, PASSWORD, InProcess, OverNetwork, sign_in
from dashboard.app import make_app
from dashboard.services import accounts
from dashboard.services.audit import SYSTEM, transaction
from dashboard.storage.models import Role, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.scale import Scale
    from bench.visitors import Answer, Visitor
    from dashboard.storage.db import Database

TARGET = Target(at_most=3)
WARM_UP = 20
POLL = {"HX-Request": "true"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be opened; those with a target are the ones that must stay fast."""

    name: str
    path: str
    target: Target | None = None


def measure(scale: Scale) -> Iterator[Figure]:
    """Fill one database, then open its pages in this process and over the network."""
    with scratch() as folder:
        newest = _prepare(folder, scale)
        pages = _pages(newest)
        with dashboard(folder) as runtime:
            runtime.start()
            ours, floor = InProcess(make_app(runtime)), InProcess(floor_app())
            yield from _compare("in process", pages, ours, floor, scale)
        with _servers(folder) as (ours_url, floor_url):
            served, floor_served = OverNetwork(ours_url), OverNetwork(floor_url)
            yield from _compare("cheroot", pages, served, floor_served, scale)


def _prepare(folder: Path, scale: Scale) -> int:
    """Fill the database in `folder` and return the id of its newest run."""
    with dashboard(folder) as runtime:
        populate(runtime.database, jobs=scale.page_jobs, runs=scale.page_runs)
        _add_account(runtime.database)
        with runtime.database.read() as session:
            return session.scalar(select(func.max(Run.id))) or 0


def _add_account(database: Database) -> None:
    with transaction(database) as session:
        accounts.add_user(session, NAME, PASSWORD, Role.ADMIN, actor=SYSTEM)


def _pages(newest: int) -> list[Page]:
    return [
        Page("Jobs", "/jobs", TARGET),
        Page("Runs", "/runs", TARGET),
        Page("Jobs, searched", "/jobs?q=customer+77"),
        Page("Runs, failed ones", "/runs?state=failed"),
        Page("Now", "/"),
        Page("Job", "/jobs/job-17"),
        Page("Run", f"/runs/{newest}"),
    ]


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[str, str]]:
    with dashboard_process(folder) as ours, floor_process() as floor:
        yield ours.url, floor.url


def _compare(
    where: str, pages: list[Page], ours: Visitor, floor: Visitor, scale: Scale
) -> Iterator[Figure]:
    sign_in(ours)
    for page in pages:
        yield _page(where, page, ours, floor, scale)
    yield _poll(where, ours, scale)


def _page(where: str, page: Page, ours: Visitor, floor: Visitor, scale: Scale) -> Figure:
    """Open a page and a floor of its size in turn."""
    size = len(_expect(ours.get(page.path), 200).body)
    for _ in range(WARM_UP):
        ours.get(page.path)
        floor.get(f"/{size}")
    mine, bare = [], []
    for _ in range(scale.requests):
        mine.append(_expect(ours.get(page.path), 200).seconds * 1000)
        bare.append(_expect(floor.get(f"/{size}"), 200).seconds * 1000)
    slow = percentile(mine, 95), percentile(bare, 95)
    return Figure(
        "pages",
        f"{page.name}, {where}: p95 / bare page",
        slow[0] / slow[1],
        "x",
        page.target,
        f"p95 {slow[0]:.1f} and {slow[1]:.1f} ms, median {percentile(mine, 50):.1f} and"
        f" {percentile(bare, 50):.1f} ms, {size:,} bytes",
    )


def _poll(where: str, ours: Visitor, scale: Scale) -> Figure:
    """Poll the list of jobs while nothing changes."""
    times, unchanged = [], 0
    tag = ""
    for _ in range(scale.requests):
        answer = ours.get("/jobs", POLL | ({"If-None-Match": tag} if tag else {}))
        tag = answer.headers.get("ETag", tag)
        if answer.status == 304:
            unchanged += 1
            times.append(answer.seconds * 1000)
    detail = f"{unchanged} of {scale.requests} answered with 304"
    slow = percentile(times, 95) if times else float("nan")
    return Figure("pages", f"Jobs, polled, {where}: p95", slow, "ms", None, detail)


def _expect(answer: Answer, status: int) -> Answer:
    if answer.status != status:
        raise RuntimeError(f"answered with {answer.status}: {answer.body[:300]!r}")
    return answer
