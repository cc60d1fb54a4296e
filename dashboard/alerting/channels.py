"""Where alerts go: web addresses get JSON, everything else is Apprise's.

A channel's address holds secrets. It is never logged nor shown again: `shown` is what people see,
and `sealed` is how it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dashboard.alerting import post
from dashboard.alerting.post import Undelivered
from dashboard.alerting.wording import title_of
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.vault import Vault

LONGEST = 2000

_PLAIN = frozenset(
    (
        *("alert", "alerts", "api", "hook", "hooks", "incoming", "notifications", "notify"),
        *("services", "test", "v1", "v2", "v3", "webhook", "webhooks"),
    )
)
"""Parts of paths that tell nothing secret."""

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}(?=://)")

_MASKED = re.compile(r"… \([0-9a-f]{6}\)$")

_OURS = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})
"""Schemes of Apprise that post to any address; ours does so with more care."""


def check(address: object) -> str:
    """Return a channel's address; raises `ValueError` with a sentence about what is wrong."""
    if not isinstance(address, str) or not is_storable(address) or not address.isprintable():
        raise ValueError("A channel is an address of printable characters.")
    address = address.strip()
    if is_masked(address):
        raise ValueError("This stands for no channel that the rule has; enter the address itself.")
    if len(address) > LONGEST:
        raise ValueError(f"A channel's address has at most {LONGEST:,} characters.")
    scheme = _SCHEME.match(address)
    if scheme is None:
        raise ValueError(
            "A channel is an address with a scheme: https://… for a webhook, or one of Apprise's,"
            " such as mailto://… or slack://…"
        )
    if is_web(address):
        post.target_of(address)
    else:
        _check_apprise(address, scheme[0].lower())
    return address


def is_web(address: str) -> bool:
    """Say whether a channel gets JSON by POST."""
    return address.lower().startswith(("http://", "https://"))


def shown(address: str) -> str:
    """Return what people may see of a channel: enough to know it by, nothing that lets one in.

    What is left out is told apart by a few characters of its hash.
    """
    parts = urlsplit(address) if is_web(address) else None
    if parts is None:
        text = f"{address.partition('://')[0].lower()}://…"
    else:
        text = f"{parts.scheme}://{(parts.netloc.rpartition('@')[2])}"
        for part in parts.path.split("/")[1:]:
            if part not in _PLAIN and not (part == "" and not parts.query):
                break
            text += f"/{part}"
        if text == address:
            return text
        text += "…" if text.endswith("/") else "/…"
    return f"{text} ({hashlib.sha256(address.encode()).hexdigest()[:6]})"


def is_masked(text: str) -> bool:
    """Say whether this is what `shown` tells of an address, and not the address itself."""
    return _MASKED.search(text) is not None


def sealed(address: str, vault: Vault) -> dict[str, str]:
    """Return a channel as it is kept: what people may see of it, and its address encrypted."""
    return {"shown": shown(address), "sealed": vault.encrypt(address)}


def send(address: str, payload: dict[str, Any], begin: Callable[[], None]) -> None:
    """Send an alert; `begin` is called in the last moment before something leaves.

    Raises `Undelivered`.
    """
    if is_web(address):
        body = json.dumps(payload, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": payload["id"]}
        post.request("POST", address, body=body, headers=headers, begin=begin)
    else:
        _send_by_apprise(address, payload, begin)


def _check_apprise(address: str, scheme: str) -> None:
    if scheme in _OURS:
        raise ValueError(f"For a webhook give its https:// address instead of {scheme}://.")
    post.refuse_literal(address)
    if _plugin(address) is None:
        raise ValueError(f"Apprise does not understand this {scheme}:// address.")


def _plugin(address: str) -> Any:
    """Return what sends to an address; None when Apprise makes nothing of it."""
    apprise = _apprise()
    try:
        return apprise.Apprise.instantiate(address)
    except Exception:  # noqa: BLE001 -- over a hundred plugins read it, each in its own way
        return None


def _apprise() -> Any:
    try:
        import apprise  # noqa: PLC0415 -- an extra, and slow to import
    except ImportError:
        raise ValueError(
            "Channels other than http:// and https:// need the package Apprise:"
            " pip install 'apscheduler-dashboard[alerts]'"
        ) from None
    return apprise


def _send_by_apprise(address: str, payload: dict[str, Any], begin: Callable[[], None]) -> None:
    try:
        post.refuse_literal(address)
        channel = _plugin(address)
    except ValueError as error:
        raise Undelivered(str(error), for_good=True) from None
    if channel is None:
        raise Undelivered("Apprise does not understand this address.", for_good=True)
    body, url = payload["message"], payload["url"]
    if url and url not in body:
        body += f"\n{url}"
    begin()
    try:
        accepted = channel.notify(title=title_of(payload), body=body)
    except Exception as error:  # noqa: BLE001 -- a plugin's fault may say anything, secrets too
        raise Undelivered(f"Apprise failed: {type(error).__name__}") from None
    if not accepted:
        raise Undelivered("Apprise could not deliver it; the log of this process may say why.")
