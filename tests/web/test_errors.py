from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from dashboard.history.error_list import PAGE
from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import ErrorGroup, ErrorMark, Role, RunState
from tests.rows import make_job, make_run
from tests.web.site import HTMX, buttons, links, parse, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.site import Site

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
HOSTILE = '"><script>alert(1)</script>\u202e=1+1'


def fail(site: Site, number: int, fingerprint: str = "abc", **values: Any) -> None:
    """Let a run fail, and be counted."""
    at = values.pop("at", NOW)
    error = values.pop("error", f"ValueError: {number}")
    job_id = values.pop("job_id", "nightly")
    kind, _, message = error.partition(": ")
    site.add(
        make_run(
            number,
            job_id,
            state=RunState.FAILED,
            queued_at=at - HOUR,
            finished_at=at,
            error_type=kind,
            error_message=message,
            fingerprint=fingerprint,
            **values,
        )
    )
    run = FinishedRun(
        number, job_id, RunState.FAILED, at, at, 1.0, error=error, fingerprint=fingerprint
    )
    with site.database.write() as session:
        count_finished(session.connection(), [run])


def group(site: Site) -> ErrorGroup:
    with site.database.read() as session:
        return session.get_one(ErrorGroup, "abc")


def listed(site: Site, query: str = "") -> list[str]:
    page = site.get(f"/errors{query}")
    return [link.text for link in page.select(".error-name")]


class TestList:
    def test_nothing_yet(self, site: Site) -> None:
        assert "No open errors" in words(site.get("/errors"))
        assert "No ignored errors" in words(site.get("/errors?show=ignored"))
        assert "No error matches" in words(site.get("/errors?q=x"))

    def test_cells_lead_to_the_runs_they_count(self, site: Site) -> None:
        site.add(make_job("nightly", name="Nightly report"))
        now = datetime.now(UTC)
        for number, hours in enumerate((0, 2, 20, 60, 150, 400), start=1):
            fail(site, number, at=now - hours * HOUR)
        page = site.get("/errors")
        cells = page.select("td.cell")
        assert [cell.get_text(strip=True) for cell in cells] == ["1", "2", "3", "4", "5"]
        for number, cell in enumerate(cells, start=1):
            link = cell.select_one("a")
            assert link is not None
            found = site.get(str(link["href"])).select("table.runs tbody tr[id]")
            assert len(found) == number
        assert links(page)["Nightly report"] == "/jobs/nightly"

    def test_sorted_and_searched(self, site: Site) -> None:
        site.add(make_job("b", name="Backup"))
        fail(site, 1, "old", at=NOW - 9 * HOUR, error="OSError: disk 100% full")
        fail(site, 2, "old", at=NOW - HOUR, error="OSError: disk 100% full")
        fail(site, 3, "new", at=NOW, error="KeyError: x", job_id="b")
        assert listed(site) == ["KeyError: x", "OSError: disk 100% full"]
        assert listed(site, "?sort=count") == ["OSError: disk 100% full", "KeyError: x"]
        assert listed(site, "?sort=first") == ["KeyError: x", "OSError: disk 100% full"]
        assert listed(site, "?q=100%25+disk") == ["OSError: disk 100% full"]
        assert listed(site, "?q=backup") == ["KeyError: x"]
        assert listed(site, "?q=_") == []

    @pytest.mark.parametrize("sort", ["last", "first", "count"])
    def test_pages_follow_each_other_without_gaps(self, site: Site, sort: str) -> None:
        many = PAGE * 2 + 7
        site.add(
            *(
                ErrorGroup(
                    fingerprint=f"f{n:03}",
                    error=f"Error {n}",
                    first_seen_at=NOW - n % 3 * HOUR,
                    last_seen_at=NOW - n % 3 * HOUR,
                    count=n % 5,
                    jobs=1,
                    last_run_id=n,
                    last_job_id="j",
                )
                for n in range(many)
            )
        )
        seen, url = [], f"/errors?sort={sort}"
        while url:
            page = site.get(url)
            seen += [link.text for link in page.select(".error-name")]
            more = page.select_one("a[rel=next]")
            url = str(more["href"]) if more else ""
        assert len(seen) == len(set(seen)) == many

    @pytest.mark.parametrize(
        "query",
        [
            "after=x",
            "after=~",
            "after=9999999-1~f",
            "after=0001-01-01T00:00%2B23:00~f",
            "sort=count&after=99999999999999999999999999~%00",
            "sort=nothing&show=nothing&q=%00%ED%A0%80%F0%9F%98%80",
            "q=" + "x" * 5000,
        ],
    )
    def test_an_address_nobody_gave_out(self, site: Site, query: str) -> None:
        fail(site, 1)
        site.get(f"/errors?{query}")

    def test_it_takes_few_queries_whatever_there_is(self, site: Site) -> None:
        def queries(url: str) -> int:
            asked: list[str] = []

            def note(*args: Any) -> None:
                asked.append(args[2])

            engine = site.database.engine
            event.listen(engine, "before_cursor_execute", note)
            site.get(url)
            event.remove(engine, "before_cursor_execute", note)
            return len(asked)

        frame = queries("/tokens")
        for number in range(1, 60):
            fail(site, number, f"f{number}", job_id=f"j{number}")
        assert queries("/errors") - frame <= 3
        assert queries("/errors/f1") - frame <= 6

    def test_a_poll_that_knows_it_all_is_spared(self, site: Site) -> None:
        fail(site, 1)
        first = site.client.get("/errors", headers=HTMX)
        assert parse(first).select("html") == []
        again = HTMX | {"If-None-Match": first.headers["ETag"]}
        assert site.client.get("/errors", headers=again).status_code in {200, 304}


