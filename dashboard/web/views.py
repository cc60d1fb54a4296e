"""Views that people keep of the lists of jobs and of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, request, url_for

from dashboard.errors import Invalid
from dashboard.services import views
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, role
from dashboard.web.rendering import done, page_before
from dashboard.web.run_filter import PARAMETERS
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session
    from werkzeug.wrappers import Response

blueprint = Blueprint("views", __name__)

KEPT: Mapping[str, tuple[str, ...]] = {"jobs": ("q", "sort"), "runs": PARAMETERS}
"""By list: what of its address makes a view; where one has paged to does not."""


@dataclass(frozen=True, slots=True)
class View:
    """A view as a list offers it."""

    id: int
    name: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class Views:
    """What a person keeps of one list, and what could be kept now."""

    screen: str
    saved: list[View]
    query: str  # of the page; empty where there is nothing to keep


def read_views(session: Session, screen: str) -> Views:
    """Return the views of the list at whose address this request is."""
    query = _kept(screen, request.query_string.decode(errors="replace"))
    saved = views.list_views(session, screen, owner=current_actor().name)
    return Views(
        screen,
        [View(view.id, view.name, _url(screen, view.query), view.query == query) for view in saved],
        query,
    )


@blueprint.post("/views")
@role(Role.VIEWER)
def save() -> Response:
    """Keep what a list shows under a name."""
    screen = request.form.get("screen", "")
    if screen not in KEPT:
        raise Invalid.one("screen", f"Choose one of: {', '.join(KEPT)}.")
    query = _kept(screen, request.form.get("query", ""))
    with dashboard_state().change() as session:
        name = request.form.get("name", "")
        view = views.save_view(session, screen, name, query, actor=current_actor())
    return done(_url(screen, query), f"The view “{view.name}” is saved.", leave=True)


@blueprint.post("/views/<int:view_id>/remove")
@role(Role.VIEWER)
def remove(view_id: int) -> Response:
    """Forget a view."""
    with dashboard_state().change() as session:
        view = views.remove_view(session, view_id, actor=current_actor())
    back = page_before() or url_for(f"dashboard.{view.screen}.index")
    return done(back, f"The view “{view.name}” is removed.", leave=True)


def _kept(screen: str, query: str) -> str:
    """Return what of an address's query makes a view, always written the same way."""
    pairs = parse_qsl(query, max_num_fields=None, errors="replace")
    return urlencode(
        [(name, text) for name, text in pairs if name in KEPT[screen] and text.strip()]
    )


def _url(screen: str, query: str) -> str:
    address = url_for(f"dashboard.{screen}.index")
    return f"{address}?{query}" if query else address
