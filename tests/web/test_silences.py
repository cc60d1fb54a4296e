from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dashboard.errors import Invalid
from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import JobHealth, Role, RunState
from dashboard.web.times import read_until
from tests.rows import make_job
from tests.web.site import HTMX, buttons, parse, words

if TYPE_CHECKING:
    from tests.web.site import Site

NOW = datetime.now(UTC)
HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(autouse=True)
def _failing(site: Site) -> None:
    site.add(make_job("nightly", name=HOSTILE, next_run_time=NOW + timedelta(hours=1)))
    fail(site)


def fail(site: Site, number: int = 1, fingerprint: str = "abc") -> None:
    run = FinishedRun(
        number, "nightly", RunState.FAILED, NOW, NOW, 1.0, HOSTILE, fingerprint=fingerprint
    )
    with site.database.write() as session:
        count_finished(session.connection(), [run])


def test_acknowledging_without_javascript(site: Site) -> None:
    page = site.get("/jobs/nightly/acknowledge")
    assert [label.text for label in page.select("main label")] == ["Reason", "Until", "Or until"]
    assert buttons(page) == ["Acknowledge"]
    assert "its error stays open on Errors" in words(page, "main")
    answer = site.post("/jobs/nightly/acknowledge", reason=HOSTILE, until="4h")
    assert answer.status_code == 303
    page = site.get("/")
    assert words(page, ".verdict.tone-quiet") == "1 known"
    assert f"{HOSTILE} {HOSTILE} failing" in words(page, "#silenced tbody")
    assert "acknowledged by admin" in words(page, "#silenced tbody")
    assert f": {HOSTILE}" in words(page, "#silenced tbody")
    assert not page.select("main script")
    assert buttons(page) == ["End"]


def test_in_place(site: Site) -> None:
    dialog = parse(site.client.get("/jobs/nightly/snooze", headers=HTMX))
    assert dialog.select("html") == []
    form = dialog.select_one("form")
    assert form is not None
    assert form["hx-post"] == "/jobs/nightly/snooze"
    answer = site.post("/jobs/nightly/snooze", in_place=True, until="1d")
    assert answer.headers["HX-Trigger"] == "refresh-live"
    assert "is snoozed until" in parse(answer).text
    assert site.woken == ["now"]


def test_the_job_says_who_knows_and_offers_to_end_it(site: Site) -> None:
    site.post("/jobs/nightly/acknowledge", reason="the vendor knows")
    page = site.get("/jobs/nightly")
    notice = words(page, "#job .banner-info")
    assert "until it recovers: the vendor knows" in notice
    assert "End acknowledgement" in buttons(page)
    assert "Acknowledge" not in buttons(page)
    site.post("/jobs/nightly/unsilence")
    page = site.get("/jobs/nightly")
    assert not page.select("#job .banner-info")
    assert "Acknowledge" in buttons(page)


def test_another_failure_is_marked_as_new(site: Site) -> None:
    site.post("/jobs/nightly/acknowledge", reason="known")
    fail(site, 2, "xyz")
    assert "new kind of failure Before: acknowledged by admin" in words(
        site.get("/"), ".problems tbody"
    ).replace(HOSTILE, "").replace("  ", " ")
    assert "which is news" in words(site.get("/jobs/nightly"), "#job .banner-info")


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("action", ["acknowledge", "snooze"])
def test_a_time_that_is_none_is_told_beside_its_field_and_nothing_happens(
    site: Site, action: str, in_place: bool
) -> None:
    typed = {"reason": "the vendor knows", "until_time": "tomorrowish"}
    answer = site.post(f"/jobs/nightly/{action}", in_place=in_place, **typed)
    assert answer.status_code == 422
    page = parse(answer)
    assert "“tomorrowish” is no time. Write 90min" in words(page, ".ask .field-errors")
    assert {name: page.select_one(f"[name={name}]")["value"] for name in typed} == typed  # type: ignore[index]
    assert action.capitalize() in words(page, ".ask button[type=submit]")
    assert (page.select_one("html") is None) is in_place
    with site.database.read() as session:
        assert session.get_one(JobHealth, "nightly").silence is None


def test_viewers_see_who_knows_without_buttons(site: Site) -> None:
    site.post("/jobs/nightly/acknowledge")
    site.sign_in(Role.VIEWER)
    assert buttons(site.get("/")) == []
    assert "End acknowledgement" not in buttons(site.get("/jobs/nightly"))


class TestUntil:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", None),
            ("90min", NOW + timedelta(minutes=90)),
            ("4 h", NOW + timedelta(hours=4)),
            ("2W", NOW + timedelta(weeks=2)),
        ],
    )
    def test_lengths(self, text: str, expected: datetime | None) -> None:
        assert read_until({"until": text}, UTC, NOW) == expected

    def test_what_is_typed_comes_first(self) -> None:
        moment = (NOW + timedelta(days=3)).replace(second=0, microsecond=0)
        form = {"until": "1h", "until_time": f"{moment:%Y-%m-%d %H:%M}"}
        assert read_until(form, UTC, NOW) == moment

    @pytest.mark.parametrize(
        "text",
        ["0h", "400d", "999999w", "2020-01-01", "0001-01-01", "9999-12-31", "x", "\0", "٣h" * 9],
    )
    def test_what_is_no_time_ahead(self, text: str) -> None:
        with pytest.raises(Invalid) as refusal:
            read_until({"until_time": text}, UTC, NOW)
        assert [error.field for error in refusal.value.errors] == ["until"]
