"""Acting on many jobs, by the forms that a browser sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.storage.models import Job, Role
from dashboard.web import bulk
from tests.rows import make_job
from tests.web.site import Site, buttons, links, parse, words, words_of

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

PAUSED = {"paused_at": datetime(2026, 1, 1, tzinfo=UTC), "next_run_time": None}


def choose(site: Site, action: str, *ids: str, **fields: str) -> TestResponse:
    data = {"csrf_token": site.token(), "action": action, "job": list(ids), **fields}
    return site.client.post("/jobs/bulk", data=data)


def paused(site: Site) -> list[str]:
    with site.database.read() as session:
        wanted = select(Job.id).where(Job.paused_at.is_not(None)).order_by(Job.id)
        return list(session.scalars(wanted))


def test_a_preview_names_the_jobs_and_then_does_it(site: Site) -> None:
    site.add(make_job("a", name="A <b>"), make_job("b"), make_job("c", **PAUSED))
    answer = choose(site, "pause", "a", "c")
    assert answer.status_code == 303
    page = site.get(answer.location)
    text = words(page)
    assert "Pause: 1 job?" in text
    assert "A <b>" in text
    assert "Left out Paused already. 1 job c" in text
    assert paused(site) == ["c"]
    done = site.post(answer.location, reason="Month end")
    assert done.status_code == 303
    assert paused(site) == ["a", "c"]
    text = words(site.get(done.location))
    assert "1 job paused" in text
    assert "Month end" in words(site.get("/jobs/a"))


def test_all_that_match_are_chosen_by_the_search(site: Site) -> None:
    site.add(*(make_job(f"j{number}", tags=["x"]) for number in range(60)), make_job("other"))
    page = site.get("/jobs?q=tag:x")
    form = page.select_one("form#bulk")
    assert form is not None
    assert "All 60 that match" in words(page, "form#bulk")
    answer = choose(site, "pause", "j1", all="1", q="tag:x")
    page = site.get(answer.location)
    assert "Pause: 60 jobs?" in words(page)
    assert "and 10 more" in words(page)
    site.post(answer.location)
    assert len(paused(site)) == 60
    assert "60 jobs paused" in words(site.get(answer.location))


def test_the_list_offers_what_a_role_may_do(site: Site) -> None:
    site.add(make_job("a"))

    def offered() -> list[str]:
        return [words_of(button) for button in site.get("/jobs").select("#bulk button")]

    everything = ["Run now…", "Pause…", "Resume…", "Add tag…", "Remove tag…", "Remove…", "Export"]
    assert offered() == everything
    site.sign_in(Role.OPERATOR)
    assert offered() == [*everything[:3], "Export"]
    assert choose(site, "remove", "a").status_code == 403
    site.sign_in(Role.VIEWER)
    assert offered() == []
    assert not site.get("/jobs").select("[name=job]")
    assert choose(site, "run", "a").status_code == 403


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "pause"}, "Choose at least one job"),
        ({"action": "explode", "job": "a"}, "Choose what to do"),
        ({"job": "a"}, "Choose what to do"),
        ({"action": "pause", "all": "1", "q": "state:pasued"}, "“pasued” is no state"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    site: Site, fields: dict[str, Any], said: str
) -> None:
    site.add(make_job("a"))
    answer = site.post("/jobs/bulk", **fields)
    assert answer.status_code == 422
    assert said in words(parse(answer))
    assert paused(site) == []


def test_a_tag_is_asked_for(site: Site) -> None:
    site.add(make_job("a"))
    place = choose(site, "tag", "a").location
    wrong = site.post(place, tag="two words")
    assert wrong.status_code == 422
    page = parse(wrong)
    assert "A tag is one word" in words(page)
    assert page.select_one("input[name=tag]")["value"] == "two words"  # type: ignore[index]
    assert site.post(place, tag="ops").status_code == 303
    assert "1 job given the tag “ops”" in words(site.get(place))


def test_what_one_request_cannot_finish_waits_to_be_gone_on_with(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(*(make_job(f"j{number}") for number in range(70)))
    place = choose(site, "pause", all="1", q="").location
    monkeypatch.setattr(bulk, "PATIENCE", -1)
    site.post(place, reason="why")
    page = site.get(place)
    assert "0 of 70 jobs dealt with" in words(page)
    assert "Go on" in buttons(page)
    monkeypatch.undo()
    site.post(place)
    assert "70 jobs paused" in words(site.get(place))


def test_somebody_elses_choice_can_be_seen_but_not_done(site: Site) -> None:
    site.add(make_job("a"))
    place = choose(site, "pause", "a").location
    site.sign_in(Role.ADMIN)
    page = site.get(place)
    assert "so it is theirs to do" in words(page)
    assert buttons(page) == []
    assert site.post(place).status_code == 403
    assert paused(site) == []


def test_what_could_not_be_done_is_said_with_its_reason(site: Site) -> None:
    site.add(make_job("a"), make_job("b"))
    place = choose(site, "pause", "a", "b").location
    site.post("/jobs/a/pause")
    site.post("/jobs/b/remove")
    site.post(place)
    text = words(site.get(place))
    assert "0 jobs paused" in text
    assert "Not done: 2 jobs a Paused already. b It was removed meanwhile." in text


def test_nothing_to_do_offers_only_the_way_back(site: Site) -> None:
    site.add(make_job("c", **PAUSED))
    page = site.get(choose(site, "pause", "c").location)
    assert "Nothing to do" in words(page)
    assert buttons(page) == []


def test_many_are_paused_until_a_time(site: Site) -> None:
    site.add(make_job("a"))
    place = choose(site, "pause", "a").location
    wrong = site.post(place, reason="moving", until_time="soon")
    assert wrong.status_code == 422
    page = parse(wrong)
    assert "“soon” is no time." in words(page, "#ask-until-time-errors")
    assert page.select_one("input[name=reason]")["value"] == "moving"  # type: ignore[index]
    assert paused(site) == []
    site.post(place, reason="moving", until="4h")
    with site.database.read() as session:
        job = session.get_one(Job, "a")
    assert job.resume_at is not None
    assert timedelta(hours=3) < job.resume_at - datetime.now(UTC) <= timedelta(hours=4)


def test_a_removal_is_undone_as_a_whole(site: Site) -> None:
    site.add(make_job("a"), make_job("b"), make_job("c"))
    place = choose(site, "remove", "a", "b").location
    assert "Undo" not in buttons(site.get(place))
    site.post(place)
    page = site.get(place)
    assert buttons(page) == ["Undo"]
    assert links(site.get("/audit"))[place.rpartition("/")[2]] == place
    undone = site.post(f"{place}/undo")
    assert undone.status_code == 303
    assert "2 jobs brought back" in words(site.get(undone.location))
    assert links(site.get("/jobs"), "table").keys() == {"a", "b", "c"}
    assert "None of these jobs is to be brought back" in site.post(f"{place}/undo").text


def test_removed_jobs_are_selected_and_brought_back(site: Site) -> None:
    site.add(make_job("a"), make_job("b"), make_job("c"))
    site.post(choose(site, "remove", "a", "b", "c").location)
    page = site.get("/jobs?q=state:removed")
    assert {box["value"] for box in page.select("[name=job]")} == {"a", "b", "c"}
    assert "Bring back…" in words(page, "form#bulk")
    place = choose(site, "restore", "a", "c").location
    assert "Bring back: 2 jobs?" in words(site.get(place))
    site.post(place)
    assert links(site.get("/jobs"), "table").keys() == {"a", "c"}
    site.sign_in(Role.OPERATOR)
    page = site.get("/jobs?q=state:removed")
    assert not page.select("[name=job], form#bulk")
    assert choose(site, "restore", "b").status_code == 403
    assert site.post(f"{place}/undo").status_code == 403


def test_what_is_not_there(site: Site) -> None:
    site.get("/jobs/bulk/1", status=404)
    site.get(f"/jobs/bulk/{2**70}", status=404)
    assert site.post("/jobs/bulk/77").status_code == 404
