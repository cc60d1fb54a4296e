"""Values that many requests ask for."""

from __future__ import annotations

from itertools import count

import pytest

from dashboard.web import remembered as remembered_module
from dashboard.web.remembered import Remembered
from tests.factories import wait_until


def test_a_value_is_computed_once_for_a_revision() -> None:
    remembered, calls = Remembered[int](), count()
    assert [remembered.read(1, lambda: next(calls)) for _ in range(3)] == [0, 0, 0]


def test_a_change_makes_it_new_at_once() -> None:
    remembered, calls = Remembered[int](), count()
    assert [remembered.read(revision, lambda: next(calls)) for revision in (1, 2, 2)] == [0, 1, 1]


def test_it_is_computed_anew_although_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_module, "SECONDS", 0.01)
    remembered, calls = Remembered[int](), count()
    wait_until(lambda: remembered.read(1, lambda: next(calls)) > 0)


def test_what_cannot_be_computed_is_not_kept() -> None:
    remembered = Remembered[int]()
    with pytest.raises(ZeroDivisionError):
        remembered.read(1, lambda: 1 // 0)
    assert remembered.read(1, lambda: 7) == 7
