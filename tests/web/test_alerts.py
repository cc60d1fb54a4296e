from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from dashboard.services import alerts
from dashboard.storage.models import (
    AlertDelivery,
    AlertEvent,
    AlertProblem,
    AlertRule,
    Audit,
    DeliveryState,
    JobHealth,
    Role,
    Silence,
)
from tests.factories import VAULT
from tests.rows import make_job
from tests.web.site import HTMX, buttons, links, parse, words

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

NOW = datetime.now(UTC)
SECRET = "abcdef0123456789"
ADDRESS = f"https://hooks.example.com/services/{SECRET}"
FORM = {
    "name": "On call",
    "on": "failing",
    "after": "3",
    "rate": "",
    "window_seconds": "",
    "scope": "all",
    "names": "",
    "channels": ADDRESS,
    "remind_every_seconds": "4h",
    "settle_seconds": "5m",
    "template": "",
    "notify_recovery": "true",
    "enabled": "true",
}


def save(
    site: Site,
    url: str = "/alerts/new",
    *,
    status: int = 303,
    texts: dict[str, str] | None = None,
    **changed: str,
) -> Any:
    """Send the form with some of its fields changed."""
    answer = site.post(url, in_place=False, **(FORM | changed | (texts or {})))
    assert answer.status_code == status, answer.text[:2000]
    return answer


def rules(site: Site) -> list[AlertRule]:
    with site.database.read() as session:
        return alerts.list_rules(session)


def delivery(state: DeliveryState, **values: Any) -> AlertDelivery:
    payload = {"message": "nightly has failed: <b>disk full</b>.", "rule": "On call"}
    defaults = {"key": state.value, "rule_id": 1, "event": AlertEvent.PROBLEM, "payload": payload}
    at = {"created_at": NOW, "next_try_at": NOW, "ended_at": NOW}
    channel = {"channel": "https://hooks.example.com/services/… (123456)", "address": ADDRESS}
    return AlertDelivery(state=state, **(defaults | at | channel | values))


def test_a_rule_is_made_shown_in_words_and_changed(site: Site, settings: Settings) -> None:
    assert "Nobody is told yet" in words(site.get("/alerts"))
    save(site)
    page = site.get("/alerts")
    told = "When any job has failed 3 times in a row. Again every 4 h while it lasts."
    assert f"{told} And when it is well again." in words(page)
    assert SECRET not in str(page)
    [rule] = rules(site)
    assert (rule.after, rule.remind_every_seconds, rule.settle_seconds) == (3, 14_400, 300)
    form = site.get(f"/alerts/{rule.id}/edit")
    assert SECRET not in str(form)
    kept = words(form, "textarea[name=channels]")
    texts = {"channels": f"{kept}\r\nhttps://example.org/hook", "names": "billing\nmail"}
    save(site, f"/alerts/{rule.id}/edit", version="1", after="1", scope="tags", texts=texts)
    [rule] = rules(site)
    sealed = [settings.vault.decrypt(channel["sealed"]) for channel in rule.channels]
    assert sealed == [ADDRESS, "https://example.org/hook"]
    assert SECRET not in str(rule.channels)
    assert rule.scope == {"tags": ["billing", "mail"]}
    assert "When a job tagged billing or mail has failed." in words(site.get("/alerts"))
    with site.database.read() as session:
        changes = select(Audit).where(Audit.action.like("alert_rule.%")).order_by(Audit.id)
        noted = session.scalars(changes).all()
    assert [entry.action for entry in noted] == ["alert_rule.add", "alert_rule.change"]
    assert SECRET not in str([entry.detail for entry in noted])


def test_a_channel_sealed_with_another_key_says_so_until_it_is_entered_again(
    site: Site,
) -> None:
    save(site)
    [rule] = rules(site)
    assert "cannot be read" not in words(site.get("/alerts"))
    lost = [channel | {"sealed": VAULT.encrypt(ADDRESS)} for channel in rule.channels]
    with site.database.write() as session:
        session.execute(update(AlertRule).values(channels=lost))
    assert "stored with another secret key" in words(site.get("/alerts"))
    kept = words(site.get(f"/alerts/{rule.id}/edit"), "textarea[name=channels]")
    save(site, f"/alerts/{rule.id}/edit", version="1", name="Renamed", texts={"channels": kept})
    assert rules(site)[0].channels == lost, "the right key may come back"
    save(site, f"/alerts/{rule.id}/edit", version="2")
    assert "cannot be read" not in words(site.get("/alerts"))


