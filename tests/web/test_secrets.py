"""Secret parameters in pages, forms, files and the API: masks everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr  # noqa: TC002 -- the signature of a task is read
from werkzeug.routing import AnyConverter

from dashboard.services import audit, jobs
from dashboard.services.runs import retry_run
from dashboard.storage.models import Job, Role, Run, RunState
from dashboard.tasks import get_task
from dashboard.vault import MASK
from tests.factories import ADMIN, HOURLY
from tests.web.api.program import make_program
from tests.web.routes import API_RULES, RULES, methods
from tests.web.site import parse, words
from tests.web.test_editor import Person, form_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

    from dashboard.settings import Settings
    from tests.web.site import Site

SECRET = "hunter2-in-the-vault"
TYPED = "typed-just-now"


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None], settings: Settings) -> None:
    def send(url: str, token: SecretStr, proxy: SecretStr | None = None) -> None:
        """Send something."""

    register(send, "vault.send")
    register(send, "vault.other")
    settings.prepare_data_folder()


@pytest.fixture
def job(site: Site, settings: Settings) -> Job:
    """A job with two secrets, one of which it could do without."""
    data = {
        "id": "vault",
        "task": "vault.send",
        "trigger": HOURLY,
        "parameters": {"url": "https://x", "token": SECRET, "proxy": SECRET},
    }
    with audit.transaction(site.database) as session:
        return jobs.create_job(session, data, actor=ADMIN, settings=settings)


def secrets_of(site: Site, settings: Settings) -> dict[str, Any]:
    with site.database.read() as session:
        stored = session.get_one(Job, "vault").parameters
    plain = get_task("vault.send").parameters.unsealed(stored, settings.vault)
    return {name: value for name, value in plain.items() if name != "url"}


def test_no_answer_to_any_get_shows_it(site: Site, job: Job, settings: Settings) -> None:
    with audit.transaction(site.database) as session:
        other = {"url": "https://y", "token": MASK, "proxy": SECRET}
        run = jobs.run_now(session, job.id, parameters=other, actor=ADMIN, vault=settings.vault)
        removed = jobs.create_job(
            session,
            {"id": "gone", "task": "vault.send", "trigger": HOURLY}
            | {"parameters": {"url": "u", "token": SECRET}},
            actor=ADMIN,
            settings=settings,
        )
        jobs.remove_job(session, removed.id, actor=ADMIN)
    adapter = site.client.application.url_map.bind("localhost")
    values = {"job_id": job.id, "run_id": run.id}
    seen = 0
    for rule in [*RULES, *API_RULES]:
        if "GET" not in methods(rule):
            continue
        for choice in _choices(rule):
            parts = {name: values.get(name, 1) for name in rule.arguments} | choice
            answer = site.client.get(adapter.build(rule.endpoint, parts))
            assert SECRET not in answer.text, rule
            assert "gAAAA" not in answer.text, rule
            seen += MASK in answer.text
    assert seen >= 10


def _choices(rule: Any) -> list[dict[str, str]]:
    for name, kind in rule._converters.items():
        if isinstance(kind, AnyConverter):
            return [{name: item} for item in kind.items]
    return [{}]


def save(site: Site, **changes: str) -> TestResponse:
    return Person(site).edit("vault", **changes)


@pytest.mark.usefixtures("job")
class TestForm:
    def test_it_is_an_empty_password_field(self, site: Site, job: Job) -> None:
        page = site.get(f"/jobs/{job.id}/edit")
        field = page.find("input", {"name": "parameters.token"})
        assert field["type"] == "password"  # type: ignore[index]
        assert field["value"] == ""  # type: ignore[index]
        assert field["placeholder"] == "unchanged"  # type: ignore[index]
        assert field["autocomplete"] == "new-password"  # type: ignore[index]
        assert not field.has_attr("required")  # type: ignore[union-attr]

    def test_left_empty_it_stays(self, site: Site, job: Job, settings: Settings) -> None:
        save(site, parameters__url="https://z", notes="new")
        assert secrets_of(site, settings) == {"token": SECRET, "proxy": SECRET}
        with site.database.read() as session:
            kept = session.get_one(Job, job.id)
        assert kept.parameters["url"] == "https://z"
        assert kept.parameters["token"] == job.parameters["token"]

    def test_what_is_typed_takes_its_place(self, site: Site, settings: Settings) -> None:
        answer = save(site, parameters__token=TYPED)
        assert TYPED not in answer.text
        assert secrets_of(site, settings) == {"token": TYPED, "proxy": SECRET}

    def test_one_that_is_not_needed_can_be_forgotten(
        self, site: Site, job: Job, settings: Settings
    ) -> None:
        page = site.get(f"/jobs/{job.id}/edit")
        assert page.find("input", {"name": "forget.proxy"}) is not None
        assert page.find("input", {"name": "forget.token"}) is None
        save(site, forget__proxy="true")
        assert secrets_of(site, settings) == {"token": SECRET}

    def test_what_was_typed_is_asked_for_again_and_never_sent_back(
        self, site: Site, settings: Settings
    ) -> None:
        answer = save(site, parameters__token=TYPED, parameters__url="", name="x" * 500)
        assert answer.status_code == 422
        assert TYPED not in answer.text
        assert "Enter it again" in words(parse(answer))
        assert secrets_of(site, settings)["token"] == SECRET

    @pytest.mark.parametrize("what", ["preview", "fields"])
    @pytest.mark.parametrize("task", ["vault.send", "vault.other"])
    def test_the_form_on_its_way_shows_nothing(
        self, site: Site, job: Job, what: str, task: str
    ) -> None:
        person = Person(site)
        texts = form_of(person.get(f"/jobs/{job.id}/edit"))
        texts |= {"parameters.token": TYPED, "parameters.proxy": "", "task": task}
        for url in (f"/jobs/{job.id}/edit/{what}", f"/jobs/new/{what}"):
            for htmx in (True, False):
                answer = person.post(url, texts, htmx=htmx)
                assert answer.status_code == 200
                assert TYPED not in answer.text
                assert SECRET not in answer.text

    def test_the_fields_of_another_task_bring_no_secret_with_them(
        self, site: Site, settings: Settings
    ) -> None:
        answer = save(site, task="vault.other")
        assert answer.status_code == 422
        assert "This is required" in words(parse(answer))
        assert secrets_of(site, settings)["token"] == SECRET

    def test_a_copy_has_to_be_given_its_own(self, site: Site, job: Job) -> None:
        person = Person(site)
        texts = form_of(person.get(f"/jobs/new?clone={job.id}"))
        assert texts["parameters.url"] == "https://x"
        assert texts["parameters.token"] == ""
        assert person.post("/jobs/new", texts).status_code == 422
        made = person.post("/jobs/new", texts | {"parameters.token": TYPED})
        assert made.status_code == 303

    def test_a_stale_edit_keeps_what_is_stored(
        self, site: Site, job: Job, settings: Settings
    ) -> None:
        person = Person(site)
        texts = form_of(person.get(f"/jobs/{job.id}/edit"))
        save(site, parameters__token="set meanwhile")
        answer = person.post(f"/jobs/{job.id}/edit", texts | {"notes": "mine"})
        assert answer.status_code == 409
        again = person.post(f"/jobs/{job.id}/edit", form_of(answer))
        assert again.status_code == 303
        assert secrets_of(site, settings)["token"] == "set meanwhile"


class TestRuns:
    def test_a_run_with_other_parameters_keeps_it(
        self, site: Site, job: Job, settings: Settings
    ) -> None:
        fields = {"parameters.url": "https://y", "parameters.token": "", "parameters.proxy": TYPED}
        assert site.post(f"/jobs/{job.id}/run", in_place=False, **fields).status_code == 303
        with site.database.read() as session:
            [run] = session.query(Run)
        plain = get_task("vault.send").parameters.unsealed(run.parameters, settings.vault)
        assert plain == {"url": "https://y", "token": SECRET, "proxy": TYPED}

    def test_operators_run_it_only_as_it_is(self, site: Site, job: Job) -> None:
        site.sign_in(Role.OPERATOR)
        assert "Other parameters" not in words(site.get(f"/jobs/{job.id}"), "body")
        refused = site.post(
            f"/jobs/{job.id}/run", in_place=False, **{"parameters.url": "https://evil"}
        )
        assert refused.status_code == 403
        assert site.post(f"/jobs/{job.id}/run").status_code == 303

    def test_a_retry_takes_it_along(self, site: Site, job: Job) -> None:
        with audit.transaction(site.database) as session:
            run = jobs.run_now(session, job.id, actor=ADMIN)
            run.state = RunState.FAILED
            session.flush()
            retry = retry_run(session, run.id, actor=ADMIN)
            assert retry.parameters == job.parameters


class TestApi:
    def test_it_is_answered_with_a_mask_that_keeps_it(
        self, site: Site, job: Job, settings: Settings
    ) -> None:
        program = make_program(site)
        told = program.get(f"/jobs/{job.id}")
        assert told["parameters"] == {"url": "https://x", "token": MASK, "proxy": MASK}
        parameters = told["parameters"] | {"url": "https://z", "proxy": None}
        body = {"version": told["version"], "parameters": parameters}
        changed = program.patch(f"/jobs/{job.id}", body)
        assert changed["parameters"] == parameters
        assert secrets_of(site, settings) == {"token": SECRET, "proxy": None}
        body = {"version": changed["version"], "parameters": {"url": "u", "token": TYPED}}
        assert program.patch(f"/jobs/{job.id}", body)["parameters"]["token"] == MASK
        assert secrets_of(site, settings) == {"token": TYPED}
        told = program.post(
            f"/jobs/{job.id}/run", {"parameters": {"url": "u", "token": MASK}}, status=202
        )
        assert told["parameters"] == {"url": "u", "token": MASK}

    def test_a_mask_makes_no_secret(self, site: Site) -> None:
        body = {"task": "vault.send", "trigger": HOURLY, "parameters": {"url": "u", "token": MASK}}
        refused = make_program(site).post("/jobs", body, status=422)
        assert [error["field"] for error in refused["errors"]] == ["parameters.token"]


@pytest.mark.usefixtures("job")
class TestFiles:
    def test_an_export_read_again_changes_nothing(self, site: Site) -> None:
        text = site.client.get("/jobs/export").text
        page = parse(site.post("/jobs/import", text=text, kind="jobs"))
        assert "is as the file wants it" in words(page)

    def test_what_the_file_changes_leaves_it(self, site: Site, settings: Settings) -> None:
        text = site.client.get("/jobs/export").text.replace("https://x", "https://new")
        imported(site, text)
        assert secrets_of(site, settings) == {"token": SECRET, "proxy": SECRET}

    def test_a_file_may_hold_another(self, site: Site, settings: Settings) -> None:
        text = site.client.get("/jobs/export").text
        old = next(line for line in text.splitlines() if "token:" in line)
        plan = imported(site, text.replace(old, f"    token: {TYPED}"))
        assert f"{MASK} (another)" in words(plan, "[data-plan], main .differences, main dl, main")
        assert secrets_of(site, settings) == {"token": TYPED, "proxy": SECRET}

    def test_elsewhere_the_file_has_to_be_completed(self, site: Site, job: Job) -> None:
        text = site.client.get("/jobs/export").text
        with audit.transaction(site.database) as session:
            jobs.remove_job(session, job.id, actor=ADMIN)
        answer = site.post("/jobs/import", text=text, kind="jobs")
        assert answer.status_code == 422
        assert "enter it" in words(parse(answer))


def imported(site: Site, text: str) -> Any:
    """Import a file by the two steps that a person takes; return the page of the first."""
    page = parse(site.post("/jobs/import", text=text, kind="jobs"))
    digest = page.select_one("input[name=digest]")
    assert digest is not None, words(page)
    fields = {"text": text, "kind": "jobs", "digest": str(digest["value"])}
    assert site.post("/jobs/import/confirm", in_place=False, **fields).status_code == 303
    return page