class TestPage:
    def test_where_it_comes_from_and_who_meets_it(self, site: Site) -> None:
        site.add(make_job("nightly", name=HOSTILE))
        trace = (
            'Traceback (most recent call last):\n  File "/srv/x.py", line 3, in go\nValueError: 1'
        )
        fail(site, 1, traceback=trace)
        fail(site, 2, traceback=trace, job_id="gone", error=f"ValueError: {HOSTILE}")
        page = site.get("/errors/abc")
        assert words(page, "h1") == f"ValueError: {HOSTILE}"
        assert "As run 2 met it" in words(page)
        assert "x.py" in words(page, ".frames")
        assert {HOSTILE, "gone"} <= set(links(page))
        assert len(page.select("table.runs tbody tr[id]")) == 2
        assert not page.select("main script")
        assert site.get("/errors/none", status=404)

    def test_a_run_leads_there(self, site: Site) -> None:
        fail(site, 1)
        fail(site, 2, job_id="other")
        assert links(site.get("/runs/1"))["Same error in 1 other run"] == "/errors/abc"

    def test_the_counts_outlive_the_runs(self, site: Site) -> None:
        fail(site, 1)
        with site.database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM run")
        assert "Its runs were pruned" in words(site.get("/errors/abc"))


class TestMarks:
    def test_acknowledged_and_back(self, site: Site) -> None:
        site.add(make_job("nightly"))
        fail(site, 1)
        assert buttons(site.get("/errors")) == ["Search", "Acknowledge", "Ignore"]
        page = site.get("/errors/abc/acknowledge")
        assert buttons(page) == ["Acknowledge"]
        assert "still count as failing" in words(page, "main")
        answer = site.post("/errors/abc/acknowledge", reason=HOSTILE)
        assert answer.status_code == 303
        assert listed(site) == []
        page = site.get("/errors?show=acknowledged")
        assert f": {HOSTILE}" in words(page, ".decision")
        assert not page.select("main script")
        run = FinishedRun(7, "nightly", RunState.SUCCEEDED, NOW, datetime.now(UTC), 1.0)
        with site.database.write() as session:
            count_finished(session.connection(), [run])
        fail(site, 8, at=datetime.now(UTC))
        assert listed(site, "?show=regressed") == ["ValueError: 8"]
        assert "regressed" in words(site.get("/errors"), ".decision")
        site.post("/errors/abc/reopen")
        assert not site.get("/errors").select(".decision")

    def test_ignored_until(self, site: Site) -> None:
        fail(site, 1)
        site.post("/errors/abc/ignore", in_place=True, times="5", per_hour="3", until="1d")
        row = group(site)
        assert (row.mark, row.until_count, row.until_rate) == (ErrorMark.IGNORED, 6, 3)
        assert row.until_at is not None
        text = words(site.get("/errors?show=ignored"), ".decision")
        assert "until 6 runs ever until 3 within an hour" in text

    @pytest.mark.parametrize(
        "fields",
        [
            {"times": "0"},
            {"times": "many"},
            {"per_hour": "-1"},
            {"times": "9" * 12},
            {"until": "x"},
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, site: Site, fields: dict[str, str]) -> None:
        fail(site, 1)
        answer = site.post("/errors/abc/ignore", in_place=True, reason="a test", **fields)
        assert answer.status_code == 422
        page = parse(answer)
        assert page.select_one(".ask .field-errors")
        assert page.select_one("[name=reason]")["value"] == "a test"  # type: ignore[index]
        assert group(site).mark is None

    def test_viewers_look(self, site: Site) -> None:
        fail(site, 1)
        site.sign_in(Role.VIEWER)
        assert buttons(site.get("/errors")) == ["Search"]
        for action in ("acknowledge", "ignore", "reopen"):
            assert site.post(f"/errors/abc/{action}").status_code == 403
        assert site.get("/errors/abc/ignore", status=403)

    def test_an_error_that_is_gone(self, site: Site) -> None:
        for action in ("acknowledge", "ignore", "reopen"):
            assert site.post(f"/errors/none/{action}").status_code == 404


def test_the_whole_is_reached_by_the_navigation(site: Site) -> None:
    find: Callable[[str], Any] = site.get("/errors").select_one
    assert find("nav [aria-current=page]").get_text(strip=True).startswith("Errors")
