"""The dead man's switch: pressed for as long as the scheduler really works."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import text

from dashboard.alerting.heartbeat import NOT_YET, Heartbeat
from tests.factories import open_core, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.factories import Core
    from tests.receiver import Receiver


def test_it_is_asked_for_again_and_again_while_the_scheduler_leads(
    receiver: Receiver, tmp_path: Path
) -> None:
    options = {"deadman_url": receiver.url + "?key=secret", "deadman_seconds": 1}
    with open_core(data=tmp_path / "data", **options) as core:
        core.start()
        wait_until(lambda: len(receiver.requests) >= 2)
    assert {(method, path) for method, path, _, _ in receiver.requests} == {
        ("GET", "/hook?key=secret")
    }


def test_a_scheduler_that_cannot_work_does_not_work(core: Core) -> None:
    scheduler = core.runtime.scheduler
    assert not scheduler.works
    scheduler.resume()
    wait_until(lambda: scheduler.works)
    with core.database.write() as session:
        session.execute(text("ALTER TABLE lease RENAME TO elsewhere"))
    wait_until(lambda: not scheduler.works)
    with core.database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO lease"))
    wait_until(lambda: scheduler.works)


def test_without_work_there_is_no_beat_and_what_fails_is_said_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    works = False
    heartbeat = Heartbeat(receiver.url, 60, lambda: works)
    assert heartbeat.beat() == NOT_YET
    assert receiver.requests == []
    works = True
    receiver.answers = [500, 500]
    assert [heartbeat.beat() for _ in range(3)] == [60, 60, 60]
    assert len(receiver.requests) == 3
    assert caplog.messages == ["the dead man's switch cannot be reached: 127.0.0.1 answered 500."]
