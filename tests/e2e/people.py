"""Somebody else who uses the dashboard at the same time as the person in the browser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.e2e.product import ADMIN, PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import APIRequestContext, APIResponse, Playwright, StorageState

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
HOURLY = {"trigger.type": "interval", "trigger.every": "1", "trigger.unit": "hours"}
EVERY_SECOND = {"trigger.type": "interval", "trigger.every": "1", "trigger.unit": "seconds"}


def sign_in(playwright: Playwright, url: str) -> StorageState:
    """Sign in without a browser, and return the cookies."""
    remote = playwright.request.new_context(base_url=url)
    form = {"csrf_token": _token(remote.get("/login")), "name": ADMIN, "password": PASSWORD}
    answer = remote.post("/login", form=form, max_redirects=0)
    assert answer.status == 303, answer.text()
    state = remote.storage_state()
    remote.dispose()
    return state


@dataclass
class Colleague:
    """Acts by plain forms, as a browser without JavaScript would."""

    remote: APIRequestContext
    added: list[str] = field(default_factory=list)

    def add(self, name: str, task: str = "tests.greet", **fields: str) -> str:
        """Add a job, hourly unless `fields` say otherwise, and return its address.

        The fields of a form have points in their names: `**{"parameters.times": "3"}`.
        """
        trigger = {} if "trigger.type" in fields else HOURLY
        answer = self._post("/jobs/new", {"name": name, "task": task, **trigger, **fields})
        address = urlsplit(answer.url).path
        assert address != "/jobs/new", answer.text()
        self.added.append(address)
        return address

    def change(self, job: str, version: int, **fields: str) -> None:
        """Save some fields of a job, as its version `version` was."""
        answer = self._post(f"{job}/edit", {"version": str(version), **fields})
        assert answer.ok, answer.text()

    def act(self, job: str, action: str, **fields: str) -> None:
        """Run, pause, resume or remove a job."""
        answer = self._post(f"{job}/{action}", fields)
        assert answer.ok, answer.text()

    def remove_all(self) -> None:
        """Remove what was added, unless it is gone already."""
        for job in self.added:
            self._post(f"{job}/remove", {})

    def _post(self, address: str, form: dict[str, str]) -> APIResponse:
        token = _token(self.remote.get("/jobs/new"))
        return self.remote.post(address, form={"csrf_token": token, **form})


def _token(page: APIResponse) -> str:
    found = _TOKEN.search(page.text())
    assert found, page.text()
    return found[1]
