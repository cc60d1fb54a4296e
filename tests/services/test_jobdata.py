"""Hostile input: the answer is a complaint about a named field, or a valid job."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dashboard.errors import Invalid
from dashboard.services.jobdata import FIELDS, check_change, check_new, id_from_name
from dashboard.settings import Settings
from dashboard.storage.models import ID_LENGTH, Job
from tests.factories import HOURLY
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2027, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SETTINGS = Settings()


def sample(day: str, count: int = 1, *, dry_run: bool = False) -> None:
    """Do something a day."""


def plain() -> None:
    """Take nothing."""


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    register(sample, "test.sample", executor="processes")
    register(plain, "test.plain")


def good(**data: Any) -> dict[str, Any]:
    return {"task": "test.sample", "parameters": {"day": "x"}, "trigger": HOURLY} | data


def complaints(data: Any, check: Callable[[Any], Any] | None = None) -> dict[str, str]:
    """Return the messages by field; fails if the input is accepted."""
    with pytest.raises(Invalid) as caught:
        (check or (lambda given: check_new(given, SETTINGS, NOW)))(data)
    return {error.field: error.message for error in caught.value.errors}


def change(data: Any, **row: Any) -> dict[str, Any]:
    return check_change(existing(**row), data, SETTINGS, NOW)


def existing(**values: Any) -> Job:
    values = {"task": "test.sample", "parameters": {"day": "x"}, "trigger": HOURLY} | values
    return make_job("mine", **values)


class TestNew:
    def test_only_task_trigger_and_required_parameters_are_needed(self) -> None:
        values = check_new(good(), SETTINGS, NOW)
        assert values["id"] is None
        assert values["name"] == "test.sample"
        assert values["executor"] == "processes"
        assert values["coalesce"] is True
        assert (values["max_instances"], values["misfire_grace_time"]) == (1, 60)
        assert (values["tags"], values["notes"]) == ([], "")
        assert values["parameters"] == {"day": "x"}
        assert values["next_run_time"] == datetime(2027, 3, 1, 13, 0, 1, tzinfo=UTC)

    def test_all_complaints_come_at_once(self) -> None:
        found = complaints(
            {
                "task": "no.such",
                "id": "a/b",
                "name": "\n",
                "trigger": {"type": "interval"},
                "executor": "moon",
                "coalesce": "yes",
                "max_instances": 0,
                "misfire_grace_time": -1,
                "tags": "x",
                "notes": 5,
                "colour": "red",
            }
        )
        assert found.keys() == {
            *("task", "id", "name", "trigger", "executor", "coalesce", "max_instances"),
            *("misfire_grace_time", "tags", "notes", "colour"),
        }

    @pytest.mark.parametrize(
        "task", [None, "", "no.such", 5, ["test.sample"], {}, "<b>", "os.system"]
    )
    def test_an_unknown_task_is_refused(self, task: Any) -> None:
        assert "task" in complaints(good(task=task))

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({}, "parameters.day"),
            ({"day": 5}, "parameters.day"),
            ({"day": "x", "count": "many"}, "parameters.count"),
            ({"day": "x", "count": 1.5}, "parameters.count"),
            ({"day": "x", "count": None}, "parameters.count"),
            ({"day": "x", "dry_run": "perhaps"}, "parameters.dry_run"),
            ({"day": "x", "extra": 1}, "parameters.extra"),
            ({"day": "\x00"}, "parameters"),
            ({"day": "x" * 100_000}, "parameters"),
            ([1, 2], "parameters"),
            ("day", "parameters"),
            (True, "parameters"),
        ],
    )
    def test_parameters_that_do_not_fit_the_task(self, parameters: Any, field: str) -> None:
        assert field in complaints(good(parameters=parameters))

    @pytest.mark.parametrize(
        ("trigger", "field"),
        [
            (None, "trigger"),
            ("hourly", "trigger"),
            ([HOURLY], "trigger"),
            ({}, "trigger.type"),
            ({"type": "interval"}, "trigger"),
            ({"type": "interval", "seconds": 0}, "trigger"),
            ({"type": "interval", "seconds": -5}, "trigger.seconds"),
            ({"type": "interval", "seconds": 0.5}, "trigger.seconds"),
            ({"type": "interval", "seconds": 1e300}, "trigger.seconds"),
            ({"type": "interval", "seconds": 10**400}, "trigger.seconds"),
            ({"type": "interval", "weeks": 10**9}, "trigger.weeks"),
            ({"type": "interval", "days": 36_525, "hours": 1}, "trigger"),
            ({"type": "interval", "seconds": True}, "trigger.seconds"),
            ({"type": "interval", "seconds": [1]}, "trigger.seconds"),
            ({"type": "interval", "seconds": 1, "lunes": 1}, "trigger.lunes"),
            ({"type": "cron", "month": 2, "day": 31}, "trigger.day"),
            ({"type": "cron", "year": 2020}, "trigger.year"),
            ({"type": "cron", "week": 1, "month": 7}, "trigger.week"),
            ({"type": "cron", "hour": 24}, "trigger.hour"),
            ({"type": "cron", "hour": "1--100000000"}, "trigger.hour"),
            ({"type": "cron", "day_of_week": "mon;x"}, "trigger.day_of_week"),
            ({"type": "cron", "crontab": "* * * *"}, "trigger.crontab"),
            ({"type": "cron", "crontab": "0 0 31 2 *"}, "trigger.crontab"),
            ({"type": "date", "run_date": "2026-01-01T00:00:00Z"}, "trigger.run_date"),
            ({"type": "date", "run_date": "soon"}, "trigger.run_date"),
            ({"type": "date"}, "trigger.run_date"),
            ({"type": "interval", "hours": 1, "timezone": "Mars/Base"}, "trigger.timezone"),
            ({"type": "interval", "hours": 1, "timezone": "../passwd"}, "trigger.timezone"),
            (
                {"type": "interval", "hours": 1, "end_date": "2026-01-01T00:00:00Z"},
                "trigger.end_date",
            ),
            ({"type": "and", "triggers": []}, "trigger.triggers"),
            ({"type": "or", "triggers": [{"type": "x"}]}, "trigger.triggers.0.type"),
        ],
    )
    def test_a_trigger_that_cannot_be_or_never_fires(self, trigger: Any, field: str) -> None:
        assert field in complaints(good(trigger=trigger))

    @pytest.mark.parametrize(
        "job_id",
        [
            "a/b",
            "/",
            "a\\b",
            "new",
            ".",
            "..",
            " a",
            "a ",
            "a\nb",
            "a\x00b",
            "\ud800",
            "\u202etxt.exe",
            "x" * (ID_LENGTH + 1),
            5,
            ["a"],
            {"a": 1},
        ],
    )
    def test_an_id_that_no_address_could_name(self, job_id: Any) -> None:
        assert "id" in complaints(good(id=job_id))

    @pytest.mark.parametrize(
        "job_id",
        [
            "a",
            "it's",
            '"q"',
            "a b",
            "<b>",
            "a?b#c&d=e",
            "%2F",
            "é",
            "日本",
            "🙂",
            "x" * ID_LENGTH,
            "New",
        ],
    )
    def test_any_other_printable_id_is_fine(self, job_id: str) -> None:
        assert check_new(good(id=job_id), SETTINGS, NOW)["id"] == job_id

    @pytest.mark.parametrize(
        "name", ["\n", "   ", "a\nb", "\x1b[31m", "x" * 192, 5, ["a"], "\udfff"]
    )
    def test_a_name_is_one_printable_line(self, name: Any) -> None:
        assert "name" in complaints(good(name=name))

    def test_a_name_may_hold_html_and_is_kept_as_it_is(self) -> None:
        name = "<script>alert('x')</script> & \"co\""
        assert check_new(good(name=f" {name} "), SETTINGS, NOW)["name"] == name

    @pytest.mark.parametrize("number", [0, -1, 1001, 1.5, "many", True, None, [], 10**30, "1e3"])
    def test_max_instances_is_a_sensible_number(self, number: Any) -> None:
        assert "max_instances" in complaints(good(max_instances=number))

    @pytest.mark.parametrize("number", [0, -1, 31_536_001, 1.5, "long", True, [], 10**30])
    def test_misfire_grace_time_is_a_sensible_number(self, number: Any) -> None:
        assert "misfire_grace_time" in complaints(good(misfire_grace_time=number))

    def test_numbers_of_forms_are_read(self) -> None:
        values = check_new(good(max_instances=" 7 ", misfire_grace_time="90"), SETTINGS, NOW)
        assert (values["max_instances"], values["misfire_grace_time"]) == (7, 90)
        assert check_new(good(misfire_grace_time=""), SETTINGS, NOW)["misfire_grace_time"] is None
        assert check_new(good(misfire_grace_time=None), SETTINGS, NOW)["misfire_grace_time"] is None

    @pytest.mark.parametrize("value", ["true", 1, 0, [], "no"])
    def test_coalesce_is_true_or_false(self, value: Any) -> None:
        assert "coalesce" in complaints(good(coalesce=value))

    @pytest.mark.parametrize(
        "tags", ["a,b", [1], [["a"]], ["a b"], ["a,b"], ['a"b'], ["x" * 51], ["\x07"], ["\ud800"]]
    )
    def test_tags_are_words(self, tags: Any) -> None:
        assert "tags" in complaints(good(tags=tags))

    def test_too_many_tags(self) -> None:
        assert "tags" in complaints(good(tags=[f"t{n}" for n in range(21)]))

    def test_tags_are_sorted_and_each_kept_once(self) -> None:
        assert check_new(good(tags=["b", " a ", "b", ""]), SETTINGS, NOW)["tags"] == ["a", "b"]

    @pytest.mark.parametrize("notes", [5, ["a"], "x" * 20_001, "a\x00b", "\ud800"])
    def test_notes_are_text_that_can_be_stored(self, notes: Any) -> None:
        assert "notes" in complaints(good(notes=notes))

    def test_the_zone_is_the_settings_unless_the_trigger_names_one(self) -> None:
        berlin = Settings(timezone="Europe/Berlin")
        cron = {"type": "cron", "hour": 9}
        assert check_new(good(trigger=cron), berlin, NOW)["timezone"] == "Europe/Berlin"
        tokyo = cron | {"timezone": "Asia/Tokyo"}
        assert check_new(good(trigger=tokyo), berlin, NOW)["timezone"] == "Asia/Tokyo"

    def test_an_interval_is_anchored_so_that_a_restart_does_not_shift_it(self) -> None:
        values = check_new(good(trigger={"type": "interval", "minutes": 5}), SETTINGS, NOW)
        assert values["trigger"]["start_date"] == "2027-03-01T12:05:01+00:00"


class TestChange:
    def test_only_what_is_named_changes(self) -> None:
        assert change({"name": "b"}) == {"name": "b"}

    @pytest.mark.parametrize("job_id", ["other", ["mine"], {"a": 1}, 5, True])
    def test_the_id_never_changes(self, job_id: Any) -> None:
        assert "id" in complaints({"id": job_id}, change)

    @pytest.mark.parametrize("job_id", ["mine", None, ""])
    def test_the_same_id_is_no_change(self, job_id: Any) -> None:
        assert "id" not in change({"id": job_id})

    def test_a_new_task_must_take_the_parameters(self) -> None:
        assert "parameters.day" in complaints({"task": "test.plain"}, change)
        values = change({"task": "test.plain", "parameters": {}})
        assert (values["task"], values["parameters"]) == ("test.plain", {})

    def test_parameters_are_not_checked_again_for_nothing(self) -> None:
        """A job whose task has changed since can still be renamed."""
        values = check_change(existing(parameters={"gone": 1}), {"name": "b"}, SETTINGS, NOW)
        assert "parameters" not in values

    def test_a_job_whose_task_is_gone_can_be_given_another(self) -> None:
        values = change({"task": "test.plain", "parameters": {}}, task="gone.task")
        assert values["task"] == "test.plain"

    def test_the_same_trigger_does_not_shift_the_next_run(self) -> None:
        job = existing()
        assert "next_run_time" not in check_change(job, {"trigger": job.trigger}, SETTINGS, NOW)

    def test_fields_that_do_not_exist(self) -> None:
        assert complaints(
            {"next_run_time": "now", "paused_at": None, "version": 3}, change
        ).keys() == {
            "next_run_time",
            "paused_at",
            "version",
        }

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", None),
            ("executor", None),
            ("executor", ["threads"]),
            ("coalesce", None),
            ("max_instances", None),
            ("tags", None),
            ("notes", None),
            ("trigger", None),
            ("task", None),
            ("parameters", 5),
        ],
    )
    def test_nothing_can_be_emptied_that_is_needed(self, field: str, value: Any) -> None:
        assert field in complaints({field: value}, change)


class TestIdFromName:
    @pytest.mark.parametrize(
        ("name", "made"),
        [
            ("Daily report", "daily-report"),
            ("  Übergröße №5!", "ubergroe-no5"),
            ("日本", "job"),
            ("new", "job"),
            ("...", "job"),
            ("<script>", "script"),
            ("x" * 500, "x" * 60),
        ],
    )
    def test_is_plain(self, name: str, made: str) -> None:
        assert id_from_name(name) == made


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)


@hypothesis_settings(max_examples=150)
@given(data=st.dictionaries(st.sampled_from([*FIELDS, "x"]), JSON, max_size=6), fix=st.booleans())
def test_any_json_is_either_valid_or_refused_with_a_field(data: dict[str, Any], fix: bool) -> None:
    given_data = good() | data if fix else data
    for values in (accepted(given_data), accepted(given_data, existing())):
        if values is not None:
            json.dumps({k: v for k, v in values.items() if k != "next_run_time"}, allow_nan=False)
            json.dumps(values.get("parameters"), ensure_ascii=False).encode()


def accepted(data: dict[str, Any], job: Job | None = None) -> dict[str, Any] | None:
    """Return the values of valid input, None when it is refused as it should be."""
    try:
        if job is None:
            return check_new(data, SETTINGS, NOW)
        return check_change(job, data, SETTINGS, NOW)
    except Invalid as refusal:
        messages = [each.message for each in refusal.errors]
    assert messages
    assert all(messages)
    return None
