from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup, Tag
from sqlalchemy import select, update

from dashboard.services import audit, jobs
from dashboard.storage.models import Audit, Job, JobHealth, Role
from tests.factories import ADMIN
from tests.web.site import HTMX, words, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.test import TestResponse

    from dashboard.settings import Settings
    from tests.web.site import Site

HOURLY = {"trigger.type": "interval", "trigger.every": "1", "trigger.unit": "hours"}


def report(day: str, count: int = 3, *, dry_run: bool = True) -> None:
    """Make the report of one day."""


@dataclass
class Person:
    """Somebody signed in, who fills in what a page holds and sends it."""

    site: Site

    def get(self, url: str) -> TestResponse:
        return self.site.client.get(url)

    def post(
        self, url: str, texts: Mapping[str, str] | None = None, *, htmx: bool = False
    ) -> TestResponse:
        data = {**(texts or {}), "csrf_token": self.site.token()}
        return self.site.client.post(url, data=data, headers=HTMX if htmx else {})

    def edit(self, job_id: str, **changes: str) -> TestResponse:
        """Open the form of a job, change something and save."""
        texts = form_of(self.get(f"/jobs/{job_id}/edit"))
        changes = {name.replace("__", "."): text for name, text in changes.items()}
        return self.post(f"/jobs/{job_id}/edit", texts | changes)


def soup(answer: TestResponse) -> BeautifulSoup:
    return BeautifulSoup(answer.text, "html.parser")


def form_of(answer: TestResponse) -> dict[str, str]:
    """Return what a browser would send of the job's form."""
    form = soup(answer).select_one("#job-form")
    assert form is not None, answer.text[:500]
    texts: dict[str, str] = {}
    for field in form.select("input[name], select[name], textarea[name]"):
        if field.get("type") == "checkbox" and not field.has_attr("checked"):
            continue
        texts[str(field["name"])] = value_of(field)
    return texts


def value_of(field: Tag) -> str:
    if field.name == "textarea":
        return field.text.removeprefix("\n")
    if field.name == "select":
        chosen = field.select_one("option[selected]") or field.select_one("option")
        return "" if chosen is None else str(chosen["value"])
    return str(field["value"])


def complaints(answer: TestResponse) -> dict[str, str]:
    """Return the messages beside the fields, by the fields' names."""
    page = soup(answer)
    found = {}
    for field in page.select("[aria-invalid=true]"):
        described = [
            page.select_one(f"[id='{name}']") for name in str(field["aria-describedby"]).split()
        ]
        messages = [each for each in described if each and "field-errors" in each["class"]]
        found[str(field["name"])] = " ".join(each.text.strip() for each in messages)
    return found


def summary(answer: TestResponse) -> list[str]:
    return [" ".join(item.text.split()) for item in soup(answer).select("#problems li")]


def fire_times(answer: TestResponse) -> list[str]:
    return [item.text for item in soup(answer).select(".fires li > time:first-child")]


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    register(report, "reports.daily")
    register(lambda: None, "demo.nothing")


@pytest.fixture
def admin(site: Site) -> Person:
    return Person(site)


@pytest.fixture
def operator(site: Site) -> Person:
    site.sign_in(Role.OPERATOR)
    return Person(site)


@pytest.fixture
def viewer(site: Site) -> Person:
    site.sign_in(Role.VIEWER)
    return Person(site)


@dataclass
class Book:
    """The jobs there are."""

    site: Site
    settings: Settings

    def add(self, task: str = "demo.nothing", **data: Any) -> str:
        """Add a job, hourly unless told otherwise, and return its id."""
        data = {"task": task, "trigger": {"type": "interval", "hours": 1}} | data
        with audit.transaction(self.site.database) as session:
            return jobs.create_job(session, data, actor=ADMIN, settings=self.settings).id

    def change(self, job_id: str, **values: Any) -> None:
        """Change a job's row behind everybody's back."""
        with self.site.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(**values))

    def job(self, job_id: str) -> Job:
        with self.site.database.read() as session:
            return session.get_one(Job, job_id)

    def all(self) -> list[Job]:
        with self.site.database.read() as session:
            return list(session.scalars(select(Job)))


