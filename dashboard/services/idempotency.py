"""Doing once what was asked twice: answers kept under the key that a program gave its request.

The answer is written by the transaction that did what was asked. So a program that lost its answer
(a time-out, a crash on either side) sends the request again, and it is done or answered, never both
done and forgotten. What was refused is not kept: nothing was done, and it may be tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from dashboard.errors import Conflict, Invalid
from dashboard.storage.models import ANSWER_KEPT, KeptAnswer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST_KEY = 255
FIELD = "Idempotency-Key"


class KeyInUse(Conflict):
    """Another request with the same key was faster by a moment."""

    def __init__(self) -> None:
        super().__init__(f"A request with this {FIELD} is just being answered. Send it again.")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that is to be done once: who sent it, under which key, and a hash of it."""

    token_id: int
    key: str
    request: str

    def __post_init__(self) -> None:
        """Refuse a key that cannot be one; raises `Invalid`."""
        if not 1 <= len(self.key) <= LONGEST_KEY or not (
            self.key.isascii() and self.key.isprintable()
        ):
            raise Invalid.one(FIELD, f"Must be 1 to {LONGEST_KEY} printable ASCII characters.")


def kept_answer(session: Session, ask: Ask) -> KeptAnswer | None:
    """Return the answer that the same request got before.

    Raises `Invalid` when the key was used for another request: that is a mistake of the program.
    """
    kept = session.get(KeptAnswer, (ask.token_id, ask.key))
    if kept is None or kept.at < datetime.now(UTC) - ANSWER_KEPT:
        return None
    if kept.request != ask.request:
        message = "This key was used for another request. Use a new key for every new request."
        raise Invalid.one(FIELD, message)
    return kept


def claim(session: Session, ask: Ask) -> KeptAnswer:
    """Take the key, as the first thing of the transaction that does what is asked.

    Returns the row to write the answer into. Raises `KeyInUse` when another request has the key:
    this one waits until the other's transaction has ended, and has changed nothing itself.
    """
    now = datetime.now(UTC)
    lapsed = KeptAnswer.token_id == ask.token_id, KeptAnswer.key == ask.key
    session.execute(delete(KeptAnswer).where(*lapsed, KeptAnswer.at < now - ANSWER_KEPT))
    row = KeptAnswer(
        token_id=ask.token_id, key=ask.key, request=ask.request, at=now, status=0, body=""
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise KeyInUse from error
    return row
