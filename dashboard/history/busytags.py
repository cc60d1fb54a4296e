"""How many runs of each tag are being executed, for the limits that tags may have."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import Text, cast, select, text, union_all

from dashboard.storage.models import SENT_RUN, Job, Run

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TAGS = select(cast(Job.tags, Text).label("tags")).join(Run, Run.job_id == Job.id)
_BUSY = union_all(_TAGS.where(text("run.state = 'running'")), _TAGS.where(text(SENT_RUN)))


def busy_tags(connection: Connection) -> Counter[str]:
    """Count running runs, and those on their way to a worker, by tag: as many as have a place."""
    return Counter(tag for tags in connection.scalars(_BUSY) for tag in json.loads(tags))
