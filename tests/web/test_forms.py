from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from dashboard.errors import FieldError, Invalid
from dashboard.scheduling import triggers
from dashboard.scheduling.kinds import DEEPEST
from dashboard.services.jobdata import check_new
from dashboard.web import optionforms, triggerforms
from dashboard.web.changes import changed_keys, changed_parts, differences, meanwhile, merged
from dashboard.web.formfields import KINDS, SIMPLE
from dashboard.web.forms import (
    JobForm,
    all_faults,
    completed,
    job_data,
    job_texts,
    new_texts,
    posted_texts,
    sentence,
    with_defaults,
)
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.settings import Settings

INTERVAL = {"trigger.type": "interval", "trigger.every": "5", "trigger.unit": "minutes"}


def report(
    day: date,
    recipients: list[str] = ["ops@example.com"],  # noqa: B006 -- a default as people write it
    *,
    dry_run: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    pause: timedelta = timedelta(minutes=5),
) -> None:
    """Make the report
    of one day.

    - and send it
    - or not
    """


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    register(report, "reports.daily")
    register(lambda: None, "demo.nothing")
    register(lambda: None, "demo.stubborn", executor="processes", timeout=90, retries=2)


def round_trip(stored: dict[str, Any], zone: str = "Europe/Berlin") -> dict[str, Any]:
    """Show a stored trigger in the form, send that, and return what would be stored."""
    data, faults = triggerforms.data_of(triggerforms.texts_of(stored, zone))
    assert faults == []
    return triggers.load(data, timezone=zone).data


def places(faults: list[FieldError], texts: dict[str, str]) -> dict[str, list[str]]:
    return JobForm(texts, faults=tuple(faults)).complaints


# -- texts to JSON ---------------------------------------------------------------------------------


def test_whole_job_becomes_the_json_of_the_contract(settings: Settings) -> None:
    texts = {
        **INTERVAL,
        "task": "reports.daily",
        "name": "Daily",
        "id": "daily",
        "trigger.timezone": "Europe/Berlin",
        "parameters.day": "2027-03-01",
        "parameters.recipients": "a@example.com\nb@example.com\n",
        "parameters.dry_run": "true",
        "parameters.mode": "fast",
        "parameters.pause": "5m",
        "executor": "processes",
        "coalesce": "false",
        "max_instances": "3",
        "misfire_grace_time": "",
        "tags": "billing,nightly  eu",
        "notes": "Call Ann.",
    }
    data, faults = job_data(texts)
    assert faults == []
    assert data == {
        "task": "reports.daily",
        "name": "Daily",
        "id": "daily",
        "parameters": {
            "day": "2027-03-01",
            "recipients": ["a@example.com", "b@example.com"],
            "dry_run": True,
        },
        "trigger": {"type": "interval", "minutes": "5", "timezone": "Europe/Berlin"},
        "executor": "processes",
        "coalesce": False,
        "max_instances": "3",
        "misfire_grace_time": "",
        "tags": ["billing", "nightly", "eu"],
        "notes": "Call Ann.",
    }
    values = check_new(data, settings, datetime.now(UTC))
    assert values["misfire_grace_time"] is None
    assert values["max_instances"] == 3
    assert values["trigger"]["minutes"] == 5


def test_parameter_left_at_its_default_is_not_given() -> None:
    data, _ = job_data({"task": "reports.daily", "parameters.pause": "5m", **INTERVAL})
    assert data["parameters"] == {}


