from __future__ import annotations

import pytest

from dashboard.web.rate import Buckets


def test_permits_come_back_as_time_goes_by() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    assert [buckets.take("x", 60) for _ in range(60)] == [0.0] * 60
    assert buckets.take("x", 60) == pytest.approx(1)
    now[0] = 0.75
    assert buckets.take("x", 60) == pytest.approx(0.25)
    now[0] = 1.0
    assert buckets.take("x", 60) == 0
    now[0] = 10_000
    assert sum(buckets.take("x", 60) == 0 for _ in range(100)) == 60, "no more than a minute's"
