"""Sending what is in the outbox, by any process, one message after another in each thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dashboard.alerting import channels, outbox
from dashboard.alerting.post import Undelivered
from dashboard.vault import SecretUnreadable

if TYPE_CHECKING:
    from dashboard.alerting.outbox import Parcel
    from dashboard.storage.db import Database
    from dashboard.vault import Vault

logger = logging.getLogger(__name__)


class ClaimLost(Exception):
    """It took so long that another process has taken this one for dead."""


class Sender:
    """What the sending threads of one process do."""

    def __init__(self, database: Database, process: str, vault: Vault) -> None:
        self._database = database
        self._process = process
        self._vault = vault

    def send_one(self, pause: float) -> float:
        """Send what is due first; return the seconds until the next look, `pause` when idle."""
        with self._database.read() as session:
            if not outbox.anything_due(session):
                return pause
        with self._database.write() as session:
            outbox.settle_lost(session)
            parcel = outbox.claim(session, self._process)
        if parcel is None:
            return pause
        self._send(parcel)
        return 0.0

    def _send(self, parcel: Parcel) -> None:
        try:
            address = self._address_of(parcel)
            channels.send(address, parcel.payload, lambda: self._begin(parcel))
        except Undelivered as problem:
            with self._database.write() as session:
                last = outbox.fail(
                    session, parcel, self._process, str(problem), for_good=problem.for_good
                )
            if last:
                logger.warning("alert %d is given up: %s", parcel.id, problem)
        except ClaimLost:
            logger.warning("alert %d took too long to begin; it is tried again", parcel.id)
        else:
            with self._database.write() as session:
                outbox.succeed(session, parcel, self._process)

    def _address_of(self, parcel: Parcel) -> str:
        """Unseal an address. With another key it is tried again: the right one may come back."""
        try:
            return self._vault.decrypt(parcel.address)
        except SecretUnreadable:
            raise Undelivered(str(SecretUnreadable("The channel's address"))) from None

    def _begin(self, parcel: Parcel) -> None:
        with self._database.write() as session:
            if not outbox.begin(session, parcel, self._process):
                raise ClaimLost