def test_cleared_list_is_given_as_empty() -> None:
    data, _ = job_data({"task": "reports.daily", "parameters.recipients": "", **INTERVAL})
    assert data["parameters"] == {"recipients": []}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            {"type": "cron", "minute": "*/15", "hour": " 9-17 ", "second": ""},
            {"type": "cron", "minute": "*/15", "hour": "9-17"},
        ),
        (
            {"type": "crontab", "crontab": "0 9 * * 1"},
            {"type": "cron", "crontab": "0 9 * * 1"},
        ),
        (
            {"type": "date", "run_date": "2030-01-01 09:00", "timezone": "UTC"},
            {"type": "date", "run_date": "2030-01-01 09:00", "timezone": "UTC"},
        ),
        (
            {"type": "calendarinterval", "months": "1", "at": "9:30", "start_date": "2030-01-31"},
            {
                "type": "calendarinterval",
                "months": "1",
                "hour": 9,
                "minute": 30,
                "start_date": "2030-01-31",
            },
        ),
        (
            {"type": "interval", "every": "2", "unit": "weeks", "jitter": "5"},
            {"type": "interval", "weeks": "2", "jitter": "5"},
        ),
        (
            {
                "type": "or",
                "jitter": "9",
                "triggers.0.type": "cron",
                "triggers.0.hour": "6",
                "triggers.1.type": "crontab",
                "triggers.1.crontab": "@daily",
            },
            {
                "type": "or",
                "jitter": "9",
                "triggers": [{"type": "cron", "hour": "6"}, {"type": "cron", "crontab": "@daily"}],
            },
        ),
        (
            {"type": "json", "json": '{"type": "interval", "hours": 1, "minutes": 30}'},
            {"type": "interval", "hours": 1, "minutes": 30},
        ),
    ],
)
def test_trigger_becomes_json(texts: dict[str, str], expected: dict[str, Any]) -> None:
    data, faults = triggerforms.data_of({f"trigger.{name}": text for name, text in texts.items()})
    assert faults == []
    assert data == expected


def test_only_fields_of_the_kind_chosen_count() -> None:
    texts = {**INTERVAL, "trigger.hour": "7", "trigger.crontab": "nonsense"}
    assert triggerforms.data_of(texts) == ({"type": "interval", "minutes": "5"}, [])


@pytest.mark.parametrize(
    ("texts", "field", "message"),
    [
        ({"type": "interval", "unit": "hours"}, "trigger.every", "Is needed."),
        ({"type": "interval", "every": "1", "unit": "eons"}, "trigger.unit", "Choose one"),
        ({"type": "interval", "every": "0", "unit": "hours"}, "trigger.every", "at least 1"),
        ({"type": "interval", "every": "-5", "unit": "hours"}, "trigger.every", "at least 1"),
        ({"type": "interval", "every": "x", "unit": "hours"}, "trigger.every", "at least 1"),
        ({"type": "crontab", "crontab": "  "}, "trigger.crontab", "Is needed."),
        ({"type": "date"}, "trigger.run_date", "Is needed."),
        ({"type": "calendarinterval", "days": "1", "at": "noon"}, "trigger.at", "time of day"),
        ({"type": "json", "json": "{"}, "trigger.json", "line 1, column 2"),
        ({"type": "json", "json": "[1]"}, "trigger.json", "Must be an object"),
        ({"type": "json", "json": "[" * 9000}, "trigger.json", "too many"),
        ({"type": "json", "json": "9" * 9000}, "trigger.json", "number"),
        ({"type": "json", "json": " " * 20_001 + "{}"}, "trigger.json", "at most 20,000"),
        (
            {"type": "and", "triggers.0.type": "crontab"},
            "trigger.triggers.0.crontab",
            "Is needed.",
        ),
    ],
)
def test_unreadable_trigger_is_told_beside_its_field(
    texts: dict[str, str], field: str, message: str
) -> None:
    _, faults = triggerforms.data_of({f"trigger.{name}": text for name, text in texts.items()})
    assert [fault.field for fault in faults] == [field]
    assert message in faults[0].message


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        ({"type": "interval", "every": "9" * 20, "unit": "hours"}, "trigger.every"),
        (
            {
                "type": "interval",
                "every": "1",
                "unit": "hours",
                "start_date": "2030-01-01",
                "end_date": "2029-01-01",
            },
            "trigger.end_date",
        ),
        ({"type": "cron"}, "trigger.type"),
        ({"type": "cron", "hour": "25"}, "trigger.hour"),
        ({"type": "cron", "hour": "1", "timezone": "Moon/Base"}, "trigger.timezone"),
        ({"type": "crontab", "crontab": "1 2 3"}, "trigger.crontab"),
        ({"type": "calendarinterval", "at": "25:00", "days": "1"}, "trigger.at"),
        ({"type": "calendarinterval"}, "trigger.type"),
        ({"type": "fortnightly"}, "trigger.type"),
        ({"type": ""}, "trigger.type"),
        ({"type": "and"}, "trigger.type"),
        ({"type": "or", "triggers.0.type": "cron"}, "trigger.triggers.0.type"),
        (
            {"type": "or", "triggers.0.type": "cron", "triggers.0.day": "x"},
            "trigger.triggers.0.day",
        ),
        (
            {
                "type": "or",
                "triggers.0.type": "interval",
                "triggers.0.every": "99999999",
                "triggers.0.unit": "days",
            },
            "trigger.triggers.0.every",
        ),
        ({"type": "json", "json": '{"type": "cron", "hour": 99}'}, "trigger.json"),
    ],
)
def test_complaint_about_the_trigger_finds_its_field(texts: dict[str, str], place: str) -> None:
    texts = {f"trigger.{name}": text for name, text in texts.items()}
    data, faults = triggerforms.data_of(texts)
    assert faults == []
    with pytest.raises(Invalid) as refused:
        triggers.load(data)
    assert list(places(refused.value.errors, texts)) == [place]


