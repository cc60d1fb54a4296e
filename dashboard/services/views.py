"""Views of lists that people keep for themselves: a name for a search or a filter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError

from dashboard.errors import Conflict, Invalid, NotFound
from dashboard.services import audit
from dashboard.storage.models import LARGEST_ID, SavedView

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor

MOST = 30
"""Views that one person keeps of one list."""

_MINE = (
    select(SavedView)
    .where(SavedView.owner == bindparam("of"), SavedView.screen == bindparam("on"))
    .order_by(func.lower(SavedView.name), SavedView.id)
)

NAME_LENGTH = 60
QUERY_LENGTH = 2000


def list_views(session: Session, screen: str, *, owner: str) -> list[SavedView]:
    """Return what a person keeps of a list, by name."""
    return list(session.scalars(_MINE, {"of": owner, "on": screen}))


def save_view(session: Session, screen: str, name: str, query: str, *, actor: Actor) -> SavedView:
    """Keep a view under a name; one of the same name is replaced. Raises `Invalid`, `Conflict`."""
    with audit.action(session, actor, "view.save", name) as entry:
        entry.detail |= {"screen": screen, "query": query[:QUERY_LENGTH]}
        name = _checked_name(name)
        if len(query) > QUERY_LENGTH:
            raise Invalid.one("query", f"This is longer than {QUERY_LENGTH:,} characters.")
        mine = list_views(session, screen, owner=actor.name)
        view = next((view for view in mine if view.name == name), None)
        if view is None:
            if len(mine) >= MOST:
                raise Conflict(f"You keep {MOST} views of this list. Remove one first.")
            view = SavedView(owner=actor.name, screen=screen, name=name)
            session.add(view)
        view.query, view.created_at = query, datetime.now(UTC)
        try:
            session.flush()
        except IntegrityError as error:  # a second click, at the same moment
            raise Conflict(f"A view “{name}” was saved just now.") from error
    return view


def remove_view(session: Session, view_id: int, *, actor: Actor) -> SavedView:
    """Forget a view of one's own. Raises `NotFound`, for those of others too."""
    with audit.action(session, actor, "view.remove", str(view_id)) as entry:
        view = session.get(SavedView, view_id) if view_id <= LARGEST_ID else None
        if view is None or view.owner != actor.name:
            raise NotFound("You keep no such view.")
        entry.target = view.name
        session.delete(view)
    return view


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise Invalid.one(
            "name", f"Give the view a name of up to {NAME_LENGTH} printable characters."
        )
    return name
