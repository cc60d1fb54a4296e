"""A task that sees whether a web address answers as it should."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dashboard.runcontext import current_run
from dashboard.samples.checks import HttpCheck
from dashboard.tasks import task


@task(name="http.check")
def check_http(
    url: Annotated[str, Field(description="http:// or https://", min_length=8, max_length=2000)],
    expected_status: Annotated[int, Field(ge=100, le=599)] = 200,
    contains: Annotated[
        str, Field(description="Text that must occur in the answer.", max_length=1000)
    ] = "",
    timeout: Annotated[float, Field(description="Seconds to wait.", gt=0, le=300)] = 10,
    max_seconds: Annotated[
        float | None, Field(description="A slower answer is a failure.", gt=0, le=300)
    ] = None,
) -> str:
    """Fetch a web address and fail unless it answers as expected.

    Redirects are followed; the first MiB of the answer is searched.
    """
    check = HttpCheck(
        kind="http",
        url=url,
        expected_status=expected_status,
        contains=contains,
        timeout=timeout,
        max_seconds=max_seconds,
    )
    seen = check.verify()
    current_run().log(f"{check.title}: {seen}")
    return seen
