"""Fetching a web address to see whether it answers: http and https, bounded in size and time."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from email.message import Message

MOST_BYTES = 1024 * 1024
_PIECE = 64 * 1024
_USER_AGENT = "apscheduler-dashboard"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or why nothing did."""

    url: str
    """Without a password, fit to be shown."""
    seconds: float
    status: int = 0
    reason: str = ""
    text: str = ""
    """The beginning of the body, at most 1 MiB of it."""
    problem: str = ""


def fetch(url: str, *, timeout: float) -> Answer:
    """Fetch an address; whatever goes wrong comes back as an answer with a `problem`.

    `timeout` bounds each wait and the body as a whole, also against a server that sends a byte now
    and then. Proxies are taken from the environment, redirects followed; every status is an answer.
    """
    start = time.monotonic()
    shown, account = split_account(url)
    try:
        with _open(shown, account, timeout) as response:
            body = _read(response, start + timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(shown, time.monotonic() - start, problem=_problem(error, timeout))
    return Answer(
        shown,
        time.monotonic() - start,
        status=response.status,
        reason=response.reason or "",
        text=_decoded(body, response.headers),
    )


def split_account(url: str) -> tuple[str, str]:
    """Return the address without user name and password, fit to be shown, and these."""
    try:
        parts = urlsplit(url)
        account, _at, place = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=place)), account
    except ValueError:
        return "(not an address)", ""


def _open(url: str, account: str, timeout: float) -> Any:
    """Open an address with these handlers and no others: `file:` and `ftp:` must not work."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("only http:// and https:// addresses can be fetched")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})  # noqa: S310 - checked
    if account:
        basic = base64.b64encode(unquote(account).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        return error  # which is a response, too


def _read(response: Any, deadline: float) -> bytes:
    pieces: list[bytes] = []
    length = 0
    while length < MOST_BYTES and (piece := response.read1(_PIECE)):
        pieces.append(piece)
        length += len(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(pieces)[:MOST_BYTES]


def _decoded(body: bytes, headers: Message) -> str:
    try:
        return body.decode(headers.get_content_charset() or "utf-8", errors="replace")
    except (LookupError, ValueError):  # no such character set, or one that cannot replace
        return body.decode(errors="replace")


def _problem(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no whole answer within {timeout:g} s"
    text = getattr(cause, "strerror", None) or str(cause)
    return text.rstrip(".") or type(cause).__name__
