"""What is asked before an action, and its answer: in the page's dialog, or on a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from dashboard.web.rendering import done, page_before, render, wants_partial

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.errors import Invalid


def question(folder: str, error: Invalid | None = None, **context: Any) -> Response:
    """Ask what the templates in `folder` ask; after a refusal again, with all that was typed."""
    complaints = error.errors if error else ()
    response = render(
        f"{folder}/question.html",
        partial=f"{folder}/_question.html",
        typed=request.form,
        errors={complaint.field: [complaint.message] for complaint in complaints},
        in_dialog=wants_partial(),
        **context,
    )
    if error:
        response.status_code = error.status
    return response


def answer(url: str, message: str) -> AnyResponse:
    """Say that it is done; the page that only asked about it is not worth going back to."""
    asked_on_a_page = not wants_partial() and page_before() == request.path
    return done(url, message, leave=asked_on_a_page)
