"""Somebody else who uses the dashboard at the same time as the person in the browser."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.e2e.product import ADMIN, PASSWORD
from tests.factories import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import APIRequestContext, APIResponse, Playwright, StorageState

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_RUN = re.compile(r'href="(/runs/[0-9]+)"')
_ERROR = re.compile(r'href="(/errors/[0-9a-f]+)"')
HOURLY = {"trigger.type": "interval", "trigger.every": "1", "trigger.unit": "hours"}


def sign_in(playwright: Playwright, url: str) -> StorageState:
    """Sign in without a browser, and return the cookies."""
    remote = playwright.request.new_context(base_url=url)
    token = _token(remote.get("/login"))
    answer = remote.post(
        "/login",
        form={"csrf_token": token, "name": ADMIN, "password": PASSWORD},
        max_redirects=0,
    )
    assert answer.status == 303, _complaint(answer)
    state = remote.storage_state()
    remote.dispose()
    return state


@dataclass
class Colleague:
    """Acts by plain forms, as a browser without JavaScript would."""

    remote: APIRequestContext
    added: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def at(cls, playwright: Playwright, url: str, cookies: StorageState) -> Iterator[Colleague]:
        """Let somebody act at the dashboard at `url`."""
        remote = playwright.request.new_context(base_url=url, storage_state=cookies)
        yield cls(remote)
        remote.dispose()

    def tidy_up(self) -> None:
        """Remove the jobs that were added, unless somebody did already."""
        for job in self.added:
            self._post(f"{job}/remove", {})

    def add(self, name: str, task: str = "tests.greet", **fields: str) -> str:
        """Add a job, hourly unless `fields` say otherwise, and return its address.

        The fields of a form have points in their names: `**{"parameters.times": "3"}`.
        """
        trigger = {} if "trigger.type" in fields else HOURLY
        answer = self._post("/jobs/new", {"name": name, "task": task, **trigger, **fields})
        address = urlsplit(answer.url).path
        assert address != "/jobs/new", _complaint(answer)
        self.added.append(address)
        return address

    def change(self, job: str, version: int, **fields: str) -> None:
        """Save some fields of a job, as its version `version` was."""
        answer = self._post(f"{job}/edit", {"version": str(version), **fields})
        assert answer.ok, _complaint(answer)

    def act(self, job: str, action: str, **fields: str) -> None:
        """Run, pause, resume or remove a job."""
        answer = self._post(f"{job}/{action}", fields)
        assert answer.ok, _complaint(answer)

    def run(self, job: str, state: str) -> str:
        """Run a job, wait until the run has ended in `state`, and return the run's address."""
        before = self._runs(job, state)
        self.act(job, "run")
        new: set[str] = wait_until(lambda: self._runs(job, state) - before)
        return new.pop()

    def ask_for_alerts(self, job: str, channel: str, settle: str) -> None:
        """Add a rule that tells `channel` when a job fails and when it is well again."""
        about = {"name": job, "on": "failing", "after": "1", "enabled": "true"}
        scope = {"scope": "jobs", "names": job.removeprefix("/jobs/"), "channels": channel}
        settled = {"settle_seconds": settle, "notify_recovery": "true"}
        answer = self._post("/alerts/new", {**about, **scope, **settled})
        assert urlsplit(answer.url).path == "/alerts", _complaint(answer)

    def error_of(self, run: str) -> str:
        """Return the address of the error that a run met."""
        addresses = _ERROR.findall(self.remote.get("/errors?sort=last&show=all").text())
        run_id = run.removeprefix("/runs/")
        for address in addresses:
            if f"/runs/{run_id}" in self.remote.get(address).text():
                found: str = address
                return found
        raise AssertionError(f"no error leads to {run}")

    def _runs(self, job: str, state: str) -> set[str]:
        page = self.remote.get("/runs", params={"job": job.removeprefix("/jobs/"), "state": state})
        return set(_RUN.findall(page.text()))

    def _post(self, address: str, form: dict[str, str]) -> APIResponse:
        token = _token(self.remote.get("/jobs/new"))
        return self.remote.post(address, form={"csrf_token": token, **form})


def _token(page: APIResponse) -> str:
    found = _TOKEN.search(page.text())
    assert found, _complaint(page)
    return found[1]


def _complaint(answer: APIResponse) -> str:
    """Say what went wrong without printing a whole page."""
    messages = re.findall(r"<h[12][^>]*>(.*?)</h|<p[^>]*>(.*?)</p>", answer.text(), re.DOTALL)
    return f"{answer.status} for {answer.url}: {messages[:10]}"