@pytest.fixture
def book(site: Site, settings: Settings) -> Book:
    return Book(site, settings)


# -- a new job -------------------------------------------------------------------------------------


def test_new_form_shows_its_preview_at_once(admin: Person) -> None:
    answer = admin.get("/jobs/new?task=reports.daily")
    assert answer.status_code == 200
    page = soup(answer)
    assert [heading.text for heading in page.select("h1")] == ["New job"]
    assert "Make the report of one day." in words(page, ".docstring")
    assert words(page, ".preview-sentence") == "Every hour"
    assert len(fire_times(answer)) == 10
    assert re.fullmatch(r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", fire_times(answer)[0])


def test_every_field_of_the_contract_has_its_label(admin: Person) -> None:
    wanted = {
        "interval": {"Every", "Unit"},
        "cron": {"Second", "Minute", "Hour", "Day", "Day of week", "Month"},
        "crontab": {"Crontab"},
        "date": {"Run at"},
        "calendarinterval": {"Days", "Months"},
    }
    for kind, labels in wanted.items():
        answer = admin.post("/jobs/new/fields", {"trigger.type": kind, "task": "reports.daily"})
        shown = {label.text.strip(): label for label in soup(answer).select("label")}
        assert labels | {"Task", "Name", "Job id", "Trigger", "Time zone"} <= shown.keys()
        for label in shown.values():
            inside = label.select_one("input[type=checkbox]")
            assert inside or soup(answer).select_one(f"[id='{label['for']}']"), label


def test_form_creates_the_job(admin: Person, book: Book) -> None:
    texts = form_of(admin.get("/jobs/new?task=reports.daily"))
    texts |= {"name": "Daily", "parameters.day": "today", "tags": "a b", "trigger.every": "5"}
    answer = admin.post("/jobs/new", texts)
    assert (answer.status_code, answer.location) == (303, "/jobs/daily")
    [job] = book.all()
    assert job.parameters == {"day": "today"}
    assert job.tags == ["a", "b"]
    assert job.trigger["hours"] == 5
    assert job.created_by.startswith("admin")
    assert admin.site.woken == ["now"]
    assert "Created “Daily”." in admin.get(answer.location).text


def test_unticked_checkbox_is_a_no(admin: Person, book: Book) -> None:
    texts = form_of(admin.get("/jobs/new?task=reports.daily"))
    assert texts["parameters.dry_run"] == "true"
    texts |= {"parameters.day": "today", "parameters.dry_run": "false", "coalesce": "false"}
    assert admin.post("/jobs/new", texts).status_code == 303
    [job] = book.all()
    assert job.parameters == {"day": "today", "dry_run": False}
    assert not job.coalesce


def test_few_fields_are_enough(admin: Person, book: Book) -> None:
    answer = admin.post("/jobs/new", {"task": "demo.nothing", **HOURLY})
    assert answer.status_code == 303
    [job] = book.all()
    assert (job.id, job.name) == ("demo-nothing", "demo.nothing")
    assert (job.coalesce, job.max_instances, job.misfire_grace_time) == (True, 1, 60)


def test_htmx_is_sent_on_to_the_job(admin: Person) -> None:
    answer = admin.post("/jobs/new", {"task": "demo.nothing", **HOURLY}, htmx=True)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/jobs/demo-nothing")


def test_everything_wrong_is_told_at_once_and_what_was_typed_is_kept(admin: Person) -> None:
    texts = {
        "task": "reports.daily",
        "name": "x" * 200,
        "id": "a/b",
        "parameters.count": "many",
        "trigger.type": "cron",
        "trigger.hour": "25",
        "trigger.timezone": "Moon/Base",
        "max_instances": "0",
        "misfire_grace_time": "soon",
        "tags": "a:b",
        "notes": "  <script>alert(1)</script>",
    }
    answer = admin.post("/jobs/new", texts)
    assert answer.status_code == 422
    found = complaints(answer)
    assert found.keys() == {
        "name", "id", "parameters.day", "parameters.count", "trigger.hour", "trigger.timezone",
        "max_instances", "misfire_grace_time", "tags",
    }  # fmt: skip
    assert found["parameters.day"] == "This is required."
    assert "0 to 23" in found["trigger.hour"]
    assert len(summary(answer)) == len(found)
    assert {name: form_of(answer)[name] for name in texts} == texts
    assert "<script>alert(1)" not in answer.text
    links = [str(link["href"])[1:] for link in soup(answer).select("#problems a")]
    assert all(soup(answer).select_one(f"[id='{target}']") for target in links)
    assert soup(answer).select_one("#problems[autofocus][tabindex='-1']")
    assert soup(answer).select_one("details.options[open]")
    assert fire_times(answer) == []


def test_faults_of_text_and_of_meaning_are_told_together(admin: Person) -> None:
    texts = {"task": "", "trigger.type": "json", "trigger.json": "{", "max_instances": "-1"}
    answer = admin.post("/jobs/new", texts)
    assert complaints(answer).keys() == {"task", "trigger.json", "max_instances"}


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ({}, "trigger.every"),
        ({"trigger.type": "lunar"}, "trigger.type"),
        ({"trigger.type": "cron"}, "trigger.type"),
        ({"trigger.type": "interval"}, "trigger.every"),
        ({"trigger.type": "date", "trigger.run_date": "2020-01-01"}, "trigger.run_date"),
        ({"trigger.type": "cron", "trigger.day": "31", "trigger.month": "2"}, "trigger.day"),
        ({"task": "gone.task", **HOURLY}, "task"),
        ({"task": "x" * 5000, **HOURLY}, "task"),
        ({"id": "new", **HOURLY}, "id"),
        ({"trigger.type": "crontab", "trigger.crontab": "* " * 5000}, "trigger.crontab"),
        ({**HOURLY, "trigger.every": "9" * 5000}, "trigger.every"),
        ({**HOURLY, "trigger.timezone": "../" * 1000}, "trigger.timezone"),
        ({**HOURLY, "trigger.jitter": "-1"}, "trigger.jitter"),
        ({**HOURLY, "trigger.start_date": "never"}, "trigger.start_date"),
    ],
)
def test_hostile_or_missing_input_is_a_message(
    admin: Person, book: Book, texts: dict[str, str], field: str
) -> None:
    for url in ("/jobs/new", "/jobs/new/preview", "/jobs/new/fields"):
        answer = admin.post(url, {"task": "demo.nothing", **texts})
        if url == "/jobs/new":
            assert answer.status_code == 422
            assert field in complaints(answer)
        else:
            assert answer.status_code == 200
    assert book.all() == []


