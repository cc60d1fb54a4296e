"""The parameters of one run, asked for with the fields that the form of its job has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from dashboard.errors import Invalid
from dashboard.tasks import is_guarded
from dashboard.web.access import may
from dashboard.web.forms import (
    JobForm,
    Texts,
    job_data,
    job_texts,
    parameter_fields,
    posted_texts,
    task_named,
)
from dashboard.web.secretfields import FORGET, with_kept

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboard.errors import FieldError
    from dashboard.storage.models import Job

_TAKEN = ("parameters", FORGET)


def may_choose_parameters(job: Job) -> bool:
    """Say whether a run of the job may be given other parameters by whoever asks."""
    takes_any = bool(parameter_fields(task_named(job.task)))
    return takes_any and (may("admin", job.tags) or not is_guarded(job.task))


def run_form(job: Job, faults: Iterable[FieldError] = ()) -> JobForm:
    """Return the fields: as the job has them, or as they were sent."""
    return JobForm(_texts(job), is_new=False, faults=tuple(faults))


def given_parameters(job: Job) -> dict[str, Any] | None:
    """Return the parameters that were sent; None when they are the job's own, or none were.

    Raises `Invalid` for texts that stand for nothing.
    """
    texts = _texts(job)
    if texts == job_texts(job):
        return None
    data, faults = job_data(texts, {"parameters"})
    if faults:
        raise Invalid(faults)
    parameters: dict[str, Any] = data["parameters"]
    return parameters


def _texts(job: Job) -> Texts:
    known, sent = job_texts(job), posted_texts(request.form)
    given = {name: text for name, text in sent.items() if name.partition(".")[0] in _TAKEN}
    return with_kept(known | given, known)
