"""How much is measured: the sizes of the stated figures, smaller for a look, tiny for a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of every benchmark."""

    rounds: int = 5  # of each side, in turn
    due_jobs: int = 5_000
    ticking_rounds: int = 3
    ticking_jobs: int = 1_000
    ticking_seconds: int = 30
    page_jobs: int = 10_000
    page_runs: int = 1_000_000
    page_rounds: int = 3
    requests: int = 200
    stored_jobs: int = 10_000
    chatting_runs: int = 200
    lines: int = 100  # of each chatting run
    previews: int = 20  # of each trigger
    worker_rounds: int = 3
    failovers: int = 20  # of each kind
    sent_runs: int = 2_000  # to Celery's workers


FULL = Scale()
QUICK = Scale(
    rounds=3,
    ticking_seconds=5,
    page_runs=100_000,
    requests=100,
    chatting_runs=50,
    previews=5,
    worker_rounds=1,
    failovers=5,
)
TINY = Scale(
    rounds=1,
    due_jobs=20,
    ticking_rounds=1,
    ticking_jobs=10,
    ticking_seconds=1,
    page_jobs=60,
    page_runs=200,
    page_rounds=1,
    requests=3,
    stored_jobs=20,
    chatting_runs=3,
    lines=5,
    previews=1,
    worker_rounds=1,
    failovers=1,
    sent_runs=20,
)