def test_complaints_about_what_no_field_shows_come_first() -> None:
    texts = {**INTERVAL, "task": "reports.daily"}
    faults = (
        FieldError("parameters.recipients.0", "must be text"),
        FieldError("parameters", "Too long."),
        FieldError("elsewhere", "is odd"),
        FieldError("task", "Choose a task."),
    )
    summary = JobForm(texts, faults=faults).summary
    assert [(field.label if field else None, message) for field, message in summary] == [
        (None, "Too long."),
        (None, "Is odd."),
        ("Task", "Choose a task."),
        ("Recipients", "Must be text."),
    ]


def test_faults_of_the_form_and_of_the_service_are_told_together() -> None:
    own = [FieldError("parameters.day", "Must be a date.")]
    others = [FieldError("parameters.mode", "x"), FieldError("max_instances", "y")]
    assert all_faults(own, others) == [own[0], others[1]]


def test_sentence() -> None:
    assert sentence("is past") == "Is past."
    assert sentence("Choose a task.") == "Choose a task."
    assert sentence("") == "."


def test_unreadable_parameters_are_told_and_left_out() -> None:
    texts = {**INTERVAL, "task": "reports.daily", "parameters.pause": "soon", "max_instances": "1"}
    data, faults = job_data(texts)
    assert "parameters" not in data
    assert {fault.field for fault in faults} == {"parameters.pause", "parameters.day"}


# -- JSON to texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({"minutes": 90}, ("90", "minutes")),
        ({"hours": 1, "minutes": 30}, ("90", "minutes")),
        ({"days": 1, "hours": 24}, ("2", "days")),
        ({"days": 7, "weeks": 1}, ("2", "weeks")),
        ({"minutes": 1, "seconds": 1}, ("61", "seconds")),
        ({"hours": 24}, ("24", "hours")),
    ],
)
def test_interval_is_shown_in_one_unit(stored: dict[str, int], shown: tuple[str, str]) -> None:
    texts = triggerforms.texts_of({"type": "interval", **stored}, "UTC")
    assert (texts["trigger.every"], texts["trigger.unit"]) == shown


@pytest.mark.parametrize(
    ("stored", "zone", "shown"),
    [
        ("2027-03-01T09:00:00+01:00", "Europe/Berlin", "2027-03-01 09:00:00"),
        ("2027-03-01T09:00:00+01:00", "Asia/Tokyo", "2027-03-01 09:00:00+01:00"),
        ("2027-10-31T02:30:00+02:00", "Europe/Berlin", "2027-10-31 02:30:00"),
        ("2027-10-31T02:30:00+01:00", "Europe/Berlin", "2027-10-31 02:30:00+01:00"),
        ("2027-03-01T09:00:00", "Europe/Berlin", "2027-03-01 09:00:00"),
        ("soon", "Europe/Berlin", "soon"),
        ("2027-03-01T09:00:00+01:00", "Moon/Base", "2027-03-01T09:00:00+01:00"),
    ],
)
def test_moment_is_shown_as_the_clocks_of_its_zone_show_it(
    stored: str, zone: str, shown: str
) -> None:
    texts = triggerforms.texts_of({"type": "date", "run_date": stored}, zone)
    assert texts["trigger.run_date"] == shown


