from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.dashboards import Place, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    """Make places whose dashboards are gone after the test, whatever it did to them."""
    places: list[Place] = []
    processes: list[Process] = []
    begin = Process.__init__

    def remember(self: Process, *arguments: Any) -> None:
        begin(self, *arguments)
        processes.append(self)

    monkeypatch.setattr(Process, "__init__", remember)

    def make(**options: Any) -> Place:
        places.append(Place.make(tmp_path, **options))
        return places[-1]

    yield make
    for process in processes:
        process.kill()
    for place in places:
        place.database.close()
