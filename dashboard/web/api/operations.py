"""How a view becomes an operation of the API: read, check, do, answer, and be described.

    @blueprint.get("/jobs/<job_id>")
    @role(Role.VIEWER)
    @operation("Get a job", answer=Job)
    def show(session: Session, job_id: str) -> Job: ...

A view for GET gets a session that only reads, and its answer a tag (ETag) that saves asking again.
All others get the transaction that the request is, committed after the view; a POST with an
Idempotency-Key is done once and answered again. `query` and `body` name models, which the view gets
under these names.
"""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flask import Response, request

from dashboard.services.idempotency import FIELD, Ask, claim, kept_answer
from dashboard.storage.db import read_revision
from dashboard.web.access import current_actor, current_bearer
from dashboard.web.api.reading import read_body, read_query
from dashboard.web.api.shapes import Nothing
from dashboard.web.rendering import REFRESH_SECONDS, here
from dashboard.web.shell import scheduler_now
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel
    from sqlalchemy.orm import Session

REPLAYED = "Idempotency-Replayed"

Tag = Literal["revision", "content"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation takes and answers; the description of the API is made from it."""

    summary: str
    description: str
    answer: type[BaseModel] | None  # None: nothing to tell
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    status: int
    changes: bool
    tag: Tag | None
    conflicts: bool


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, and the address at which what was made is found."""

    answer: BaseModel
    location: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """A long answer, as JSON in pieces that are made while it is sent."""

    pieces: Iterator[str]


def operation(
    summary: str,
    *,
    answer: type[BaseModel] | None,
    query: type[BaseModel] | None = None,
    body: type[BaseModel] | None = None,
    status: int = 200,
    changes: bool = False,
    tag: Tag | None = "revision",
    conflicts: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Declare what a view takes and answers.

    `changes` gives it a transaction. `tag` says by what an answer is known to be the same: by the
    revision of the database, which spares the work, or by its content where that comes from
    elsewhere; None where it is never the same. `conflicts` is True where the present state may not
    allow what is asked (409).
    """

    def declare(view: Callable[..., Any]) -> Callable[..., Response]:
        return _responder(
            view,
            Operation(
                summary=summary,
                description=" ".join((view.__doc__ or "").split()),
                answer=answer,
                query=query,
                body=body,
                status=status,
                changes=changes,
                tag=None if changes or body is not None else tag,
                conflicts=conflicts,
            ),
        )

    return declare


def _responder(view: Callable[..., Any], declared: Operation) -> Callable[..., Response]:
    @functools.wraps(view)
    def respond(**arguments: Any) -> Response:
        query = read_query(declared.query or Nothing)
        if declared.query is not None:
            arguments["query"] = query
        if declared.body is not None:
            arguments["body"] = read_body(declared.body)
        done = functools.partial(view, **arguments)
        return _change(declared, done) if declared.changes else _read(declared, done)

    respond.dashboard_operation = declared  # type: ignore[attr-defined]
    # Flask's own answer to OPTIONS would tell of every method that `elsewhere` takes.
    respond.provide_automatic_options = False  # type: ignore[attr-defined]
    return respond


def _read(declared: Operation, view: Callable[[Session], BaseModel | Streamed]) -> Response:
    with dashboard_state().database.read() as session:
        etag = _tag(session) if declared.tag == "revision" else None
        if etag is not None and request.if_none_match.contains_weak(etag):
            return _tagged(Response(status=304), etag)
        answer = view(session)
    if isinstance(answer, Streamed):
        response = Response(answer.pieces, mimetype="application/json")
        return response if etag is None else _tagged(response, etag)
    text = answer.model_dump_json()
    if declared.tag == "content":
        etag = hashlib.sha256(text.encode()).hexdigest()[:20]
    response = _response(text, declared.status)
    if etag is None:
        return response
    _tagged(response, etag).make_conditional(request)
    return response


def _tagged(response: Response, etag: str) -> Response:
    response.set_etag(etag, weak=True)
    return response


def _change(declared: Operation, view: Callable[[Session], BaseModel | Made | None]) -> Response:
    state, ask = dashboard_state(), _ask()
    if ask is not None:
        with state.database.read() as session:
            kept = kept_answer(session, ask)
        if kept is not None:
            response = _response(kept.body, kept.status, kept.location)
            response.headers[REPLAYED] = "true"
            return response
    with state.change() as session:
        row = None if ask is None else claim(session, ask)
        made = view(session)
        answer = made.answer if isinstance(made, Made) else made
        location = made.location if isinstance(made, Made) else None
        text = "" if answer is None else answer.model_dump_json()
        if row is not None:
            row.status, row.location, row.body = declared.status, location, text
    return _response(text, declared.status, location)


def _ask() -> Ask | None:
    """Return what tells this request from others, if it is to be done once."""
    key, bearer = request.headers.get(FIELD), current_bearer()
    if key is None or bearer is None or request.method != "POST":
        return None
    told = b"\0".join((request.method.encode(), request.full_path.encode(), request.get_data()))
    return Ask(bearer.token_id, key, hashlib.sha256(told).hexdigest())


def _tag(session: Session) -> str:
    """Return a tag that changes whenever the answer could.

    Some of it ages by itself (a job becomes overdue), so no tag lasts long.
    """
    actor = current_actor()
    parts = (
        read_revision(session),
        scheduler_now(session).state,
        (actor.name, actor.role),
        int(time.time() // REFRESH_SECONDS),
        here(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def _response(text: str, status: int, location: str | None = None) -> Response:
    response = Response(text, status, mimetype="application/json")
    if not text:
        del response.headers["Content-Type"]
    if location is not None:
        response.headers["Location"] = location
    return response
