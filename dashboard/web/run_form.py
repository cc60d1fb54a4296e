"""The parameters of one run, asked for with the fields that the form of its job has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from dashboard.errors import Invalid
from dashboard.web.forms import JobForm, Texts, job_data, job_texts, posted_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboard.errors import FieldError
    from dashboard.storage.models import Job


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
    sent = posted_texts(request.form)
    return job_texts(job) | {
        name: text for name, text in sent.items() if name.startswith("parameters.")
    }