def test_a_stale_form_saves_nothing_until_it_is_sent_again(site: Site) -> None:
    save(site)
    [rule] = rules(site)
    save(site, f"/alerts/{rule.id}/edit", version="1", name="First")
    answer = save(site, f"/alerts/{rule.id}/edit", version="1", name="Second", status=409)
    assert "changed by somebody else" in words(parse(answer), "#rule-form")
    page = parse(answer)
    assert page.select_one("[name=name]")["value"] == "Second"  # type: ignore[index]
    version = str(page.select_one("[name=version]")["value"])  # type: ignore[index]
    save(site, f"/alerts/{rule.id}/edit", version=version, name="Second")
    assert rules(site)[0].name == "Second"


@pytest.mark.parametrize(
    ("field", "text", "complaint"),
    [
        ("name", "", "needs a name"),
        ("name", "x" * 192, "at most 191"),
        ("name", "a\x00b", "printable"),
        ("on", "dancing", "Must be one of"),
        ("after", "0", "whole number from 1"),
        ("after", "many", "Must be a number"),
        ("after", "9" * 5000, "Must be a number"),
        ("rate", "0", "above 0"),
        ("rate", "nan", "Must be a number"),
        ("rate", "101", "to 1"),
        ("window_seconds", "soon", "Must be a duration"),
        ("window_seconds", "9999999d", "Must be a number"),
        ("remind_every_seconds", "1", "from 10"),
        ("settle_seconds", "2d", "to 86,400"),
        ("template", "{job} {__class__}", "no {__class__} to fill in"),
        ("template", "x" * 2001, "at most 2,000"),
        ("scope", "nobody", "Must be"),
        ("channels", "", "at least one channel"),
        ("channels", "example.com", "with a scheme"),
        ("channels", "https://example.com/… (0a1b2c)", "enter the address itself"),
        ("channels", "http://169.254.169.254/", "Link-local"),
        ("channels", "nonsense://x", "does not understand"),
    ],
)
def test_what_cannot_be_saved_is_said_beside_its_field(
    site: Site, field: str, text: str, complaint: str
) -> None:
    on = {"rate": "failure_rate", "window_seconds": "overdue"}.get(field, "failing")
    page = parse(save(site, status=422, texts={"on": on, field: text}))
    assert complaint in words(page, f"#field-{field}-errors")
    assert rules(site) == []
    assert page.select_one("[name=remind_every_seconds]") is not None


def test_a_failure_rate_needs_a_share_and_a_time(site: Site) -> None:
    page = parse(save(site, status=422, on="failure_rate"))
    assert "needs this" in words(page, "#field-rate-errors")
    assert "needs this" in words(page, "#field-window_seconds-errors")
    save(site, on="failure_rate", rate="12.5 %", window_seconds="1h")
    assert rules(site)[0].rate == 0.125
    page = parse(save(site, status=422, scope="jobs", names=""))
    assert "Name at least one" in words(page, "#field-names-errors")


@pytest.mark.parametrize(
    ("on", "scope", "asked"),
    [
        ("failing", "all", ["on", "after", "scope"]),
        ("failure_rate", "tags", ["on", "rate", "window_seconds", "after", "scope", "names"]),
        ("slow", "jobs", ["on", "window_seconds", "scope", "names"]),
        ("broken", "all", ["on", "scope"]),
        ("scheduler_down", "jobs", ["on", "window_seconds"]),
        ("dancing", "all", ["on", "scope"]),
    ],
)
def test_only_what_its_kind_has_is_asked(site: Site, on: str, scope: str, asked: list[str]) -> None:
    texts = FORM | {"on": on, "scope": scope, "rate": "", "window_seconds": "soon", "names": "a"}
    page = parse(site.post("/alerts/fields", in_place=False, **texts))
    fields = page.select("#rule-form select, #condition .form-control")
    assert [each["name"] for each in fields] == asked
    kept = {str(each["name"]): each["value"] for each in page.select("#condition [type=hidden]")}
    assert kept.keys() == {"after", "rate", "window_seconds", "scope", "names"} - set(asked)
    assert all(texts[name] == text for name, text in kept.items()), "a choice can be undone"
    if "window_seconds" not in asked and on != "dancing":
        save(site, texts=texts)
        [rule] = rules(site)
        assert rule.window_seconds is None, "what is not asked is not looked at"