def test_too_much_is_refused(admin: Person) -> None:
    answer = admin.post("/jobs/new", {"task": "demo.nothing", **HOURLY, "notes": "x" * 1_000_001})
    assert answer.status_code == 413


def test_long_notes_are_refused_beside_their_field(admin: Person) -> None:
    answer = admin.post("/jobs/new", {"task": "demo.nothing", **HOURLY, "notes": "x" * 20_001})
    assert answer.status_code == 422
    assert "20,000" in complaints(answer)["notes"]


def test_id_that_is_taken(admin: Person, book: Book) -> None:
    book.add("demo.nothing", id="nightly")
    answer = admin.post("/jobs/new", {"task": "demo.nothing", "id": "nightly", **HOURLY})
    assert answer.status_code == 409
    assert "exists already" in complaints(answer)["id"]


def test_form_of_another_session_creates_nothing(admin: Person, book: Book) -> None:
    data = {"task": "demo.nothing", **HOURLY, "csrf_token": "forged"}
    assert admin.site.client.post("/jobs/new", data=data).status_code == 400
    assert admin.site.client.post("/jobs/new", data=data, headers=HTMX).status_code == 400
    assert book.all() == []


# -- fields that depend on others ------------------------------------------------------------------


def test_another_task_or_trigger_brings_its_fields_and_keeps_the_rest(admin: Person) -> None:
    typed = {
        "task": "reports.daily",
        "name": "Mine",
        "trigger.type": "cron",
        "trigger.every": "7",
        "trigger.hour": "6",
        "notes": "kept",
    }
    texts = form_of(admin.post("/jobs/new/fields", typed))
    assert typed.items() <= texts.items()
    assert texts["parameters.count"] == "3"
    texts = form_of(admin.post("/jobs/new/fields", texts | {"trigger.type": "interval"}))
    assert (texts["trigger.every"], texts["trigger.unit"]) == ("7", "hours")
    texts = form_of(admin.post("/jobs/new/fields", texts | {"trigger.type": "cron"}))
    assert texts["trigger.hour"] == "6"


