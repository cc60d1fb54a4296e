"""Acting on many jobs at once: what will be done is shown first, and then exactly that is done.

A preview is a row that names its targets. Doing it works the targets off in small transactions,
each of which moves the row's position on: nothing is done twice, and whatever came in between (a
crash, a job that was removed or paused by somebody else) is either gone on from or said.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from dashboard.errors import Conflict, DashboardError, Invalid, NotAllowed, NotFound
from dashboard.history.joblist import list_targets
from dashboard.history.jobsearch import JobSearch
from dashboard.history.removed import list_restorable, removed_by
from dashboard.services import audit, jobs
from dashboard.services.joboptions import TAGS
from dashboard.services.joboptions import tags as check_tags
from dashboard.services.restoring import restore_job
from dashboard.storage.models import ID_LENGTH, LARGEST_ID, Bulk, Job, Role
from dashboard.texts import is_storable, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings

MOST = 20_000
"""Jobs that one action may be for."""

PICKED = 1_000
"""Jobs that may be picked one by one; a page shows 50."""

BATCH = 50
"""Jobs acted on in one transaction: some hundredths of a second."""

NAMES = 10
"""Names given of those left out for one reason."""

REASONS = 200
"""So many of the jobs that could not be acted on are named, and some more."""

FRESH = timedelta(hours=1)
"""A preview older than this has to be looked at again."""

KEPT = timedelta(days=30)
"""Previews and results are forgotten after this long."""


class BulkAction(enum.StrEnum):
    """What can be done to many jobs at once."""

    RUN = "run"
    PAUSE = "pause"
    RESUME = "resume"
    TAG = "tag"
    UNTAG = "untag"
    REMOVE = "remove"
    RESTORE = "restore"

    @property
    def role(self) -> Role:
        """Who may."""
        return Role.OPERATOR if self in _OPERATORS else Role.ADMIN


_NOT_THERE = {
    False: "There is no such job any more.",
    True: "It is not among the removed jobs any more.",
}
"""Why what was picked is left out, by whether removed jobs were to be picked."""

_OPERATORS = {BulkAction.RUN, BulkAction.PAUSE, BulkAction.RESUME}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Jobs that were chosen but are not acted on, for one reason."""

    why: str
    count: int
    names: list[str]


def prepare(
    session: Session,
    action: BulkAction,
    *,
    ids: Sequence[str] = (),
    search: str | None = None,
    actor: Actor,
) -> Bulk:
    """Find out which jobs an action would be for: those picked, or all that match a search.

    Raises `NotAllowed`, `Invalid` where nothing is chosen, or more than is possible.
    """
    with audit.action(session, actor, f"bulk.{action}", "") as entry:
        actor.require_role(action.role)
        found = _chosen(session, action, ids, search)
        left_out: dict[str, list[str]] = {}
        targets = []
        for job in found:
            if why := _out_of_reach(action, job, actor) or _why_not(action, job):
                left_out.setdefault(why, []).append(job.name)
            else:
                targets.append(job.id)
        if search is None and (gone := sorted(set(ids) - {job.id for job in found})):
            left_out[_NOT_THERE[action is BulkAction.RESTORE]] = gone
        bulk = _write(session, action, targets, actor, search=search, left_out=left_out)
        entry.target = str(bulk.id)
        entry.detail |= {"jobs": len(targets), "search": search}
    return bulk


def _write(
    session: Session,
    action: BulkAction,
    targets: list[str],
    actor: Actor,
    *,
    search: str | None = None,
    left_out: Mapping[str, list[str]] | None = None,
) -> Bulk:
    """Write a preview down; those of long ago are forgotten."""
    now = datetime.now(UTC)
    session.execute(delete(Bulk).where(Bulk.created_at < now - KEPT))
    left_out = left_out or {}
    bulk = Bulk(
        created_at=now,
        created_by=actor.name,
        action=action.value,
        search=search,
        targets=targets,
        left_out=[[why, len(names), names[:NAMES]] for why, names in left_out.items()],
        why_refused=[],
    )
    session.add(bulk)
    session.flush()
    return bulk