@pytest.mark.parametrize(
    "stored",
    [
        {"type": "interval", "minutes": 5, "start_date": "2027-03-01T09:00:00+01:00", "jitter": 3},
        {"type": "cron", "hour": "6", "day_of_week": "mon-fri", "end_date": "2030-01-01T00:00:00Z"},
        {"type": "cron", "crontab": "0 9 * * 1"},
        {"type": "date", "run_date": "2027-10-31T02:30:00+01:00"},
        {"type": "calendarinterval", "months": 1, "hour": 9, "second": 5},
        {"type": "calendarinterval", "days": 3, "start_date": "2030-01-31", "jitter": 60},
        {"type": "and", "triggers": [{"type": "cron", "hour": "6"}, {"type": "cron", "day": "1"}]},
        {
            "type": "or",
            "jitter": 5,
            "triggers": [
                {"type": "interval", "hours": 1, "start_date": "2027-03-01T09:00:00+09:00",
                 "timezone": "Asia/Tokyo"},
                {"type": "and", "timezone": "Asia/Tokyo", "triggers": [
                    {"type": "cron", "hour": "6", "start_date": "2027-03-01T09:00:00+09:00"},
                    {"type": "or", "triggers": [{"type": "cron", "crontab": "@daily"}]},
                ]},
            ],
        },
    ],
)  # fmt: skip
def test_stored_trigger_survives_the_form(stored: dict[str, Any]) -> None:
    zone = "Europe/Berlin"
    normal = triggers.load(stored, timezone=zone).data
    assert round_trip(stored) == {**normal, "timezone": normal.get("timezone", zone)}


@pytest.mark.parametrize(
    "stored",
    [
        {"type": "lunar", "phase": "full"},
        {"type": "cron", "hour": "6", "phase": "full"},
        {"type": "interval", "hours": "many"},
        {"type": "calendarinterval", "days": 1, "hour": "x"},
        {"type": "or", "triggers": "none"},
        {},
    ],
)
def test_trigger_that_no_fields_can_say_is_shown_as_json(stored: dict[str, Any]) -> None:
    texts = triggerforms.texts_of(stored, "UTC")
    assert texts["trigger.type"] == "json"
    assert triggerforms.data_of(texts) == (stored, [])


def test_unknown_task_keeps_its_parameters() -> None:
    job = make_job(task="gone.task", parameters={"day": "2027-03-01", "count": 3})
    texts = job_texts(job)
    assert texts["parameters.day"] == "2027-03-01"
    assert texts["parameters.count"] == "3"
    form = JobForm(texts, is_new=False)
    assert form.parameters == ()
    assert ("gone.task", "gone.task (not registered)") in form.task_field.choices


def test_job_survives_the_form() -> None:
    job = make_job(
        parameters={"day": "2027-03-01", "recipients": [], "pause": "PT1H"},
        trigger={"type": "cron", "hour": "6"},
        timezone="Europe/Berlin",
        misfire_grace_time=None,
        coalesce=False,
        tags=["a", "b"],
        notes="two\nlines",
    )
    data, faults = job_data(job_texts(job))
    assert faults == []
    for name in ("name", "task", "parameters", "executor", "coalesce", "tags", "notes"):
        assert data[name] == getattr(job, name)
    assert data["trigger"] == {"type": "cron", "hour": "6", "timezone": "Europe/Berlin"}


# -- what is sent ----------------------------------------------------------------------------------


def test_last_of_repeated_fields_counts_and_strangers_are_ignored() -> None:
    posted = MultiDict(
        [
            ("coalesce", "false"),
            ("coalesce", "true"),
            ("notes", "a\r\nb"),
            ("csrf_token", "x"),
            ("job", "y"),
        ]
    )
    assert posted_texts(posted) == {"coalesce": "true", "notes": "a\nb"}


def test_triggers_inside_are_counted_anew() -> None:
    posted = MultiDict(
        {
            "trigger.type": "or",
            "trigger.triggers.7.type": "cron",
            "trigger.triggers.7.hour": "6",
            "trigger.triggers.3.type": "interval",
            "trigger.triggers.x.type": "cron",
        }
    )
    texts = posted_texts(posted)
    assert texts["trigger.triggers.0.type"] == "interval"
    assert texts["trigger.triggers.1.hour"] == "6"


def test_number_of_triggers_inside_is_bounded() -> None:
    posted = MultiDict({f"trigger.triggers.{n}.type": "cron" for n in range(500)})
    texts = posted_texts(posted) | {"trigger.type": "or"}
    data, _ = triggerforms.data_of(texts)
    with pytest.raises(Invalid, match="at most 20"):
        triggers.load(data)
    assert len(texts) < 30


