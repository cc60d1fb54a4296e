"""Pages tell times as the clocks of whoever looks do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from dashboard.storage.models import User
from tests.rows import make_job
from tests.web.site import HTMX, Site, words

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
UTC_NOON, BERLIN_NOON = "2027-03-01 12:00:00 UTC", "2027-03-01 13:00:00 CET"


def profile(site: Site, zone: str) -> None:
    with site.database.write() as session:
        session.execute(update(User).values(timezone=zone))


@pytest.fixture(autouse=True)
def _job(site: Site) -> None:
    site.add(make_job("a", next_run_time=NOON))


@pytest.mark.parametrize(
    ("cookie", "chosen", "told"),
    [
        ("", "", UTC_NOON),
        ("Europe/Berlin", "", BERLIN_NOON),
        ("America/New_York", "Europe/Berlin", BERLIN_NOON),
        ("Europe/Atlantis", "", UTC_NOON),
        ("../../etc/passwd", "", UTC_NOON),
        ("x" * 4000, "", UTC_NOON),
        ("Europe/Berlin", "Europe/Atlantis", BERLIN_NOON),
    ],
)
def test_the_profile_counts_then_the_browser_then_the_dashboard(
    site: Site, cookie: str, chosen: str, told: str
) -> None:
    if cookie:
        site.client.set_cookie("dashboard_zone", cookie)
    profile(site, chosen)
    for address in ("/jobs", "/jobs/a/run"):
        assert told in words(site.get(address))


def test_another_zone_is_another_answer_to_a_poll(site: Site) -> None:
    tag = site.client.get("/jobs", headers=HTMX).headers["ETag"]
    headers = HTMX | {"If-None-Match": tag}
    assert site.client.get("/jobs", headers=headers).status_code == 304
    site.client.set_cookie("dashboard_zone", "Europe/Berlin")
    assert site.client.get("/jobs", headers=headers).status_code == 200


def test_times_that_are_typed_are_those_of_the_same_clock(site: Site) -> None:
    site.client.set_cookie("dashboard_zone", "Asia/Tokyo")
    page = site.get("/runs?since=2027-03-01+21:00&until=2027-03-01+21:30")
    assert "2027-03-01 21:00" in words(page)


def test_every_place_has_a_key_of_its_own(site: Site) -> None:
    page = site.get("/")
    keys = [str(link["data-shortcut"]) for link in page.select("[data-shortcut]")]
    assert len(keys) == len(set(keys))
    assert {"g n", "g j", "g r", "?"} <= set(keys)