def _chosen(
    session: Session, action: BulkAction, ids: Sequence[str], search: str | None
) -> list[Any]:
    restoring = action is BulkAction.RESTORE
    list_them = list_restorable if restoring else list_targets
    if search is None:
        if not ids:
            raise Invalid.one("job", "Choose at least one job.")
        if len(ids) > PICKED:
            raise Invalid.one("job", f"At most {PICKED:,} jobs can be picked one by one.")
        known = [job_id for job_id in ids if is_storable(job_id) and len(job_id) <= ID_LENGTH]
        return list_them(session, ids=known, limit=PICKED)
    understood = JobSearch.parse(search)
    if understood.complaints:  # what is left of the search would match more than was meant
        raise Invalid.one("search", " ".join(understood.complaints))
    if understood.removed is not restoring:
        raise Invalid.one("search", "Removed jobs, and no others, can be brought back.")
    found = list_them(session, search=understood, limit=MOST + 1)
    if len(found) > MOST:
        raise Invalid.one("search", f"More than {MOST:,} jobs match. Narrow the search down.")
    return found


def _out_of_reach(action: BulkAction, job: Any, actor: Actor) -> str | None:
    """Say why an action on a job is not for the actor; whoever does it asks again."""
    if action is BulkAction.RESTORE or actor.reaches(job.tags):
        return None
    return "Has none of the tags that you are limited to."


def _why_not(action: BulkAction, job: Any, tag: str | None = None) -> str | None:
    """Say why an action is not for a job, which may be a row or an object."""
    if action is BulkAction.RESTORE:
        return None
    tags = job.tags
    reasons: dict[BulkAction, list[tuple[bool, str]]] = {
        BulkAction.RUN: [(job.broken_reason is not None, "Broken jobs cannot run.")],
        BulkAction.PAUSE: [(job.paused_at is not None, "Paused already.")],
        BulkAction.RESUME: [(job.paused_at is None, "Not paused.")],
        BulkAction.TAG: [
            (tag in tags, "Has the tag already."),
            (len(tags) >= TAGS, f"Has {TAGS} tags, as many as are possible."),
        ],
        BulkAction.UNTAG: [
            (not tags, "Has no tags."),
            (tag is not None and tag not in tags, "Does not have the tag."),
        ],
        BulkAction.REMOVE: [],
    }
    return next((why for applies, why in reasons[action] if applies), None)


def get(session: Session, bulk_id: int, *, lock: bool = False) -> Bulk:
    """Return one action on many jobs. Raises `NotFound`."""
    bulk = session.get(Bulk, bulk_id, with_for_update=lock) if bulk_id <= LARGEST_ID else None
    if bulk is None:
        raise NotFound("There is no such preview any more. Choose the jobs again.")
    return bulk


