"""Export and import in the browser, JavaScript or not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.samples import register_samples
from dashboard.storage.models import Audit, Job, Role
from tests.rows import make_job
from tests.web.site import parse, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bs4 import BeautifulSoup
    from werkzeug.test import TestResponse

    from tests.web.site import Site

HEAD = "format: apscheduler-dashboard/jobs\nversion: 1\njobs:\n"
JOB = "- id: {id}\n  task: test.count\n  trigger: {{type: cron, crontab: 0 3 * * *}}\n"
HOSTILE = '"><script>alert(1)</script>'


def count(number: int = 1) -> int:
    """Count."""
    return number


@pytest.fixture(autouse=True)
def _task(register: Callable[..., None]) -> None:
    register(count, "test.count")


def send(site: Site, text: str = "", file: bytes | None = None, **fields: str) -> TestResponse:
    data: dict[str, Any] = {"csrf_token": site.token(), "text": text, **fields}
    if file is not None:
        data["file"] = (io.BytesIO(file), "jobs.yaml")
    url = "/jobs/import/confirm" if "digest" in fields else "/jobs/import"
    return site.client.post(url, data=data, content_type="multipart/form-data")


def digest_of(page: BeautifulSoup) -> str:
    found = page.select_one("input[name=digest]")
    assert found is not None
    return str(found["value"])


def ids(site: Site) -> list[str]:
    with site.database.read() as session:
        return sorted(job.id for job in session.query(Job))


class TestExport:
    def test_it_is_a_file_of_what_the_page_lists(self, site: Site) -> None:
        site.add(make_job("a-nightly"), make_job("b"))
        link = site.get("/jobs?q=nightly").select_one("a[download]")
        assert link is not None
        response = site.client.get(str(link["href"]))
        assert response.mimetype == "application/yaml"
        assert "attachment; filename=" in response.headers["Content-Disposition"]
        assert response.text.count("- id:") == response.text.count("- id: a-nightly") == 1

    def test_json_and_single_jobs(self, site: Site) -> None:
        site.add(make_job("a"), make_job("b"), make_job("c"))
        found = site.client.get("/jobs/export?format=json&id=c&id=a").get_json()
        assert [job["id"] for job in found["jobs"]] == ["a", "c"]

    def test_what_is_selected_in_the_list(self, site: Site) -> None:
        site.add(make_job("a"), make_job("b"), make_job("c"))
        button = site.get("/jobs").select_one("form#bulk button[formaction='/jobs/export']")
        assert button is not None
        fields = {"csrf_token": site.token(), "job": ["a", "c"], "q": ""}
        text = site.client.post("/jobs/export", data=fields).text
        assert [line for line in text.splitlines() if "- id" in line] == ["- id: a", "- id: c"]
        text = site.client.post("/jobs/export", data=fields | {"all": "1", "q": "b"}).text
        assert [line for line in text.splitlines() if "- id" in line] == ["- id: b"]

    def test_nothing_selected_is_not_everything(self, site: Site) -> None:
        site.add(make_job("a"))
        answer = site.post("/jobs/export", q="")
        assert answer.status_code == 422
        assert "Choose at least one job." in words(parse(answer))

    @pytest.mark.parametrize(
        ("query", "status"),
        [("format=xls", 422), ("q=state:odd", 422), ("q=state:removed", 422), ("id=gone", 404)],
    )
    def test_what_cannot_be_exported(self, site: Site, query: str, status: int) -> None:
        site.get(f"/jobs/export?{query}", status=status)


class TestImport:
    def test_first_it_says_what_would_happen_and_then_it_does_that(self, site: Site) -> None:
        text = HEAD + JOB.format(id="a") + JOB.format(id="b") + "  paused: true\n"
        page = parse(send(site, text))
        assert "2 jobs will be added" in words(page)
        assert ids(site) == []
        done = send(site, text.replace("\n", "\r\n"), digest=digest_of(page))
        assert (done.status_code, done.headers["Location"]) == (303, "/jobs")
        assert ids(site) == ["a", "b"]
        assert "Imported: 2 added." in words(site.get("/jobs"), "body")
        again = parse(send(site, text))
        assert "2 jobs are as the file wants them" in words(again)
        assert "There is nothing to do." in words(again)
        assert site.woken

    def test_an_uploaded_file_comes_back_as_text_for_the_confirmation(self, site: Site) -> None:
        text = HEAD + JOB.format(id="a")
        page = parse(send(site, "ignored", file=text.encode()))
        shown = page.select_one("textarea[name=text]")
        assert shown is not None
        assert shown.text.removeprefix("\n") == text

    def test_differences_are_shown_before_and_after(self, site: Site) -> None:
        send_and_confirm(site, HEAD + JOB.format(id="a"))
        text = HEAD + JOB.format(id="a") + "  parameters: {number: 5}\n  notes: new\n"
        shown = words(parse(send(site, text)), ".plan")
        assert "parameters.number (empty) 5" in shown
        assert "notes (empty) new" in shown

    def test_what_is_wrong_is_named_and_the_text_kept(self, site: Site) -> None:
        text = HEAD + JOB.format(id="a").replace("0 3", "99 3")
        response = send(site, text)
        page = parse(response)
        assert response.status_code == 422
        assert "1 thing to put right; nothing was imported" in words(page)
        assert "6 job “a”, trigger.crontab" in words(page, "#problems")
        assert "99 3" in words(page, "textarea")
        assert page.select_one("input[name=digest][value]") is None or not page.select(".plan")

    def test_jobs_that_changed_meanwhile_are_noticed(self, site: Site) -> None:
        send_and_confirm(site, HEAD + JOB.format(id="a"))
        text = HEAD + JOB.format(id="a") + "  notes: mine\n"
        shown = digest_of(parse(send(site, text)))
        with site.database.write() as session:
            session.get_one(Job, "a").notes = "theirs"
            session.get_one(Job, "a").version += 1
        response = send(site, text, digest=shown)
        assert response.status_code == 409
        page = parse(response)
        assert "Nothing was imported" in words(page, "#stale-plan")
        assert "notes theirs mine" in words(page, ".plan")
        assert send(site, text, digest=digest_of(page)).status_code == 303

    def test_a_file_without_a_digest_is_not_imported(self, site: Site) -> None:
        assert send(site, HEAD + JOB.format(id="a"), digest="").status_code == 409
        assert ids(site) == []

    @pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
    def test_it_is_for_admins(self, site: Site, role: Role) -> None:
        site.sign_in(role)
        site.get("/jobs/import", status=403)
        assert send(site, HEAD).status_code == 403
        assert not [link for link in site.get("/jobs").select("a") if "Import" in link.text]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\xff\xfe\x00",
            b"a: &a [*a, *a]",
            HEAD.encode() + f"- id: '{HOSTILE}'\n  task: '{HOSTILE}'\n  {HOSTILE}: 1\n".encode(),
            HEAD.encode() + b'- id: "\\ud800\\u202e"\n  task: "\\0"\n  name: 7\n  tags: x\n',
            b'{"format": "apscheduler-dashboard/jobs", "version": 1, "jobs": [{"id": "\\ud800"}]}',
        ],
    )
    def test_hostile_files_are_refused_on_the_page(self, site: Site, content: bytes) -> None:
        for fields in ({}, {"digest": "x"}):
            response = send(site, file=content, **fields)
            assert response.status_code == 422
            assert HOSTILE not in response.text
            assert "to put right; nothing was imported" in response.text
        assert ids(site) == []

    def test_more_than_a_request_may_have(self, site: Site) -> None:
        fields = {"csrf_token": site.token(), "text": "x" * 5_000_000}
        assert site.client.post("/jobs/import", data=fields).status_code == 413

    def test_a_refused_import_is_in_the_audit_log(self, site: Site) -> None:
        send(site, HEAD + JOB.format(id="a"), digest="stale")
        with site.database.read() as session:
            (entry,) = session.query(Audit).filter_by(action="job.import")
        assert entry.outcome == "refused"


class TestCrontab:
    @pytest.fixture(autouse=True)
    def _commands(self) -> Iterator[None]:
        register_samples(commands=True)
        yield
        register_samples()

    def test_it_is_previewed_in_its_zone_and_imported(self, site: Site) -> None:
        text = "# Tidy up.\n0 3 * * * /bin/tidy\n"
        fields: dict[str, Any] = {"kind": "crontab", "timezone": "Europe/Berlin"}
        page = parse(send(site, text, **fields))
        assert "/bin/tidy cron-bin-tidy command.run: Every day at 03:00 (Europe/Berlin)" in (
            words(page, ".plan")
        )
        assert send(site, text, digest=digest_of(page), **fields).status_code == 303
        with site.database.read() as session:
            job = session.get_one(Job, "cron-bin-tidy")
        assert job.trigger["timezone"] == "Europe/Berlin"

    def test_lines_that_cannot_be_converted_may_be_left_out(self, site: Site) -> None:
        text = f"@reboot a\n@daily {HOSTILE}\n"
        response = send(site, text, kind="crontab", timezone="")
        page = parse(response)
        assert response.status_code == 422
        assert "1 the file “@reboot” names no time" in words(page, "#problems")
        assert page.select_one("input[name=leave_out]") is not None
        page = parse(send(site, text, kind="crontab", timezone="", leave_out="on"))
        assert "Left out: line 1" in words(page)
        assert HOSTILE in words(page, ".plan")
        assert not page.select("script:not([src])")

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"kind": "odd"}, "Choose one of: Jobs"),
            ({"kind": "crontab", "timezone": "Mars/Base"}, "Mars/Base"),
            ({"kind": "system"}, "an account stands between"),
        ],
    )
    def test_wrong_choices(self, site: Site, fields: dict[str, Any], complaint: str) -> None:
        response = send(site, "@daily /bin/a\n", **fields)
        assert (response.status_code, complaint in response.text) == (422, True)


def send_and_confirm(site: Site, text: str) -> None:
    response = send(site, text, digest=digest_of(parse(send(site, text))))
    assert response.status_code == 303, response.text[:500]
