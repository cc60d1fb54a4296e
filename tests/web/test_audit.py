"""The audit log as people read it, search it and take it along."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.history import audit_list
from dashboard.storage.models import Audit, Role
from dashboard.web import access
from dashboard.web.audit import facts_of
from dashboard.web.tables import csv_line
from tests.web.site import HTMX, links, words

if TYPE_CHECKING:
    from tests.web.site import Site


def entry(minutes: float = 0, **values: Any) -> Audit:
    """Return an entry of so many minutes ago."""
    given = {
        "at": datetime.now(UTC) - timedelta(minutes=minutes),
        "actor": "ann",
        "address": "192.0.2.7",
        "action": "job.pause",
        "target": "nightly",
        "outcome": "done",
        "detail": {},
    }
    return Audit(**given | values)


def targets(site: Site, url: str) -> list[str]:
    found = site.get(url).select("#audit tbody tr td[data-label='Done to']")
    return [cell.get_text().strip() for cell in found]


def test_it_says_who_did_what_and_what_came_of_it(site: Site) -> None:
    site.add(
        entry(5, detail={"reason": "<b>new</b> credentials"}),
        entry(4, actor="otto", action="job.remove", outcome="refused", request_id="c0ffee",
              detail={"why": "This needs the role admin; otto is operator."}),
    )  # fmt: skip
    page = site.get("/audit")
    first, second = (" ".join(row.get_text(" ").split()) for row in page.select("#audit tbody tr"))
    assert "otto" in first
    assert "job.remove nightly refused" in first
    assert "needs the role admin" in first
    assert "Request c0ffee" in first
    assert "<b>new</b> credentials" in second
    assert links(page, "#audit tbody")["nightly"] == "/jobs/nightly"


def test_moments_are_told_in_the_zone_of_whoever_reads(site: Site) -> None:
    until = "2027-03-01T12:00:00+00:00"
    site.add(entry(detail={"until": until}), entry(detail={"reason": until, "until": "soon"}))
    site.client.set_cookie("dashboard_zone", "Europe/Berlin")
    page = words(site.get("/audit"), "#audit")
    assert "Until 2027-03-01 13:00:00 CET" in page
    assert f"Reason {until}" in page
    assert "Until soon" in page


def test_differences_are_readable() -> None:
    detail = {
        "before": {"name": "a", "trigger": {"type": "interval", "hours": 1}, "tags": ["x"]},
        "after": {"name": "b", "trigger": {"type": "interval", "hours": 2}, "tags": []},
        "why": "",
    }
    facts = [(fact.label, fact.before, fact.after) for fact in facts_of(detail)]
    assert facts[0] == ("Name", "a", "b")
    assert facts[1] == ("Tags", '["x"]', "[]")
    assert facts[2][0] == "Trigger"
    assert "hour" in str(facts[2][1])
    assert facts[2][1] != facts[2][2]
    assert facts[3] == ("Why", None, "(none)")


def test_a_difference_that_the_sentence_does_not_tell_is_shown_as_it_is_kept() -> None:
    both = {"type": "interval", "hours": 1}
    [fact] = facts_of(
        {"before": {"trigger": both}, "after": {"trigger": both | {"anchored": True}}}
    )
    assert fact.before != fact.after


@pytest.mark.parametrize(
    "detail",
    [{"before": {}, "after": None}, {"x": {}}, {"x": [1, {"y": 2}]}, {"trigger": 7},
     {"job": {"trigger": {"type": "???"}}}, {"x": "y" * 100_000}, {"": None},
     {"half \ud800": "\ud800", "x": {"\udc00": ["\udc00"]}}],
)  # fmt: skip
def test_whatever_was_noted_can_be_shown(site: Site, detail: dict[str, Any]) -> None:
    site.add(entry(detail=detail, target="🙂 <script>" if detail else ""))
    assert "nothing" not in words(site.get("/audit")).lower()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["token 1", "nightly", "weekly", "Nightly report"]),
        ("actor=otto", ["weekly"]),
        ("action=job", ["nightly", "weekly", "Nightly report"]),
        ("action=job.pause", ["nightly", "Nightly report"]),
        ("action=jo", []),
        ("target=nightly", ["nightly"]),
        ("q=night", ["nightly", "Nightly report"]),
        ("q=%25", []),
        ("outcome=refused", ["weekly"]),
        ("outcome=refused&actor=ann", []),
        ("since=3h", ["token 1", "nightly", "weekly"]),
        ("until=3h", ["Nightly report"]),
        ("since=3h&until=90min", ["weekly"]),
        ("actor=ann&action=job&since=3h", ["nightly"]),
    ],
)
def test_it_is_searched(site: Site, query: str, found: list[str]) -> None:
    site.add(
        entry(300, target="Nightly report"),
        entry(120, actor="otto", action="job.remove", target="weekly", outcome="refused"),
        entry(60),
        entry(1, action="token.add", target="token 1"),
    )
    assert targets(site, f"/audit?{query}") == found


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("since=yesterdayish", "no time"),
        ("since=1h&until=2h", "not after"),
        ("outcome=perhaps", "done, refused"),
        ("actor=%00", "printable"),
        ("q=" + "x" * 200, "191"),
        ("before=-1", "no page"),
        ("before=" + "9" * 19, "no page"),
        ("before=" + "0" * 5000, "no page"),
    ],
)
def test_what_cannot_be_understood_is_said(site: Site, query: str, complaint: str) -> None:
    assert complaint in words(site.get(f"/audit?{query}", status=422))


def test_empty_fields_of_the_form_leave_the_address(site: Site) -> None:
    answer = site.client.get("/audit?actor=ann&q=&since=")
    assert (answer.status_code, answer.location) == (302, "/audit?actor=ann")


def test_it_is_paged(site: Site) -> None:
    site.add(*(entry(200 - number, target=f"job {number}") for number in range(120)))
    first = targets(site, "/audit")
    assert first == [f"job {number}" for number in range(119, 69, -1)]
    older = links(site.get("/audit"), "#audit")["Older"]
    second = targets(site, older)
    assert second[0] == "job 69"
    last = links(site.get(older), "#audit")["Older"]
    assert targets(site, last)[-1] == "job 0"
    assert "Older" not in links(site.get(last), "#audit")
    assert links(site.get(last), "#audit")["Newest"] == "/audit"


def test_a_search_looks_at_so_much_and_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_list, "LOOK_THROUGH", 30)
    site.add(entry(200, target="needle"), *(entry(100) for _ in range(70)))
    page = site.get("/audit?q=needle")
    pages = 1
    while "needle" not in words(page, "#audit"):
        page = site.get(links(page, "#audit")["Search further"])
        pages += 1
    assert pages == 3


def test_the_newest_page_is_live(site: Site) -> None:
    site.add(entry())
    etag = site.get("/audit").select_one("#audit")["data-etag"]  # type: ignore[index]
    headers = {**HTMX, "If-None-Match": f'W/"{etag}"'}
    assert site.client.get("/audit", headers=headers).status_code == 304
    site.add(entry(target="later"))
    assert "later" in site.client.get("/audit", headers=headers).text


def test_addresses_are_for_admins(site: Site) -> None:
    site.add(entry())
    assert "192.0.2.7" in words(site.get("/audit"))
    assert b"192.0.2.7" in site.client.get("/audit/export.csv").data
    site.sign_in(Role.VIEWER)
    assert "192.0.2.7" not in words(site.get("/audit"))
    assert b"192.0.2.7" not in site.client.get("/audit/export.csv").data
    assert b"192.0.2.7" not in site.client.get("/audit/export.json").data


def test_all_that_is_wanted_can_be_taken_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_list, "EXPORT_STEP", 7)
    site.add(
        entry(500, actor="otto"),
        *(entry(100 - n, target=f"job {n}", detail={"n": n}) for n in range(20)),
    )
    answer = site.client.get("/audit/export.json?actor=ann")
    found = json.loads(answer.text)
    assert [row["target"] for row in found] == [f"job {n}" for n in range(19, -1, -1)]
    assert found[0]["detail"] == {"n": 19}
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(site.client.get("/audit/export.csv?actor=ann").text)))
    assert [row["target"] for row in rows] == [f"job {n}" for n in range(19, -1, -1)]
    assert site.client.get("/audit/export.csv?since=maybe").status_code == 422
    assert json.loads(site.client.get("/audit/export.json?actor=nobody").text) == []


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =cmd|' /C calc'!A0", "=\n1"],
)
def test_no_cell_is_a_formula(text: str) -> None:
    [cell] = next(csv.reader(io.StringIO(csv_line([text]), newline="")))
    assert cell == f"'{text}"


@pytest.mark.parametrize("cell", ["a=1", 'say "hi", she said', "two\nlines", ""])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert next(csv.reader(io.StringIO(csv_line([cell, 5]), newline=""))) == [cell, "5"]
    assert csv_line(["\ud800"]).encode()


# -- what the guard refuses ------------------------------------------------------------------------


def newest(site: Site) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(site.client.get("/audit/export.json").text)[0]
    return row


def test_what_people_are_refused_is_noted(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    refused = site.client.post("/jobs/nightly/remove")
    assert refused.status_code == 403
    noted = newest(site)
    assert (noted["action"], noted["target"], noted["outcome"]) == (
        "request",
        "/jobs/nightly/remove",
        "refused",
    )
    assert "needs the role" in noted["detail"]["why"]
    assert noted["request_id"] == refused.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [({}, "token"), ({"Sec-Fetch-Site": "cross-site"}, "another site")],
)
def test_forms_that_are_not_ours_are_noted(site: Site, headers: dict[str, str], why: str) -> None:
    site.client.post("/jobs/nightly/run", headers=headers)
    assert why in newest(site)["detail"]["why"]


def test_a_script_that_is_refused_for_ever_does_not_fill_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "NOTED_REFUSALS", 3)
    for _ in range(5):
        assert site.client.post("/jobs/nightly/run").status_code == 400
    assert len(json.loads(site.client.get("/audit/export.json?action=request").text)) == 3


def test_strangers_fill_nothing(site: Site) -> None:
    stranger = site.client.application.test_client()
    for _ in range(3):
        stranger.post("/jobs/nightly/run")
        stranger.get("/audit")
    assert json.loads(site.client.get("/audit/export.json").text) == []