def test_htmx_gets_the_form_alone(admin: Person) -> None:
    answer = admin.post("/jobs/new/fields", {"task": "demo.nothing"}, htmx=True)
    assert "<html" not in answer.text
    assert soup(answer).select_one("#task-fields")
    assert "HX-Request" in answer.headers["Vary"]


def test_combination_grows_and_shrinks(admin: Person, book: Book) -> None:
    texts = form_of(admin.post("/jobs/new/fields", {"trigger.type": "or", "task": "demo.nothing"}))
    assert texts["trigger.triggers.1.type"] == "cron"
    texts |= {"trigger.triggers.0.hour": "6", "trigger.triggers.1.hour": "7"}
    texts = form_of(admin.post("/jobs/new/fields", texts | {"add": "trigger"}))
    texts |= {"trigger.triggers.2.type": "crontab", "trigger.triggers.2.crontab": "@daily"}
    remove = {"remove": "trigger.triggers.0"}
    texts = form_of(admin.post("/jobs/new/fields", texts | remove))
    assert admin.post("/jobs/new", texts).status_code == 303
    [job] = book.all()
    assert job.trigger["triggers"] == [
        {"type": "cron", "hour": "7"},
        {"type": "cron", "crontab": "@daily"},
    ]


def test_combination_within_a_combination_grows_and_shrinks(admin: Person, book: Book) -> None:
    texts = form_of(admin.post("/jobs/new/fields", {"trigger.type": "or", "task": "demo.nothing"}))
    inner = "trigger.triggers.1"
    texts |= {"trigger.triggers.0.hour": "5", f"{inner}.type": "and"}
    texts = form_of(admin.post("/jobs/new/fields", texts))
    texts |= {f"{inner}.triggers.0.hour": "6", f"{inner}.triggers.1.hour": "7"}
    page = soup(admin.post("/jobs/new/fields", texts | {"add": inner}))
    legends = [words_of(each) for each in page.select("legend")]
    assert legends == ["Part 1", "Part 2", "Part 2.1", "Part 2.2", "Part 2.3"]
    assert page.select_one("#trigger-fields [autofocus]")["name"] == f"{inner}.triggers.2.type"  # type: ignore[index]
    texts |= {f"{inner}.triggers.2.type": "crontab", f"{inner}.triggers.2.crontab": "0 7 * * 1"}
    removed = soup(admin.post("/jobs/new/fields", texts | {"remove": f"{inner}.triggers.0"}))
    assert [each["id"] for each in removed.select("#trigger-fields [autofocus]")] == ["add-part-2"]
    texts = {key: text for key, text in texts.items() if f"{inner}.triggers.0." not in key}
    assert admin.post("/jobs/new", texts).status_code == 303
    [job] = book.all()
    assert job.trigger["triggers"] == [
        {"type": "cron", "hour": "5"},
        {
            "type": "and",
            "triggers": [{"type": "cron", "hour": "7"}, {"type": "cron", "crontab": "0 7 * * 1"}],
        },
    ]
    ignored = admin.post("/jobs/new/fields", texts | {"add": "name"})
    assert "name.triggers" not in ignored.text


