"""The verification pipeline: one check after another, until all are verified or one fails."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from dashboard.runcontext import current_run
from dashboard.samples.checks import Check, CheckFailed
from dashboard.samples.places import folder_in_data, write_whole
from dashboard.tasks import FinishJob, PauseJob, task

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard.runcontext import CurrentRun


class Verified(BaseModel):
    """A step that was found in order."""

    title: str
    at: datetime
    seen: str


class Pipeline(BaseModel):
    """What one job has verified so far, by the hash of each step."""

    job_id: str
    verified: dict[str, Verified] = {}


@task(name="verification.pipeline")
def verify_next(
    steps: Annotated[
        list[Check],
        Field(
            min_length=1,
            max_length=100,
            description="Checks in their order, each an object with a kind (http, file, disk, port,"
            " sqlite) and what that kind needs.",
        ),
    ],
    steps_per_run: Annotated[int, Field(ge=1, le=100)] = 1,
) -> str:
    """Verify the next step or steps of a pipeline; finish the job when all are verified.

    When a check fails the job is paused with the reason; resumed, it goes on with that step. A step
    that is changed is verified again. After the end the pipeline begins anew.
    """
    run = current_run()
    place = _place_of(run)
    pipeline = _read(place, run)
    numbered = enumerate(steps, 1)
    waiting = [(number, step) for number, step in numbered if _key(step) not in pipeline.verified]
    done = len(steps) - len(waiting)
    for number, step in waiting[:steps_per_run]:
        if run.cancelled:
            break
        run.progress(done, len(steps), step.title)
        _verify(run, step, f"Step {number} of {len(steps)}", pipeline)
        write_whole(place, pipeline.model_dump_json(indent=1))
        done += 1
        run.progress(done, len(steps), step.title)
    left = sum(_key(step) not in pipeline.verified for step in steps)
    if not left:
        place.unlink(missing_ok=True)
        raise FinishJob(f"All {len(steps)} steps are verified.")
    return f"{len(steps) - left} of {len(steps)} steps are verified."


def _verify(run: CurrentRun, step: Check, number: str, pipeline: Pipeline) -> None:
    try:
        with run.step(step.title):
            seen = step.verify()
    except CheckFailed as problem:
        raise PauseJob(f"{number}, “{step.title}”, failed: {problem}") from problem
    run.log(f"{number}, “{step.title}”, is verified: {seen}")
    pipeline.verified[_key(step)] = Verified(title=step.title, at=datetime.now(UTC), seen=seen)


def _key(step: Check) -> str:
    """Identify a step by what it checks, so that changing one does not verify another."""
    form = json.dumps(step.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(form.encode()).hexdigest()[:16]


def _place_of(run: CurrentRun) -> Path:
    """Name a job's file after a hash: a job id may hold anything."""
    name = hashlib.sha256(run.job_id.encode()).hexdigest()[:16]
    return folder_in_data("verification") / f"{name}.json"


def _read(place: Path, run: CurrentRun) -> Pipeline:
    """Read what is verified so far; a file that makes no sense counts as nothing verified."""
    try:
        return Pipeline.model_validate_json(place.read_bytes())
    except FileNotFoundError:
        return Pipeline(job_id=run.job_id)
    except ValidationError:
        run.log(f"{place} cannot be read; all steps are verified again.", level="WARNING")
        return Pipeline(job_id=run.job_id)
