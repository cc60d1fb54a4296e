"""The floor of `bench.celery`: a Celery app as its tutorial makes it, that counts its calls."""

from __future__ import annotations

import os

import redis
from celery import Celery

BROKER = "BENCH_BROKER"
CALLS = "bench-calls"

app = Celery("bench", broker=os.environ.get(BROKER, ""))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)
_counter = redis.Redis.from_url(os.environ.get(BROKER, "redis://"))


@app.task(name="bench.count")  # type: ignore[untyped-decorator]
def count(_number: int) -> None:
    """Count this call where the one that measures can see it."""
    _counter.incr(CALLS)