def test_trigger_inside_can_be_added_and_removed() -> None:
    texts = triggerforms.with_first_children({"trigger.type": "and"})
    texts |= {"trigger.triggers.0.hour": "1", "trigger.triggers.1.hour": "2"}
    texts = triggerforms.with_child(texts)
    assert [child.path for child in triggerforms.editor(texts).children] == [
        "trigger.triggers.0",
        "trigger.triggers.1",
        "trigger.triggers.2",
    ]
    texts = triggerforms.without_child(texts, "trigger.triggers.0")
    assert texts["trigger.triggers.0.hour"] == "2"
    assert "trigger.triggers.2.type" not in texts


def test_triggers_nest_as_deep_as_they_may_and_no_deeper() -> None:
    def nested(levels: int) -> dict[str, Any]:
        inside = {"type": "cron", "hour": "6"}
        return {"type": "or", "triggers": [nested(levels - 1)]} if levels else inside

    assert round_trip(nested(DEEPEST), "UTC")["triggers"] == nested(DEEPEST)["triggers"]
    *_, last = triggerforms.editor(triggerforms.texts_of(nested(DEEPEST), "UTC")).editors()
    assert last.number == "1.1.1.1.1"
    assert {kind for kind, _label in last.choice.choices} == set(SIMPLE)
    too_deep = triggerforms.texts_of(nested(DEEPEST + 1), "UTC")
    assert too_deep[f"{last.path}.type"] == "json"


def test_parts_the_form_did_not_have_stay() -> None:
    known = {"task": "reports.daily", "parameters.day": "2027-03-01", "notes": "n", **INTERVAL}
    texts = completed({"trigger.type": "cron", "trigger.hour": "6"}, known)
    assert texts == {
        "task": "reports.daily",
        "parameters.day": "2027-03-01",
        "notes": "n",
        "trigger.type": "cron",
        "trigger.hour": "6",
    }
    assert "parameters.day" not in completed({"task": "demo.nothing"}, known)


# -- what is shown ---------------------------------------------------------------------------------


def test_new_form_shows_defaults(settings: Settings) -> None:
    form = JobForm(with_defaults(new_texts(settings) | {"task": "reports.daily"}))
    shown = {field.name: form.text(field) for field in form.shown}
    assert shown["trigger.type"] == "interval"
    assert shown["trigger.timezone"] == "UTC"
    assert shown["parameters.recipients"] == "ops@example.com"
    assert shown["parameters.day"] == ""
    assert shown["coalesce"] == "true"
    assert shown["misfire_grace_time"] == "60"


@pytest.mark.parametrize("is_new", [True, False])
def test_each_option_tells_its_default(settings: Settings, is_new: bool) -> None:
    usual = optionforms.new_texts(settings)
    form = JobForm({"task": "demo.stubborn"}, is_new=is_new, usual=usual)
    told = {
        field.name: field.help.rpartition("Default: ")[2]
        for group in form.groups
        for field in group.fields
        if "Default: " in field.help
    }
    assert told == {
        "executor": "processes.",
        "coalesce": "on.",
        "max_instances": "1.",
        "misfire_grace_time": "60.",
        "timeout": "90.",
        "retries": "2.",
        "retry_wait": "60.",
        "stop_on_success": "off.",
        "stop_on_failure": "off.",
    }


def test_texts_not_shown_are_carried_along() -> None:
    texts = {**INTERVAL, "trigger.hour": "6", "task": "demo.nothing", "parameters.day": "d"}
    form = JobForm(texts)
    assert form.carried("trigger") == {"trigger.hour": "6"}
    assert form.carried("parameters") == {"parameters.day": "d"}


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("day", "2027-03-01", "date"),
        ("day", "first of may", "text"),
        ("every", "5", "number"),
        ("every", "five", "text"),
    ],
)
def test_input_shows_what_was_typed_whatever_that_is(kind: str, text: str, expected: str) -> None:
    name = "parameters.day" if kind == "day" else "trigger.every"
    form = JobForm({**INTERVAL, "task": "reports.daily", name: text})
    field = next(field for field in form.shown if field.name == name)
    assert form.attributes(field)["type"] == expected


def test_tasks_are_found_by_name_and_description() -> None:
    def names(search: str, chosen: str = "") -> list[str]:
        form = JobForm({"task": chosen}, search=search)
        return [value for value, _ in form.task_field.choices]

    assert names("SEND report") == ["reports.daily"]
    assert names("nothing") == ["demo.nothing"]
    assert names("no such words") == []
    assert names("nothing", chosen="reports.daily") == ["demo.nothing", "reports.daily"]