def test_the_summary_follows_the_form(site: Site) -> None:
    answer = site.post("/alerts/summary", in_place=True, **(FORM | {"name": "", "channels": ""}))
    assert "When any job has failed 3 times in a row." in words(parse(answer), "#summary")
    answer = site.post("/alerts/summary", in_place=True, **(FORM | {"after": "x"}))
    assert "Fill in what is missing" in words(parse(answer), "#summary")


def test_tests_and_retries_are_queued(site: Site) -> None:
    save(site)
    [rule] = rules(site)
    assert site.post(f"/alerts/{rule.id}/test", in_place=True).status_code == 200
    site.add(delivery(DeliveryState.FAILED, error="example.com answered 404.", attempts=2))
    page = site.get("/alerts")
    assert "example.com answered 404." in words(page, "#log")
    assert "2 attempts" in words(page, "#log")
    assert buttons(page).count("Retry") == 1
    assert "<b>disk" not in str(page.select_one("#log"))
    with site.database.read() as session:
        failed = session.scalars(select(AlertDelivery.id).where(AlertDelivery.state == "failed"))
        failed_id = failed.one()
    assert site.post(f"/alerts/deliveries/{failed_id}/retry", in_place=True).status_code == 200
    assert site.post(f"/alerts/deliveries/{failed_id}/retry").status_code == 409
    assert "Retry" not in buttons(site.get("/alerts"))


def test_only_admins_see_and_change_channels(site: Site) -> None:
    save(site)
    site.add(delivery(DeliveryState.UNKNOWN))
    [rule] = rules(site)
    for role in (Role.OPERATOR, Role.VIEWER):
        site.sign_in(role)
        page = site.get("/alerts")
        assert "1 channel" in words(page)
        assert "in doubt" in words(page, "#log")
        assert "hooks.example.com" not in str(page)
        assert buttons(page) == []
        assert "New rule" not in links(page)
        assert site.client.get(f"/alerts/{rule.id}/edit").status_code == 403
        assert site.post(f"/alerts/{rule.id}/test").status_code == 403


def test_removing_ends_what_it_has_told_of(site: Site) -> None:
    save(site)
    [rule] = rules(site)
    moments = {"since": NOW, "opened_at": NOW, "told_at": NOW}
    about = {"job_id": "nightly", "job_name": "Nightly", "problem": "has failed", "flapping": True}
    site.add(AlertProblem(rule_id=rule.id, **about, **moments))
    page = site.get("/alerts")
    assert "1 problem" in words(page)
    assert links(page)["Nightly"] == "/jobs/nightly"
    assert "flapping" in words(page)
    assert site.post(f"/alerts/{rule.id}/remove", in_place=True).status_code == 200
    assert rules(site) == []
    assert "Told of" not in words(site.get("/alerts"))
    assert site.post(f"/alerts/{rule.id}/remove").status_code == 404
    assert site.client.get("/alerts/99999999999999999999/edit").status_code == 404


def test_what_is_silenced_is_listed(site: Site) -> None:
    until = NOW + timedelta(hours=2)
    silence = {"silence": Silence.SNOOZED, "silenced_at": NOW, "silenced_by": "otto"}
    health = {"recent": [], "consecutive_failures": 1, "failing_since": NOW}
    site.add(
        make_job("nightly"),
        JobHealth(
            job_id="nightly", silenced_until=until, silence_reason="moving", **silence, **health
        ),
    )
    assert "otto snoozed" in words(site.get("/alerts"))
    assert "moving" in words(site.get("/alerts"))


def test_the_log_goes_on_page_by_page(site: Site) -> None:
    site.add(*(delivery(DeliveryState.SENT, key=str(n), channel=f"c{n}") for n in range(120)))
    seen, url = [], "/alerts"
    for _ in range(3):
        page = site.get(url)
        seen += [cell.text for cell in page.select("#log .channel")]
        url = next((str(a["href"]) for a in page.select("#log a[rel=next]")), "")
    assert (len(seen), url) == (len(set(seen)), "")
    assert len(seen) == 120
    for odd in ("x", "-1", "9" * 30):
        site.get(f"/alerts?before={odd}")


def test_its_live_part_answers_304_until_something_changes(site: Site) -> None:
    etag = str(site.get("/alerts").select_one("#alerts")["data-etag"])  # type: ignore[index]
    headers = HTMX | {"If-None-Match": f'W/"{etag}"'}
    assert site.client.get("/alerts", headers=headers).status_code == 304
    save(site)
    answer = site.client.get("/alerts", headers=headers)
    assert answer.status_code == 200
    assert 'id="alerts"' in answer.text