def test_somebody_who_adds_or_removes_a_part_goes_on_from_there(admin: Person) -> None:
    texts = form_of(admin.post("/jobs/new/fields", {"trigger.type": "and"}))
    added = admin.post("/jobs/new/fields", texts | {"add": "trigger"})
    focused = soup(added).select("#trigger-fields [autofocus]")
    assert [each["name"] for each in focused] == ["trigger.triggers.2.type"]
    remove = {"remove": "trigger.triggers.0"}
    left = admin.post("/jobs/new/fields", form_of(added) | remove)
    focused = soup(left).select("#trigger-fields [autofocus]")
    assert [each["id"] for each in focused] == ["add-part"]


def test_tasks_are_searched(admin: Person) -> None:
    answer = admin.post("/jobs/new/fields", {"search": "report DAY"})
    options = [str(option["value"]) for option in soup(answer).select("#task option")]
    assert options == ["", "reports.daily"]


# -- the preview -----------------------------------------------------------------------------------


def preview(person: Person, **trigger: str) -> TestResponse:
    texts = {f"trigger.{name}": text for name, text in trigger.items()}
    answer = person.post("/jobs/new/preview", texts, htmx=True)
    assert answer.status_code == 200
    assert soup(answer).select_one("#preview")
    return answer


def test_preview_tells_the_time_here_in_utc_and_at_home(viewer: Person) -> None:
    viewer.site.client.set_cookie("dashboard_zone", "America/New_York")
    answer = preview(viewer, type="date", run_date="2099-07-01 09:00", timezone="Europe/Berlin")
    [item] = soup(answer).select(".fires li")
    times = [time.text for time in item.select("time") if "data-relative" not in time.attrs]
    assert times == [
        "Wed 2099-07-01 09:00:00 CEST",
        "Wed 2099-07-01 07:00:00 UTC",
        "Wed 2099-07-01 03:00:00 EDT",
    ]
    assert {time["datetime"] for time in item.select("time")} == {"2099-07-01T07:00:00Z"}
    assert "no further fire times" in answer.text


@pytest.mark.parametrize("zone", ["", "Moon/Base", "../etc/passwd", "UTC", "Europe/Berlin"])
def test_preview_without_a_zone_of_its_own_to_tell(viewer: Person, zone: str) -> None:
    viewer.site.client.set_cookie("dashboard_zone", zone)
    answer = preview(viewer, type="cron", hour="9", timezone="Europe/Berlin")
    assert len(soup(answer).select(".fires li:first-child .fire-elsewhere time")) == 1


def test_preview_warns(viewer: Person) -> None:
    answer = preview(viewer, type="cron", hour="2", minute="30", timezone="Europe/Berlin")
    codes = [str(warning["data-code"]) for warning in soup(answer).select("[data-code]")]
    assert {"dst_skipped", "dst_repeated"} == set(codes)
    answer = preview(viewer, type="cron", day="31", month="2")
    assert soup(answer).select_one("[data-code=never_fires]")
    assert fire_times(answer) == []