def test_docstring_is_set_in_paragraphs() -> None:
    assert JobForm({"task": "reports.daily"}).paragraphs == [
        "Make the report of one day.",
        "- and send it\n- or not",
    ]
    assert JobForm({"task": "demo.nothing"}).paragraphs == []
    assert JobForm({}).paragraphs == []


# -- changes ---------------------------------------------------------------------------------------


BASE = {
    "task": "reports.daily",
    "name": "Daily",
    "parameters.day": "2027-03-01",
    "coalesce": "true",
    "notes": "",
    **INTERVAL,
}


def test_changed_parts_name_a_trigger_as_a_whole() -> None:
    after = {**BASE, "notes": "Call Ann.", "trigger.every": "10", "trigger.crontab": "carried"}
    assert changed_parts(BASE, after) == ["trigger", "notes"]
    assert changed_keys(BASE, after) == {"trigger", "notes"}
    assert changed_keys(BASE, BASE | {"trigger.crontab": "carried"}) == set()


def test_another_task_brings_other_parameters() -> None:
    assert changed_keys(BASE, {**BASE, "task": "demo.nothing"}) == {"task", "parameters"}


def test_differences_are_told_in_words() -> None:
    after = {**BASE, "coalesce": "false", "notes": "Call Ann.", "trigger.every": "10"}
    found = {each.label: (each.before, each.after) for each in differences(BASE, after)}
    assert found["Coalesce"] == ("yes", "no")
    assert found["Notes"] == ("(empty)", "Call Ann.")
    assert found["Trigger"] == ("Every 5 minutes (UTC)", "Every 10 minutes (UTC)")


def test_difference_that_the_sentence_does_not_tell_is_shown_as_json() -> None:
    [found] = differences(BASE, {**BASE, "trigger.jitter": "9"})
    assert '"jitter": "9"' in found.after
    [found] = differences(BASE, {**BASE, "trigger.every": "often"})
    assert '"minutes": "often"' in found.after


def test_two_edits_are_merged_part_by_part() -> None:
    theirs = {**BASE, "name": "Theirs", "notes": "theirs", "trigger.every": "7"}
    mine = {**BASE, "notes": "mine", "parameters.day": "2027-04-01"}
    assert merged(BASE, theirs, mine) == {
        **theirs,
        "notes": "mine",
        "parameters.day": "2027-04-01",
    }
    rows = {row.label: (row.before, row.after, row.mine) for row in meanwhile(BASE, theirs, mine)}
    assert rows == {
        "Name": ("Daily", "Theirs", None),
        "Notes": ("(empty)", "theirs", "mine"),
        "Trigger": ("Every 5 minutes (UTC)", "Every 7 minutes (UTC)", None),
    }


def test_trigger_of_mine_replaces_theirs_as_a_whole() -> None:
    theirs = {**BASE, "trigger.jitter": "5"}
    mine = {**BASE, "trigger.type": "crontab", "trigger.crontab": "@daily"}
    texts = merged(BASE, theirs, mine)
    assert "trigger.jitter" not in texts
    assert texts["trigger.crontab"] == "@daily"


def test_the_same_wish_is_no_clash() -> None:
    same = {**BASE, "notes": "both"}
    assert [row.mine for row in meanwhile(BASE, same, same)] == [None]


# -- anything at all -------------------------------------------------------------------------------

NAMES = sorted(
    {field.name for kind in (*SIMPLE, "and", "or", "json") for field in
     triggerforms.editor({"trigger.type": kind}).walk()}
    | {f"trigger.triggers.{n}.{name}" for n in (0, 5) for name in ("type", "hour", "json")}
    | {f"trigger.triggers.5.triggers.{n}.{name}" for n in (1, 7) for name in ("type", "hour")}
)  # fmt: skip


@given(
    kind=st.sampled_from([*KINDS, "", "x"]),
    texts=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)),
)
def test_no_trigger_text_breaks_the_form(kind: str, texts: dict[str, str]) -> None:
    texts = triggerforms.renumbered(texts | {"trigger.type": kind})
    data, faults = triggerforms.data_of(texts)
    try:
        triggers.load(data)
    except Invalid as refused:
        faults = [*faults, *refused.errors]
    form = JobForm(texts, faults=tuple(faults))
    shown = {field.name for field in form.shown}
    assert set(form.complaints) <= shown
    assert differences(BASE, texts) is not None
