"""What stands before the pages where the app is all ours: who is in front, and by what name.

What a proxy says of a request (X-Forwarded-For, -Proto, -Host, X-Request-ID, who is signed in)
counts only if the connection comes from one of `trusted_proxies`; anybody can write headers.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import request
from werkzeug.exceptions import BadRequest

from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from dashboard.settings import Settings

TRUSTED = "dashboard.trusted_proxy"
"""In a request's environment: whether it came from a proxy whose word counts."""

REQUEST_ID = "dashboard.request_id"
"""In a request's environment: the name that a trusted proxy gave it."""

ANY_HOST = "*"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class WrongHost(BadRequest):
    """The request is for a name that is not ours."""

    description = (
        "This dashboard does not go by that name. Whoever looks after it can list the names it is"
        " reached by in DASHBOARD_ALLOWED_HOSTS, or set DASHBOARD_PUBLIC_URL."
    )


class TrustedProxies:
    """Let requests from trusted proxies look as they did when the proxy got them."""

    def __init__(
        self, app: WSGIApplication, networks: tuple[IPv4Network | IPv6Network, ...]
    ) -> None:
        self._app = app
        self._networks = networks

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        environ[TRUSTED] = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        if environ[TRUSTED]:
            self._believe(environ)
        return self._app(environ, start_response)

    def _believe(self, environ: WSGIEnvironment) -> None:
        chain = _parts(environ.get("HTTP_X_FORWARDED_FOR", ""))
        # Each proxy appends whom it heard from; the last that is no proxy of ours is the client.
        # What stands before it was written by the client itself.
        client = next((each for each in reversed(chain) if not self._is_trusted(each)), None)
        if client is not None and address_of(client) is not None:
            environ["REMOTE_ADDR"] = client
        if scheme := _last(environ, "HTTP_X_FORWARDED_PROTO", ("http", "https")):
            environ["wsgi.url_scheme"] = scheme
        if host := (_parts(environ.get("HTTP_X_FORWARDED_HOST", "")) or [""])[-1]:
            environ["HTTP_HOST"] = host
        if _REQUEST_ID.fullmatch(given := environ.get("HTTP_X_REQUEST_ID", "")):
            environ[REQUEST_ID] = given

    def _is_trusted(self, text: str) -> bool:
        address = address_of(text)
        return address is not None and any(address in network for network in self._networks)


def check_host() -> None:
    """Refuse a request for a name that is not ours: a page elsewhere can point its own name here.

    Addresses are let in unless `allowed_hosts` says who may; they cannot be made to lead here.
    """
    settings = dashboard_state().settings
    try:
        name = (urlsplit(f"//{request.host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if name in _names(settings) or ANY_HOST in settings.allowed_hosts:
        return
    address = address_of(name)
    if address is not None and (address.is_loopback or not settings.allowed_hosts):
        return
    raise WrongHost


def _names(settings: Settings) -> set[str]:
    """Return the names that lead here: this machine's, and those of the settings."""
    public = urlsplit(settings.public_url).hostname
    names = {"localhost", settings.host.lower(), *settings.allowed_hosts, public or "localhost"}
    return names if settings.allowed_hosts else names | {socket.gethostname().lower()}


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; None for anything else.

    Sockets that serve both protocols write IPv4 addresses as ::ffff:127.0.0.1.
    """
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _parts(header: str) -> list[str]:
    return [part for each in header.split(",") if (part := each.strip())]


def _last(environ: WSGIEnvironment, name: str, allowed: tuple[str, ...]) -> str | None:
    parts = _parts(environ.get(name, "").lower())
    return parts[-1] if parts and parts[-1] in allowed else None
