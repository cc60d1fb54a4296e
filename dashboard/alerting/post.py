"""One request to an address that people gave: bounded in time and size, and not to everywhere.

The address is resolved here and connected to as resolved, so that what was checked is what is
used. Where clouds keep their machines' credentials nothing is sent, redirects are not followed, and
proxies of the environment are not used.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Number = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT = 5.0
"""Seconds for a connection to one address of a host."""

DEADLINE = 15.0
"""Seconds for everything else."""

LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; it is good for nothing but its first line in an error."""

AGAIN = frozenset({408, 425, 429})
"""Refusals that may pass by themselves, as every 5xx may."""

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")

_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: nearly every cloud
        "fe80::/10",
        "fd00:ec2::254",  # Amazon
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
    )
]
_WRAPPING = [
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a site's own
    )
]
"""IPv6 addresses whose last four bytes are the IPv4 address that is meant."""

_NOT_THERE = "Link-local addresses, and those of clouds' own services, are refused."


class Undelivered(Exception):
    """It did not work, and why; `for_good` when trying again cannot help."""

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good


@dataclass(frozen=True, slots=True)
class Target:
    """A web address in its parts."""

    secure: bool
    host: str
    port: int
    path: str
    authorization: str | None = field(repr=False)

    @property
    def host_header(self) -> str:
        """The host as requests name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def target_of(address: str) -> Target:
    """Take a web address apart; raises `ValueError` with a sentence about what is wrong."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except (ValueError, UnicodeError):
        raise ValueError("This is no web address.") from None
    if not _HOST.fullmatch(host):
        raise ValueError("This web address names no host.")
    refuse_literal(address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or " " in path:
        raise ValueError("Encode what is not plain ASCII in the path of a web address (%20).")
    secure = parts.scheme.lower() == "https"
    return Target(secure, host, port or (443 if secure else 80), path, _authorization(parts.netloc))


def refuse_literal(address: str) -> None:
    """Raise `ValueError` for an address whose host is a number, in any notation, of a cloud's."""
    try:
        host = (urlsplit(address).hostname or "").partition("%")[0]
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return
    if any(is_refused(str(entry[4][0])) for entry in found):
        raise ValueError(_NOT_THERE)


def is_refused(number: str) -> bool:
    """Say whether nothing may be sent there, however the number is wrapped."""
    meant = _meant_by(ipaddress.ip_address(number.partition("%")[0]))
    return any(one in network for one in meant for network in _REFUSED)


def _meant_by(number: Number) -> Iterator[Number]:
    """Yield a number and the IPv4 addresses that it may stand for."""
    yield number
    if isinstance(number, ipaddress.IPv6Address):
        if any(number in network for network in _WRAPPING):
            yield ipaddress.IPv4Address(int(number) & 0xFFFF_FFFF)
        if number.sixtofour is not None:
            yield number.sixtofour
        yield from number.teredo or ()


def request(
    method: str,
    address: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] = {},
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Make one request and see it accepted; `begin` is called before its first byte leaves.

    Raises `Undelivered`; its reason never holds more of the address than its host.
    """
    try:
        target = target_of(address)
    except ValueError as error:
        raise Undelivered(str(error), for_good=True) from None
    with _connected(target) as connection:
        begin()
        try:
            answer = _exchange(connection, target, method, body, headers)
        except TimeoutError:
            raise Undelivered(f"{target.host} did not answer within {DEADLINE:g} s.") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            what = type(error).__name__
            raise Undelivered(f"{target.host} broke off the exchange ({what}).") from None
    _judge(answer, target)


def _judge(status: int, target: Target) -> None:
    if 200 <= status < 300:  # noqa: PLR2004 -- accepted, in HTTP's numbers
        return
    if 300 <= status < 400:  # noqa: PLR2004 -- elsewhere
        reason = f"{target.host} answered {status}; redirects are not followed."
        raise Undelivered(reason, for_good=True)
    again = status >= 500 or status in AGAIN  # noqa: PLR2004 -- the server's fault
    raise Undelivered(f"{target.host} answered {status}.", for_good=not again)


@contextlib.contextmanager
def _connected(target: Target) -> Iterator[http.client.HTTPConnection]:
    """Connect, and cut the connection when all of it takes too long."""
    plain = _connect(target)
    line = plain.dup()  # TLS takes the socket over, and leaves nothing of it to cut
    cut = threading.Timer(DEADLINE, _cut, [line])
    cut.daemon = True
    cut.start()
    try:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=DEADLINE)
        connection.sock = _secured(plain, target) if target.secure else plain
        yield connection
    finally:
        cut.cancel()
        line.close()
        plain.close()
        with contextlib.suppress(UnboundLocalError, OSError):
            connection.close()


def _connect(target: Target) -> socket.socket:
    reason = ""
    for number in _numbers(target):
        try:
            made = socket.create_connection((number, target.port), timeout=CONNECT)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            continue
        made.settimeout(DEADLINE)
        return made
    raise Undelivered(f"{target.host} cannot be reached: {reason}.")


def _numbers(target: Target) -> list[str]:
    """Resolve the host; one refused address among several is reason enough to refuse it."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Undelivered(f"The host {target.host} is not known.") from None
    numbers = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if any(is_refused(number) for number in numbers):
        raise Undelivered(_NOT_THERE, for_good=True)
    return numbers


def _secured(plain: socket.socket, target: Target) -> ssl.SSLSocket:
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        reason = f"The certificate of {target.host} is not valid: {error.verify_message}."
        raise Undelivered(reason) from None
    except OSError as error:
        reason = f"{target.host} speaks no TLS there ({type(error).__name__})."
        raise Undelivered(reason) from None


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


def _exchange(
    connection: http.client.HTTPConnection,
    target: Target,
    method: str,
    body: bytes,
    headers: Mapping[str, str],
) -> int:
    """Send the request and return the status of its answer, whose text is read and dropped."""
    connection.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
    sent = {
        "Host": target.host_header,
        "User-Agent": "apscheduler-dashboard",
        "Connection": "close",
        **headers,
    }
    if target.authorization:
        sent["Authorization"] = target.authorization
    if body:
        sent["Content-Length"] = str(len(body))
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body or None)
    answer = connection.getresponse()
    answer.read(LONGEST_ANSWER)
    return answer.status


def _authorization(netloc: str) -> str | None:
    """Return what a name and a password before the host mean."""
    credentials, at, _host = netloc.rpartition("@")
    if not at:
        return None
    name, _, password = credentials.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