def names_of(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """Return what jobs are or were called, in the order of their ids; else their ids."""
    found = list_targets(session, ids=ids, limit=len(ids))
    gone = list_restorable(session, ids=ids, limit=len(ids))
    names = {job.id: job.name for job in (*gone, *found)}
    return {job_id: names.get(job_id, job_id) for job_id in ids}


def start(
    session: Session,
    bulk_id: int,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    tag: str | None = None,
    actor: Actor,
) -> Bulk:
    """Decide to do what was previewed, with the reason, the moment or the tag it needs.

    What was started before goes on with what it was started with. Raises `NotAllowed` for anybody
    but who previewed it, `Conflict` when that was long ago, `Invalid` for a tag or a moment that
    is none.
    """
    now = datetime.now(UTC)
    bulk = get(session, bulk_id, lock=True)
    action = BulkAction(bulk.action)
    with audit.action(session, actor, "bulk.start", str(bulk_id)) as entry:
        actor.require_role(action.role)
        if bulk.created_by != actor.name:
            raise NotAllowed(f"{bulk.created_by} chose these jobs; choose them yourself.")
        if bulk.started_at is None:
            if now - bulk.created_at > FRESH:
                raise Conflict("This preview is older than an hour. Choose the jobs again.")
            if action in {BulkAction.TAG, BulkAction.UNTAG}:
                bulk.tag = _one_tag(tag)
            if action is BulkAction.PAUSE:
                jobs.require_ahead(until, now)
                bulk.until = until
            bulk.reason = storable((reason or "").strip())[:2000] or None
            bulk.started_at = now
        entry.detail |= {"action": bulk.action, "jobs": len(bulk.targets), "from": bulk.position}
    return bulk


def _one_tag(tag: str | None) -> str:
    try:
        [only] = check_tags([tag or ""])
    except ValueError as error:
        message = str(error) if (tag or "").strip() else "Say which tag."
        raise Invalid.one("tag", message) from error
    return only


def undo(session: Session, bulk_id: int, *, actor: Actor) -> Bulk:
    """Decide to bring back the jobs that a removal of many has removed, and that are gone still.

    Returns that as an action of its own, which is started. Raises `NotAllowed`, `Conflict`.
    """
    removal = get(session, bulk_id)
    with audit.action(session, actor, "bulk.undo", str(bulk_id)) as entry:
        actor.require_role(BulkAction.RESTORE.role)
        if removal.action != BulkAction.REMOVE or removal.started_at is None:
            raise Conflict("Only a removal can be undone.")
        gone = removed_by(session, removal.created_by, since=removal.started_at)
        targets = [job_id for job_id in removal.targets if job_id in gone]
        if not targets:
            raise Conflict("None of these jobs is to be brought back: they exist, or are too old.")
        entry.detail["jobs"] = len(targets)
        undoing = _write(session, BulkAction.RESTORE, targets, actor)
    return start(session, undoing.id, actor=actor)


def go_on(session: Session, bulk_id: int, *, actor: Actor, settings: Settings) -> bool:
    """Act on the next few targets; return whether there are more."""
    bulk = get(session, bulk_id, lock=True)
    if bulk.started_at is None:
        raise Conflict("This was only previewed.")
    ids = bulk.targets[bulk.position : bulk.position + BATCH]
    # Locked in one order, so that two who act on many jobs never wait for each other in a circle.
    wanted = select(Job).where(Job.id.in_(ids)).order_by(Job.id).with_for_update()
    found = {job.id: job for job in session.scalars(wanted)}
    outcomes = [
        (job_id, _act(session, bulk, job_id, found.get(job_id), actor, settings)) for job_id in ids
    ]
    refused = [[job_id, why] for job_id, why in outcomes if why is not None]
    bulk.position += len(ids)
    bulk.refused += len(refused)
    if refused and len(bulk.why_refused) < REASONS:
        bulk.why_refused = [*bulk.why_refused, *refused]
    return bulk.position < len(bulk.targets)


def _act(
    session: Session, bulk: Bulk, job_id: str, job: Job | None, actor: Actor, settings: Settings
) -> str | None:
    """Act on one job; return why not, if that could not be done. A refusal undoes only itself."""
    action = BulkAction(bulk.action)
    if job is None and action is not BulkAction.RESTORE:
        return "It was removed meanwhile."
    if job is not None and (why := _why_not(action, job, bulk.tag)):
        return why
    try:
        with session.begin_nested():
            _do(session, bulk, job_id, actor, settings)
    except DashboardError as error:
        if error.refused is not None:
            session.add(error.refused)
        return str(error)
    return None


def _do(session: Session, bulk: Bulk, job_id: str, actor: Actor, settings: Settings) -> None:
    match BulkAction(bulk.action):
        case BulkAction.RUN:
            jobs.run_now(session, job_id, actor=actor)
        case BulkAction.PAUSE:
            jobs.pause_job(session, job_id, reason=bulk.reason, until=bulk.until, actor=actor)
        case BulkAction.RESUME:
            jobs.resume_job(session, job_id, actor=actor)
        case BulkAction.REMOVE:
            jobs.remove_job(session, job_id, actor=actor)
        case BulkAction.RESTORE:
            restore_job(session, job_id, actor=actor, settings=settings)
        case BulkAction.TAG | BulkAction.UNTAG:
            job = jobs.get_job(session, job_id)
            tags = _with_tag(job.tags, bulk.tag or "", add=bulk.action == BulkAction.TAG)
            jobs.change_job(
                session,
                job_id,
                {"tags": tags},
                version=job.version,
                actor=actor,
                settings=settings,
            )


def _with_tag(tags: Iterable[str], tag: str, *, add: bool) -> list[str]:
    others = [each for each in tags if each != tag]
    return [*others, tag] if add else others


def left_out(bulk: Bulk) -> list[LeftOut]:
    """Return which jobs were chosen but are not among the targets."""
    return [LeftOut(*each) for each in bulk.left_out]
