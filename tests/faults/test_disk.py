"""The disk is full or read-only: nothing dies, people are told, and all goes on afterwards."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

from dashboard.storage.db import Database, read_revision
from dashboard.storage.models import RunState
from tests.factories import wait_until
from tests.faults.surroundings import full, small_disk, write_protected
from tests.faults.test_away import PASSWORD, fetch, sign_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from urllib.request import OpenerDirector

    from tests.faults.dashboards import Place

MEGABYTES = 24

WHY = re.compile("The scheduler cannot work: (database or disk is full|.*readonly|disk I/O error)")


@contextmanager
def without_room(place: Place) -> Iterator[None]:
    """Let nothing more fit on the disk."""
    with full(place.settings.data):
        yield


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """Let nobody write to the database."""
    file = Path(str(place.database.engine.url.database))
    with ExitStack() as stack:
        for each in (file, file.with_name(f"{file.name}-wal")):
            if not stack.enter_context(write_protected(each)):
                pytest.skip("only root can protect a file, where the file system can")
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[None]:
    with small_disk(tmp_path / "data", MEGABYTES) as mounted:
        if not mounted:
            pytest.skip("only root can mount a disk of its own, where there are loop devices")
        yield


def shows_why(person: OpenerDirector, address: str) -> bool:
    """Say whether a page, which tells that no job starts, tells what is wrong with the disk."""
    status, page = fetch(person, address)
    assert (status, "The scheduler is not running" in page) == (200, True), page
    return WHY.search(page) is not None


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("trouble", [without_room, read_only])
def test_while_nothing_can_be_written_pages_say_so_and_all_goes_on_afterwards(
    make_place: Callable[..., Place], trouble: Callable[[Place], AbstractContextManager[None]]
) -> None:
    place = make_place(lease_seconds=2, admin_password=PASSWORD)
    place.add_job(
        "j",
        trigger={"type": "interval", "seconds": 1},
        next_run_time=None,
        misfire_grace_time=None,
    )
    dashboard = place.start()
    person = sign_in(dashboard.listens())
    wait_until(lambda: dashboard.get("/healthz")[0] == 200)
    [long] = place.ask("j", task="faults.hold")
    wait_until(lambda: long in place.traces())
    with trouble(place):
        wait_until(lambda: "the scheduler cannot work" in dashboard.said)
        wait_until(lambda: dashboard.get("/healthz")[0] == 503)
        for address in (dashboard.listens() + "/", dashboard.listens() + "/system"):
            wait_until(partial(shows_why, person, address))
        place.let_go()
        wait_until(lambda: long in place.traces("end"))
        assert place.state(long) == "running"
    wait_until(lambda: place.state(long) == "succeeded")
    [after] = place.ask("j", first=1)
    wait_until(lambda: place.state(after) == "succeeded")
    wait_until(lambda: dashboard.get("/healthz")[0] == 200)
    assert dashboard.alive
    assert sorted(place.traces()) == [run.id for run in place.runs(RunState.SUCCEEDED)]


def test_a_connection_made_while_the_disk_was_read_only_can_write_afterwards(
    make_place: Callable[..., Place],
) -> None:
    """SQLite opens such a file for reading, and a pool would keep that connection for good."""
    place = make_place()
    file = Path(str(place.database.engine.url.database))
    database = Database(place.settings.database_url)
    with write_protected(file) as protected:
        if not protected:
            pytest.skip("only root can protect a file, where the file system can")
        with database.read() as session:
            before = read_revision(session)
        with pytest.raises(OperationalError, match="readonly"), database.write():
            pass
    with database.write():
        pass
    with database.read() as session:
        assert read_revision(session) == before + 1
    database.close()
