"""People and programs whose role is limited to tags: every route, and what services ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dashboard.errors import Conflict, Invalid, NotAllowed
from dashboard.services import accounts, audit, bulk, jobs
from dashboard.services.audit import Actor
from dashboard.services.bulk import BulkAction
from dashboard.services.restoring import restore_job
from dashboard.storage.models import Audit, Job, Role, RunState, User
from dashboard.web.access import asks_for_each
from tests.factories import ADMIN, HOURLY
from tests.rows import make_job, make_run
from tests.web.api.program import make_program
from tests.web.routes import API_RULES, APP, RULES, methods, needing
from tests.web.site import links, parse, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.routing import Rule
    from werkzeug.test import TestResponse

    from dashboard.settings import Settings
    from tests.web.api.program import Program
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

TAGS = ("mine", "ours")
LIMITED = Actor("lim", Role.ADMIN, tags=TAGS)
ABOVE = (Role.OPERATOR, Role.ADMIN)
ROUTES = needing(*ABOVE, rules=RULES) + needing(*ABOVE, rules=API_RULES)
WITHIN = {"job_id": "mine", "run_id": 1}
OUTSIDE = ({"job_id": "theirs", "run_id": 2}, {"job_id": "bare", "run_id": 3})

FOR_EACH = {
    "dashboard.api.jobs.add",
    "dashboard.bulk.act",
    "dashboard.bulk.choose",
    "dashboard.bulk.show",
    "dashboard.bulk.undo",
    "dashboard.editor.create",
    "dashboard.editor.fields",
    "dashboard.editor.new",
    "dashboard.exchange.export_selected",
    "dashboard.job.restore",
}
"""Routes about jobs that the address does not name, or about none; their services are below."""


def is_about_a_job(rule: Rule) -> bool:
    return not rule.arguments.isdisjoint(WITHIN) and rule.endpoint not in FOR_EACH


@pytest.fixture(autouse=True)
def _jobs(site: Site, register: Callable[..., None]) -> None:
    def task() -> None: ...

    register(task, "reports.daily")
    own = {"mine": ["x", "mine"], "theirs": ["theirs"], "bare": []}
    site.add(*(make_job(job_id, tags=tags) for job_id, tags in own.items()))
    site.add(*(make_run(n, job_id, state=RunState.FAILED) for n, job_id in enumerate(own, 1)))


def ask(site: Site, program: Program, rule: Rule, places: dict[str, Any]) -> TestResponse:
    """Send a request without anything in it to a route, about that job."""
    kinds = rule._converters.items()
    parts = {name: places.get(name) or min(getattr(kind, "items", [1])) for name, kind in kinds}
    [method] = methods(rule)
    address = APP.url_map.bind("localhost").build(rule.endpoint, parts, method=method)
    if rule in API_RULES:
        client = site.client.application.test_client()
        headers = {"Authorization": f"Bearer {program.key}"}
        return client.open(address, method=method, json={}, headers=headers)
    data = {"csrf_token": site.token()} if method == "POST" else {}
    return site.client.open(address, method=method, data=data)


def test_what_is_about_a_job_is_refused_for_all_others(site: Site) -> None:
    site.sign_in(Role.ADMIN, *TAGS)
    program = make_program(site, Role.ADMIN, tags=TAGS)
    rules = [rule for rule in ROUTES if is_about_a_job(rule)]
    assert len(rules) > 20
    for rule in rules:
        for places in OUTSIDE:
            refused = ask(site, program, rule, places)
            assert refused.status_code == 403, rule
            assert "limited to jobs with the tag mine or ours" in refused.text, rule
    for rule in sorted(rules, key=lambda rule: "remove" in rule.endpoint):
        assert ask(site, program, rule, WITHIN).status_code != 403, rule


def test_what_is_about_more_is_refused_altogether(site: Site) -> None:
    site.sign_in(Role.ADMIN, *TAGS)
    program = make_program(site, Role.ADMIN, tags=TAGS)
    for rule in ROUTES:
        with APP.app_context():
            assert asks_for_each(rule.endpoint) == (rule.endpoint in FOR_EACH), rule
        if rule.endpoint not in FOR_EACH and not is_about_a_job(rule):
            refused = ask(site, program, rule, WITHIN)
            assert refused.status_code == 403, rule
            assert "this is about more than those" in refused.text, rule


def test_a_refusal_is_in_the_audit_log(site: Site) -> None:
    site.sign_in(Role.OPERATOR, *TAGS)
    assert site.post("/jobs/theirs/run").status_code == 403
    with site.database.read() as session:
        [entry] = session.query(Audit).filter_by(outcome="refused")
    assert (entry.target, entry.detail["method"]) == ("/jobs/theirs/run", "POST")


def test_a_job_that_is_not_there_is_not_found(site: Site) -> None:
    site.sign_in(Role.ADMIN, *TAGS)
    assert site.post("/jobs/none/run").status_code == 404
    assert site.post("/jobs/%00/run").status_code == 404
    assert site.post(f"/runs/{2**63 - 1}/retry").status_code == 404


def test_seeing_is_not_limited(site: Site) -> None:
    site.sign_in(Role.OPERATOR, *TAGS)
    assert {"mine", "theirs", "bare"} <= links(site.get("/jobs")).keys()
    assert site.get("/jobs/theirs") is not None


# -- the services, whoever asks ----------------------------------------------------------------


def new_job(site: Site, settings: Settings, *tags: str) -> Job:
    data = {"task": "reports.daily", "trigger": HOURLY, "tags": list(tags)}
    with audit.transaction(site.database) as session:
        return jobs.create_job(session, data, actor=LIMITED, settings=settings)


def test_a_new_job_has_one_of_the_tags(site: Site, settings: Settings) -> None:
    for tags in ([], ["theirs"]):
        with pytest.raises(Invalid, match="limited to jobs tagged mine or ours") as refused:
            new_job(site, settings, *tags)
        assert [error.field for error in refused.value.errors] == ["tags"]
    assert new_job(site, settings, "theirs", "ours").tags == ["ours", "theirs"]


def test_a_job_is_not_given_away(site: Site, settings: Settings) -> None:
    def tag(*tags: str) -> None:
        with audit.transaction(site.database) as session:
            version = session.get_one(Job, "mine").version
            jobs.change_job(
                session,
                "mine",
                {"tags": list(tags)},
                version=version,
                actor=LIMITED,
                settings=settings,
            )

    with pytest.raises(Invalid, match="it needs such a tag"):
        tag("theirs")
    tag("ours")


def test_nor_is_another_taken(site: Site, settings: Settings) -> None:
    change = {"tags": ["mine"]}
    with pytest.raises(NotAllowed), audit.transaction(site.database) as session:
        jobs.change_job(session, "bare", change, version=1, actor=LIMITED, settings=settings)


@pytest.mark.parametrize("action", [each for each in BulkAction if each is not BulkAction.RESTORE])
def test_many_jobs_are_those_within(site: Site, settings: Settings, action: BulkAction) -> None:
    if action is BulkAction.RESUME:
        with audit.transaction(site.database) as session:
            for job_id in ("mine", "theirs"):
                jobs.pause_job(session, job_id, actor=ADMIN)
    with audit.transaction(site.database) as session:
        previewed = bulk.prepare(session, action, search="", actor=LIMITED)
        assert previewed.targets == ["mine"]
        assert ["Has none of the tags that you are limited to.", 2] in [
            each[:2] for each in previewed.left_out
        ]
        previewed.targets = ["bare", "mine", "theirs"]  # tags may be taken away meanwhile
        tag = "x" if action is BulkAction.UNTAG else "y"
        bulk.start(session, previewed.id, tag=tag, actor=LIMITED)
        bulk.go_on(session, previewed.id, actor=LIMITED, settings=settings)
        assert {job_id for job_id, _why in previewed.why_refused} == {"bare", "theirs"}


def test_the_last_tag_is_not_taken_from_many(site: Site, settings: Settings) -> None:
    with audit.transaction(site.database) as session:
        previewed = bulk.prepare(session, BulkAction.UNTAG, ids=["mine"], actor=LIMITED)
        bulk.start(session, previewed.id, tag="mine", actor=LIMITED)
        bulk.go_on(session, previewed.id, actor=LIMITED, settings=settings)
    assert "it needs such a tag" in previewed.why_refused[0][1]


def test_only_what_was_within_is_brought_back(site: Site, settings: Settings) -> None:
    with audit.transaction(site.database) as session:
        for job_id in ("mine", "theirs"):
            jobs.remove_job(session, job_id, actor=ADMIN)
    with pytest.raises(NotAllowed), audit.transaction(site.database) as session:
        restore_job(session, "theirs", actor=LIMITED, settings=settings)
    with audit.transaction(site.database) as session:
        assert restore_job(session, "mine", actor=LIMITED, settings=settings).id == "mine"


# -- who is limited ----------------------------------------------------------------------------


def test_the_last_admin_of_everything_stays(site: Site) -> None:
    site.sign_in(Role.ADMIN, *TAGS)
    with audit.transaction(site.database) as session:
        session.query(User).filter(User.role == Role.ADMIN).delete()
        accounts.add_user(session, "root", None, Role.ADMIN, actor=ADMIN)
        accounts.add_user(session, "half", None, Role.ADMIN, tags=["mine"], actor=ADMIN)
    with pytest.raises(Conflict, match="only admin"), audit.transaction(site.database) as session:
        accounts.change_role(session, "root", Role.ADMIN, tags=["mine"], actor=ADMIN)
    with pytest.raises(Conflict, match="only admin"), audit.transaction(site.database) as session:
        accounts.disable_user(session, "root", actor=ADMIN)


def test_admins_limit_people_on_their_page(site: Site) -> None:
    site.post("/people/new", name="ann", role="operator", tags="mine, ours", password="long enough")
    with site.database.read() as session:
        ann = session.query(User).filter_by(name="ann").one()
    assert ann.tags == ["mine", "ours"]
    assert "for jobs tagged mine or ours" in words(site.get("/people"))
    page = site.get(f"/people/{ann.id}")
    assert page.find("input", {"name": "tags"})["value"] == "mine, ours"  # type: ignore[index]
    answer = site.post(f"/people/{ann.id}/role", role="operator", tags="a:b")
    assert answer.status_code == 422
    assert "A tag is one word" in answer.text
    site.post(f"/people/{ann.id}/role", role="admin", tags="")
    with site.database.read() as session:
        ann = session.get_one(User, ann.id)
        [entry] = session.query(Audit).filter_by(action="user.role", outcome="done")
    assert (ann.role, ann.tags) == (Role.ADMIN, [])
    assert entry.detail["before"] == {"role": "operator", "tags": ["mine", "ours"]}


def test_admins_limit_tokens(site: Site) -> None:
    made = site.post("/tokens", name="ci", role="operator", days="30", tags="mine")
    assert "for jobs tagged mine" in words(parse(made))
    with site.database.read() as session:
        [entry] = session.query(Audit).filter_by(action="token.add")
    assert entry.detail["tags"] == ["mine"]


class TestPages:
    """They leave out what would be refused."""

    def test_the_list_of_jobs(self, site: Site) -> None:
        site.sign_in(Role.OPERATOR, *TAGS)
        page = site.get("/jobs")
        picks = {box["value"] for box in page.select("input[name=job]")}
        assert picks == {"mine"}
        rows = {row.select_one("a.name").text: row for row in page.select("tbody tr")}  # type: ignore[union-attr]
        assert rows["mine"].select("button")
        assert not rows["theirs"].select("button")
        assert len({len(row.select("td")) for row in rows.values()}) == 1

    def test_a_job(self, site: Site) -> None:
        site.sign_in(Role.ADMIN, *TAGS)
        assert "Run now" in words(site.get("/jobs/mine"))
        for action in ("Run now", "Pause", "Edit", "Remove"):
            assert action not in words(site.get("/jobs/theirs"), ".page-head")

    def test_a_run(self, site: Site) -> None:
        site.sign_in(Role.OPERATOR, *TAGS)
        assert "Retry" in words(site.get("/runs/1"), ".page-head")
        assert "Retry" not in words(site.get("/runs/2"), ".page-head")

    def test_what_is_for_admins_of_everything(self, site: Site) -> None:
        site.sign_in(Role.ADMIN, *TAGS)
        page = site.get("/jobs")
        assert "New job" in words(page)
        assert "Import" not in words(page)
        assert not {"People", "Tokens"} & links(page, "body").keys()

    def test_a_person_sees_the_limit(self, site: Site) -> None:
        site.sign_in(Role.OPERATOR, *TAGS)
        assert "with the role operator for jobs tagged mine or ours" in words(site.get("/profile"))
