"""Opening pages of a dashboard with much in it, against bare pages of the same size."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from bench.floor import floor_app
from bench.isolation import scratch
from bench.parties import dashboard
from bench.population import populate
from bench.processes import dashboard_process, floor_process
from bench.results import Figure, Target, median, percentile
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
        with _served(folder) as (served, served_floor):
            yield from _compare("cheroot", pages, served, served_floor, scale)


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
        Page("Timeline", "/timeline"),
        Page("Now", "/", TARGET),
        Page("Errors", "/errors", TARGET),
        Page("Job", "/jobs/job-17"),
        Page("Run", f"/runs/{newest}"),
    ]


@contextmanager
def _served(folder: Path) -> Iterator[tuple[Visitor, Visitor]]:
    """Start both servers and visit each over a connection of its own."""
    with (
        dashboard_process(folder) as ours,
        floor_process() as floor,
        closing(OverNetwork(ours.url)) as visitor,
        closing(OverNetwork(floor.url)) as floor_visitor,
    ):
        yield visitor, floor_visitor


def _compare(
    where: str, pages: list[Page], ours: Visitor, floor: Visitor, scale: Scale
) -> Iterator[Figure]:
    sign_in(ours)
    for page in pages:
        yield _page(where, page, ours, floor, scale)
    yield _poll(where, ours, scale)


def _page(where: str, page: Page, ours: Visitor, floor: Visitor, scale: Scale) -> Figure:
    """Open a page and a floor of its size in turn, several rounds of it."""
    size = len(_page_of(ours, page.path).body)
    _open_in_turn(page.path, size, ours, floor, WARM_UP)
    rounds = [
        _open_in_turn(page.path, size, ours, floor, scale.requests)
        for _ in range(scale.page_rounds)
    ]
    slow = [(percentile(mine, 95), percentile(bare, 95)) for mine, bare in rounds]
    half = [(percentile(mine, 50), percentile(bare, 50)) for mine, bare in rounds]
    return Figure(
        "pages",
        f"{page.name}, {where}: p95 / bare page",
        median([mine / bare for mine, bare in slow]),
        "x",
        page.target,
        f"p95 {_both(slow)} ms, median {_both(half)} ms, {size:,} bytes",
    )


def _open_in_turn(
    path: str, size: int, ours: Visitor, floor: Visitor, requests: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each request, ours and the floor's."""
    mine, bare = [], []
    for _ in range(requests):
        mine.append(_page_of(ours, path).seconds * 1000)
        bare.append(_page_of(floor, f"/{size}").seconds * 1000)
    return mine, bare


def _both(pairs: list[tuple[float, float]]) -> str:
    mine, bare = (median(values) for values in zip(*pairs, strict=True))
    return f"{mine:.1f} and {bare:.1f}"


def _poll(where: str, ours: Visitor, scale: Scale) -> Figure:
    """Poll the list of jobs while nothing changes."""
    times, unchanged = [], 0
    tag = ""
    for _ in range(scale.requests):
        answer = ours.get("/jobs", POLL | ({"If-None-Match": tag} if tag else {}))
        tag = answer.headers.get("ETag", tag)
        if answer.status == HTTPStatus.NOT_MODIFIED:
            unchanged += 1
            times.append(answer.seconds * 1000)
    detail = f"{unchanged} of {scale.requests} answered with 304"
    slow = percentile(times, 95) if times else float("nan")
    return Figure("pages", f"Jobs, polled, {where}: p95", slow, "ms", None, detail)


def _page_of(visitor: Visitor, path: str) -> Answer:
    answer = visitor.get(path)
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"{path} was answered with {answer.status}: {answer.body!r}")
    return answer
