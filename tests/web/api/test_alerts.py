from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dashboard.services import alerts
from dashboard.storage.models import Role
from tests.web.api.program import Program, fields, make_program

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

SECRET = "abcdef0123456789"
HOOK = f"https://hooks.example.com/services/{SECRET}"
RULE: dict[str, Any] = {"name": "On call", "on": "failing", "channels": [HOOK]}
PATH = "/alerts/rules"


def test_a_rule_is_added_read_changed_and_removed(program: Program) -> None:
    made = program.post(PATH, RULE, status=201)
    assert made["scope"] == {"all": True}
    assert (made["after"], made["notify_recovery"], made["enabled"]) == (1, True, True)
    assert (made["rate"], made["remind_every_seconds"], made["version"]) == (None, None, 1)
    assert SECRET not in str(made)
    assert program.get(PATH)["items"] == [made] == [program.get(f"{PATH}/{made['id']}")]
    change = {"after": 3, "scope": {"tags": ["billing"]}, "version": 1}
    changed = program.patch(f"{PATH}/{made['id']}", change)
    assert (changed["after"], changed["scope"]) == (3, {"tags": ["billing"]})
    assert changed["version"] == 2
    program.patch(f"{PATH}/{made['id']}", {"after": 4, "version": 1}, status=409)
    program.delete(f"{PATH}/{made['id']}")
    program.get(f"{PATH}/{made['id']}", status=404)
    assert program.get(PATH) == {"items": []}


def test_a_channel_as_it_is_answered_stands_for_the_one_that_is_kept(
    site: Site, program: Program, settings: Settings
) -> None:
    made = program.post(PATH, RULE, status=201)
    channels = [*made["channels"], "https://example.org/hook"]
    assert program.patch(f"{PATH}/{made['id']}", {"channels": channels})["channels"] == channels
    with site.database.read() as session:
        kept = alerts.get_rule(session, made["id"]).channels
    assert [settings.vault.decrypt(channel["sealed"]) for channel in kept] == [HOOK, channels[1]]
    other = program.post(PATH, RULE | {"name": "Other", "channels": [channels[1]]}, status=201)
    program.patch(f"{PATH}/{other['id']}", {"channels": made["channels"]}, status=422)


def test_only_admins_see_channels(site: Site, program: Program) -> None:
    made = program.post(PATH, RULE, status=201)
    viewer = make_program(site, Role.VIEWER)
    assert viewer.get(PATH)["items"] == [made | {"channels": None}]
    operator = make_program(site, Role.OPERATOR)
    operator.post(PATH, RULE, status=403)
    operator.patch(f"{PATH}/{made['id']}", {"after": 2}, status=403)
    operator.send("DELETE", f"{PATH}/{made['id']}", status=403)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": 7}, "name"),
        ({"on": "dancing"}, "on"),
        ({"after": 0}, "after"),
        ({"after": 1.5}, "after"),
        ({"after": True}, "after"),
        ({"rate": 0}, "rate"),
        ({"rate": "half"}, "rate"),
        ({"on": "failure_rate"}, "rate"),
        ({"window_seconds": 10**12}, "window_seconds"),
        ({"remind_every_seconds": 1}, "remind_every_seconds"),
        ({"scope": {"all": False}}, "scope"),
        ({"scope": {"tags": []}}, "scope"),
        ({"scope": {"jobs": ["a"], "tags": ["b"]}}, "scope"),
        ({"channels": []}, "channels"),
        ({"channels": ["example.com"]}, "channels"),
        ({"channels": ["http://169.254.169.254/"]}, "channels"),
        ({"enabled": None}, "enabled"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_is_refused(program: Program, change: dict[str, Any], field: str) -> None:
    problem = program.post(PATH, RULE | change, status=422)
    assert field in {name.partition(".")[0] for name in fields(problem)}
    assert program.get(PATH) == {"items": []}