def test_preview_compares_with_what_the_task_usually_takes(viewer: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    with book.site.database.write() as session:
        session.merge(JobHealth(job_id=job_id, recent=[], usual_duration=90.0))
    texts = {"task": "demo.nothing", **HOURLY, "trigger.unit": "minutes"}
    answer = viewer.post("/jobs/new/preview", texts)
    assert "usually takes" in words(soup(answer), "[data-code=very_frequent]")


def test_preview_warns_of_a_crowd_but_not_of_oneself(viewer: Person, book: Book) -> None:
    date = {"type": "date", "run_date": "2099-07-01T09:00:00Z"}
    ids = [book.add("demo.nothing", trigger=date) for _ in range(10)]
    texts = {"trigger.type": "date", "trigger.run_date": "2099-07-01 09:00"}
    answer = viewer.post("/jobs/new/preview", texts)
    assert "10 other jobs" in words(soup(answer), "[data-code=busy_moment]")
    answer = viewer.post(f"/jobs/{ids[0]}/edit/preview", texts)
    assert not soup(answer).select("[data-code]")


@pytest.mark.parametrize("zone", [{}, {"timezone": "UTC"}], ids=["no zone", "UTC"])
def test_preview_of_an_edit_goes_on_as_the_job_does(
    admin: Person, book: Book, zone: dict[str, str]
) -> None:
    hours = {"type": "interval", "hours": 7}
    job_id = book.add("demo.nothing", trigger=hours | zone)
    with book.site.database.write() as session:  # it was saved a while ago
        session.get_one(Job, job_id).trigger = (
            hours
            | zone
            | {
                "start_date": "2026-01-01T00:07:07+00:00",
                "anchored": True,
            }
        )
    shown = fire_times(admin.get(f"/jobs/{job_id}/edit"))
    assert [text.partition(":")[2] for text in shown] == ["07:07 UTC"] * 10


def test_preview_of_what_is_wrong_shows_no_fire_times(viewer: Person) -> None:
    answer = preview(viewer, type="cron", hour="25")
    assert fire_times(answer) == []
    assert "Hour:" in words(soup(answer), ".preview-problems")


def test_preview_of_nothing_yet_is_no_complaint(viewer: Person) -> None:
    for kind in ("cron", "crontab", "date", ""):
        answer = preview(viewer, type=kind)
        assert not soup(answer).select(".preview-problems, .fires")


def test_preview_needs_a_sign_in(site: Site) -> None:
    site.client.delete_cookie("dashboard-sign-in")
    assert site.client.post("/jobs/new/preview", headers=HTMX).status_code == 401


# -- changing a job --------------------------------------------------------------------------------


def test_form_shows_the_job_and_saving_it_unchanged_changes_nothing(
    admin: Person, book: Book
) -> None:
    parameters = {"day": "today", "count": 5}
    job_id = book.add("reports.daily", parameters=parameters, notes="a\nb", misfire_grace_time=None)
    answer = admin.edit(job_id)
    assert answer.location == f"/jobs/{job_id}"
    assert "Nothing was changed." in admin.get(answer.location).text
    job = book.job(job_id)
    assert (job.version, job.parameters) == (1, parameters)


def test_only_what_was_changed_is_saved(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing", trigger={"type": "date", "run_date": "2099-01-01T00:00:00Z"})
    book.change(job_id, trigger={"type": "date", "run_date": "2020-01-01T00:00:00+00:00"})
    assert admin.edit(job_id, notes="It is over.").status_code == 303
    job = book.job(job_id)
    assert (job.notes, job.version) == ("It is over.", 2)
    with book.site.database.read() as session:
        last = session.query(Audit).filter_by(action="job.change").one()
    assert last.detail == {"before": {"notes": ""}, "after": {"notes": "It is over."}}


def test_trigger_is_changed_and_paused_stays_paused(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    assert admin.post(f"/jobs/{job_id}/pause").status_code == 303
    assert admin.edit(job_id, trigger__every="2").status_code == 303
    job = book.job(job_id)
    assert job.trigger["hours"] == 2
    assert job.paused_at is not None
    assert job.next_run_time is None


def test_wrong_edit_keeps_what_was_typed(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    answer = admin.edit(job_id, trigger__every="0", notes="typed")
    assert answer.status_code == 422
    assert "trigger.every" in complaints(answer)
    texts = form_of(answer)
    assert (texts["trigger.every"], texts["notes"], texts["version"]) == ("0", "typed", "1")
    assert book.job(job_id).version == 1


def test_broken_job_can_be_given_another_task(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    book.change(job_id, task="gone.task", parameters={"day": "today"}, broken_reason="gone")
    answer = admin.get(f"/jobs/{job_id}/edit")
    assert "not registered" in answer.text
    assert "&#34;day&#34;: &#34;today&#34;" in answer.text
    texts = form_of(
        admin.post(f"/jobs/{job_id}/edit/fields", form_of(answer) | {"task": "reports.daily"})
    )
    assert texts["parameters.day"] == "today"
    assert admin.post(f"/jobs/{job_id}/edit", texts).status_code == 303
    job = book.job(job_id)
    assert (job.task, job.parameters, job.broken_reason) == (
        "reports.daily",
        {"day": "today"},
        None,
    )


def test_combination_within_a_combination_is_edited(admin: Person, book: Book) -> None:
    inner = {"type": "and", "triggers": [{"type": "cron", "hour": "6"}]}
    job_id = book.add("demo.nothing", trigger={"type": "or", "triggers": [inner]})
    texts = form_of(admin.get(f"/jobs/{job_id}/edit"))
    assert texts["trigger.triggers.0.triggers.0.hour"] == "6"
    answer = admin.edit(job_id, trigger__triggers__0__triggers__0__hour="25")
    hour = "#trigger-triggers-0-triggers-0-hour"
    assert "“25” is out of range" in words(soup(answer), f"{hour}-errors")
    answer = admin.edit(job_id, trigger__triggers__0__triggers__0__hour="7")
    assert answer.status_code == 303
    assert book.job(job_id).trigger["triggers"][0]["triggers"] == [{"type": "cron", "hour": "7"}]


def test_preview_of_an_edit_tells_what_saving_changes(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    texts = form_of(admin.get(f"/jobs/{job_id}/edit"))
    url = f"/jobs/{job_id}/edit/preview"
    assert "Nothing so far." in admin.post(url, texts).text
    page = soup(admin.post(url, texts | {"name": "Other", "trigger.every": "2"}))
    changes = page.select_one(".changes")
    assert changes is not None
    assert [term.text for term in changes.select("dt")] == ["Trigger", "Name"]
    assert [new.text for new in changes.select("ins")] == ["Every 2 hours (UTC)", "Other"]


def test_stale_edit_is_refused_and_merged_for_looking_over(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing", name="First")
    mine = form_of(admin.get(f"/jobs/{job_id}/edit")) | {"notes": "mine", "tags": "my"}
    assert admin.edit(job_id, notes="theirs", name="Second").status_code == 303
    answer = admin.post(f"/jobs/{job_id}/edit", mine)
    assert answer.status_code == 409
    assert book.job(job_id).notes == "theirs"
    rows = {
        words(row, "th"): [" ".join(cell.text.split()) for cell in row.select("td")]
        for row in soup(answer).select(".differences tbody tr")
    }
    assert rows == {
        "Name": ["First", "Second", "you left it; it stays as it is now"],
        "Notes": ["(empty)", "theirs", "mine saving overrides it"],
    }
    texts = form_of(answer)
    assert (texts["name"], texts["notes"], texts["tags"]) == ("Second", "mine", "my")
    assert admin.post(f"/jobs/{job_id}/edit", texts).status_code == 303
    job = book.job(job_id)
    assert (job.name, job.notes, job.tags, job.version) == ("Second", "mine", ["my"], 3)


def test_stale_edit_stays_stale_whatever_is_shown_in_between(admin: Person, book: Book) -> None:
    job_id = book.add()
    url = f"/jobs/{job_id}/edit"
    mine = form_of(admin.get(url)) | {"max_instances": "2", "trigger.every": "0"}
    assert admin.edit(job_id, notes="theirs").status_code == 303
    refused = admin.post(url, mine)
    assert refused.status_code == 422
    again = form_of(admin.post(f"{url}/fields", form_of(refused) | {"trigger.every": "1"}))
    answer = admin.post(url, again)
    assert answer.status_code == 409
    assert book.job(job_id).notes == "theirs"
    assert admin.post(url, form_of(answer)).status_code == 303
    job = book.job(job_id)
    assert (job.notes, job.max_instances) == ("theirs", 2)


def test_pausing_meanwhile_is_told_though_no_field_changed(admin: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    mine = form_of(admin.get(f"/jobs/{job_id}/edit")) | {"notes": "mine"}
    assert admin.post(f"/jobs/{job_id}/pause").status_code == 303
    answer = admin.post(f"/jobs/{job_id}/edit", mine)
    assert answer.status_code == 409
    assert "paused or resumed" in answer.text
    assert form_of(answer)["notes"] == "mine"


@pytest.mark.parametrize("broken", [{"version": "x"}, {"version": ""}, {"version": "9" * 99}])
def test_edit_without_a_version_is_refused(
    admin: Person, book: Book, broken: dict[str, str]
) -> None:
    job_id = book.add("demo.nothing")
    texts = form_of(admin.get(f"/jobs/{job_id}/edit")) | {"notes": "mine"}
    for base in ("", "[", "[1]", '{"a": 1}', "[" * 5000):
        answer = admin.post(f"/jobs/{job_id}/edit", texts | broken | {"base": base})
        assert answer.status_code == 409
    assert book.job(job_id).version == 1


@pytest.mark.parametrize("job_id", ["50% of ü?", "a#b&c=d", "<i>'\"", "." * 3])
def test_job_with_an_odd_id_can_be_edited(admin: Person, book: Book, job_id: str) -> None:
    book.add(id=job_id)
    form = soup(admin.get(f"/jobs/{quote(job_id, safe='')}/edit")).select_one("#job-form")
    assert form is not None
    texts = form_of(admin.get(str(form["action"]))) | {"notes": "found"}
    assert admin.post(str(form["action"]), texts).status_code == 303
    assert book.job(job_id).notes == "found"


def test_job_that_is_gone(admin: Person) -> None:
    for url in ("/jobs/gone/edit", "/jobs/gone/edit/fields", "/jobs/gone/edit/preview"):
        assert admin.post(url).status_code == 404
    assert admin.get("/jobs/gone/edit").status_code == 404


# -- roles -----------------------------------------------------------------------------------------


def test_operator_changes_the_trigger_and_nothing_else(operator: Person, book: Book) -> None:
    job_id = book.add("demo.nothing", notes="kept")
    texts = form_of(operator.get(f"/jobs/{job_id}/edit"))
    assert {name.partition(".")[0] for name in texts} == {
        "csrf_token",
        "version",
        "base",
        "trigger",
    }
    answer = operator.post(f"/jobs/{job_id}/edit", texts | {"trigger.every": "3"})
    assert answer.status_code == 303
    assert book.job(job_id).trigger["hours"] == 3
    texts["version"] = "2"
    forged = texts | {"trigger.every": "4", "notes": "forged"}
    assert operator.post(f"/jobs/{job_id}/edit", forged).status_code == 403
    assert book.job(job_id).notes == "kept"


def test_who_may_not_is_refused(operator: Person, viewer: Person, book: Book) -> None:
    job_id = book.add("demo.nothing")
    assert operator.get("/jobs/new").status_code == 403
    assert operator.post("/jobs/new", HOURLY).status_code == 403
    assert viewer.get(f"/jobs/{job_id}/edit").status_code == 403
    assert viewer.post(f"/jobs/{job_id}/edit", HOURLY).status_code == 403
    assert viewer.post("/jobs/new/fields", HOURLY).status_code == 403


def test_a_clone_is_like_the_job_under_a_name_and_an_id_of_its_own(
    admin: Person, book: Book
) -> None:
    given = {"parameters": {"day": "today", "count": 9}, "tags": ["a", "b"], "max_instances": 4}
    book.add("reports.daily", name="Daily", id="daily", notes="why", coalesce=False, **given)
    admin.post("/jobs/daily/pause")
    form = form_of(admin.get("/jobs/new?clone=daily"))
    assert (form["name"], form["id"]) == ("Daily (copy)", "daily-copy")
    assert admin.post("/jobs/new", form).status_code == 303
    job, clone = book.job("daily"), book.job("daily-copy")
    for name in ("task", "parameters", "tags", "notes", "max_instances", "executor", "coalesce"):
        assert getattr(clone, name) == getattr(job, name)
    assert clone.trigger["hours"] == 1
    assert clone.paused_at is None
    assert form_of(admin.get("/jobs/new?clone=daily"))["id"] == "daily-copy-2"


def test_what_is_not_there_cannot_be_cloned(admin: Person) -> None:
    assert admin.get("/jobs/new?clone=nobody").status_code == 404
