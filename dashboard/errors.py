"""What can go wrong by a person's or a program's doing.

One handler each turns these into HTML, JSON or an exit code.
Everything here carries a sentence for whoever caused it: what is wrong, where, what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class FieldError:
    """One complaint about one field.

    `field` is the field's path in the JSON form, dots between levels: `name`, `trigger.hour`,
    `parameters.day`. Forms show the message beside the field of that path.
    """

    field: str
    message: str


def by_field(errors: Iterable[FieldError]) -> dict[str, list[str]]:
    """Return the messages of complaints by the fields they are about."""
    found: dict[str, list[str]] = {}
    for error in errors:
        found.setdefault(error.field, []).append(error.message)
    return found


class DashboardError(Exception):
    """The base of all refusals; `status` is the HTTP status that says the same."""

    status = 400
    title = "Bad request"
    refused: Any = None
    """The audit entry of the refusal, set by `services.audit` for whoever ends the transaction."""


class Invalid(DashboardError):
    """Input that cannot be accepted, with a message for every field at fault."""

    status = 422
    title = "Not valid"

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in self.errors))

    @classmethod
    def one(cls, field: str, message: str) -> Invalid:
        """Complain about a single field."""
        return cls([FieldError(field, message)])


class NotFound(DashboardError):
    """Nothing has that id."""

    status = 404
    title = "Not found"


class JobNotFound(NotFound):
    """No job has that id; it may have been removed meanwhile."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job “{job_id}”.")


class RunNotFound(NotFound):
    """No run has that id; it may have been pruned."""

    def __init__(self, run_id: object) -> None:
        super().__init__(f"There is no run {run_id}. It may have been pruned.")


class ErrorNotFound(NotFound):
    """No error has that fingerprint; it may have been pruned."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(f"There is no error “{fingerprint}”. It may have been pruned.")


class Conflict(DashboardError):
    """The request is well formed, but the present state does not allow it."""

    status = 409
    title = "Conflict"


class StaleEdit(Conflict):
    """Somebody else changed the job since the form was opened; nothing was saved."""

    def __init__(self, job_id: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"Job “{job_id}” was changed by somebody else meanwhile"
            f" (you edited version {expected}, it is now version {actual}). Nothing was saved."
        )


class DuplicateId(Conflict):
    """A job with that id exists already."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"A job with the id “{job_id}” exists already. Choose another id.")


class AlreadyRunning(Conflict):
    """As many instances as the job allows are queued or running."""

    def __init__(self, job_id: str, limit: int) -> None:
        instances = "one instance" if limit == 1 else f"{limit} instances"
        super().__init__(
            f"Job “{job_id}” is already running, and it allows {instances} at a time."
            " Wait for it to end, or raise “Max instances”."
        )


class NotAllowed(DashboardError):
    """The actor's role does not reach so far."""

    status = 403
    title = "Not allowed"


class TooManyAttempts(DashboardError):
    """Too many failed sign-ins for this account from this address, or of too many accounts."""

    status = 429
    title = "Too many attempts"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds to wait."""


class TooManyRequests(DashboardError):
    """A program asks more often than it may."""

    status = 429
    title = "Too many requests"

    def __init__(self, per_minute: int, retry_after: float) -> None:
        super().__init__(f"At most {per_minute:,} requests a minute are answered. Wait a moment.")
        self.retry_after = retry_after
        """Seconds to wait."""


class NotJson(DashboardError):
    """The body of a request cannot be read as JSON."""

    title = "Not JSON"
