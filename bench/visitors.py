"""Somebody signed in who opens pages: within this process, or over the network."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

NAME, PASSWORD = "admin", "bench-only-password"
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float


class Visitor(Protocol):
    """Somebody who sends requests and waits for the whole answer."""

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Open a page."""

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""


class InProcess:
    """Calls the WSGI app directly, so that only the app is measured."""

    def __init__(self, app: Flask) -> None:
        """Visit `app`."""
        self._client = app.test_client()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Open a page."""
        began = time.perf_counter()
        response = self._client.get(path, headers=dict(headers or {}))
        body = response.get_data()
        seconds = time.perf_counter() - began
        return Answer(response.status_code, body, dict(response.headers), seconds)

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        response = self._client.post(path, data=form)
        return Answer(response.status_code, response.get_data(), dict(response.headers), 0.0)


class OverNetwork:
    """Speaks HTTP over one kept connection, as a browser does."""

    def __init__(self, url: str) -> None:
        """Visit the server at `url`."""
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._cookies: dict[str, str] = {}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Open a page."""
        return self._send("GET", path, None, dict(headers or {}))

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", path, urlencode(form), kind)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        if self._cookies:
            headers["Cookie"] = "; ".join(map("=".join, self._cookies.items()))
        began = time.perf_counter()
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        text = response.read()
        seconds = time.perf_counter() - began
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return Answer(response.status, text, dict(response.headers), seconds)


def sign_in(visitor: Visitor) -> None:
    """Sign in by the form, as a person does."""
    found = TOKEN.search(visitor.get("/login").body.decode())
    if found is None:
        raise RuntimeError("the sign-in page has no form token")
    form = {"name": NAME, "password": PASSWORD, "csrf_token": found[1]}
    answer = visitor.post("/login", form)
    if answer.status != HTTPStatus.SEE_OTHER:
        raise RuntimeError(f"signing in was answered with {answer.status}")
