from __future__ import annotations

import os
import socket
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from dashboard.runcontext import RunIdentity, run_context
from dashboard.samples.checks import Check, CheckFailed
from dashboard.samples.web import MOST_BYTES, fetch, split_account
from tests.sinks import MIDNIGHT, Sink, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dashboard.settings import Settings

CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def check(kind: str, **values: Any) -> Check:
    return CHECK.validate_python({"kind": kind, **values})


def failure(kind: str, **values: Any) -> str:
    with pytest.raises(CheckFailed) as caught:
        check(kind, **values).verify()
    return str(caught.value)


class Handler(BaseHTTPRequestHandler):
    """Answers with a status and a kind of body that the path asks for."""

    def do_GET(self) -> None:
        _, status, kind = self.path.split("/", 2)
        body = {"text": "all is «well»".encode(), "huge": b"x" * (MOST_BYTES * 2)}.get(kind, b"")
        if kind == "account":
            body = self.headers.get("Authorization", "none").encode()
        self.send_response(int(status))
        if kind.startswith(("http", "ftp")):
            self.send_header("Location", kind)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body) + (5 if kind == "short" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def odd_server() -> Iterator[Callable[[bytes], str]]:
    """Start servers that accept one connection, say something, and then nothing more."""
    listeners: list[socket.socket] = []
    connections: list[socket.socket] = []

    def serve(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def speak() -> None:
            connection, _address = listener.accept()
            connections.append(connection)
            connection.sendall(answer)

        threading.Thread(target=speak, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    for each in (*listeners, *connections):
        each.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at, and that nobody is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# -- web addresses -----------------------------------------------------------------------------


def test_an_address_that_answers_is_in_order(server: str) -> None:
    seen = check("http", url=f"{server}/200/text", contains="«well»", max_seconds=60).verify()
    assert seen.startswith("200 in ")
    assert check("http", url=f"{server}/503/text", expected_status=503).verify()


def test_what_is_wrong_with_an_address_is_said(server: str, closed_port: int) -> None:
    assert failure("http", url=f"{server}/503/text") == (
        f"{server}/503/text answered 503 Service Unavailable; expected 200."
    )
    assert failure("http", url=f"{server}/200/text", contains="bad") == (
        f"{server}/200/text does not contain “bad”; it begins with “all is «well»”."
    )
    assert "at most 1e-09 s is allowed" in failure("http", url=f"{server}/200/x", max_seconds=1e-9)
    closed = f"http://127.0.0.1:{closed_port}/"
    assert failure("http", url=closed) == f"{closed} cannot be reached: Connection refused."


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/", "data:,x", "/etc/passwd", "http://[::1"]
)
def test_only_web_addresses_are_fetched(url: str) -> None:
    assert "http:// and https://" in failure("http", url=url)


@pytest.mark.parametrize("url", ["http://", "http://a b/", "http://127.0.0.1:x/", "http://\n/"])
def test_an_address_that_is_none_is_a_failed_check(url: str) -> None:
    assert "cannot be reached: " in failure("http", url=url)


def test_redirects_are_followed_but_not_out_of_the_web(server: str) -> None:
    assert check("http", url=f"{server}/302/{server}/200/text", contains="well").verify()
    assert failure("http", url=f"{server}/302/ftp://127.0.0.1/x")
    assert "expected 200" in failure("http", url=f"{server}/302/file:///etc/passwd")


def test_only_the_beginning_of_a_large_answer_is_read(server: str) -> None:
    assert len(fetch(f"{server}/200/huge", timeout=30).text) == MOST_BYTES


def test_an_answer_that_breaks_off_is_a_problem(
    server: str, odd_server: Callable[[bytes], str]
) -> None:
    assert fetch(odd_server(b"not http at all\r\n\r\n"), timeout=5).problem
    assert fetch(odd_server(b""), timeout=0.2).problem == "no whole answer within 0.2 s"
    half = odd_server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    assert fetch(half, timeout=0.2).problem == "no whole answer within 0.2 s"
    assert fetch(f"{server}/200/short", timeout=5).status == 200


def test_an_unknown_character_set_is_read_as_utf8(odd_server: Callable[[bytes], str]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=klingon\r\n"
    url = odd_server(head + b"Content-Length: 2\r\n\r\n\xc3\xa4")
    assert fetch(url, timeout=5).text == "ä"


def test_a_password_is_used_but_not_shown(server: str, closed_port: int) -> None:
    place = server.removeprefix("http://")
    answer = fetch(f"http://anna:s%C3%A4cret@{place}/200/account", timeout=5)
    assert answer.text == "Basic YW5uYTpzw6RjcmV0"
    assert "cret" not in answer.url
    assert "cret" not in failure("http", url=f"http://anna:secret@127.0.0.1:{closed_port}/")
    assert "cret" not in check("http", url="http://anna:secret@example.com/").title
    assert split_account("http://[::1") == ("(not an address)", "")


def test_the_task_reports_what_it_saw(server: str, sink: Sink) -> None:
    outcome = run("http.check", {"url": f"{server}/200/text"}, sink=sink)
    assert outcome.state == "succeeded"
    assert sink.texts()[0].startswith(f"{server}/200/text answers 200: 200 in ")
    failed = run("http.check", {"url": f"{server}/404/text"})
    assert (failed.state, failed.error_type) == ("failed", "dashboard.samples.checks.CheckFailed")


# -- files, disks, ports, databases ------------------------------------------------------------


def test_files_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    assert failure("file", path=path) == f"{path} is not there: No such file or directory."
    path.write_text("12345")
    assert check("file", path=path, min_bytes=5, max_age="PT1H").verify().startswith("5 bytes")
    assert failure("file", path=path, min_bytes=6) == (
        f"{path} has 5 bytes; at least 6 are expected."
    )
    os.utime(path, (0, 0))
    assert "at most 1:00:00 is allowed" in failure("file", path=path, max_age=3600)


def test_a_relative_path_is_in_the_data_folder(settings: Settings, sink: Sink) -> None:
    (settings.data / "here.txt").write_text("x")
    with run_context(RunIdentity(1, "job", MIDNIGHT), sink, settings):
        assert check("file", path="here.txt").verify()
        assert check("disk", path=".", min_free_percent=0).verify()


def test_disks_are_asked_for_room(tmp_path: Path) -> None:
    assert check("disk", path=tmp_path, min_free_percent=0).verify().endswith(" % free")
    assert "at least 100 % is needed" in failure("disk", path=tmp_path, min_free_percent=100)
    assert "is not there" in failure("disk", path=tmp_path / "none")


def test_ports_are_connected_to(server: str, closed_port: int) -> None:
    port = int(server.rpartition(":")[2])
    assert check("port", port=port).verify().startswith("connected in ")
    assert failure("port", port=closed_port) == (
        f"127.0.0.1:{closed_port} cannot be reached: Connection refused."
    )
    assert "cannot be reached" in failure("port", host="a" * 70, port=80)


def test_sqlite_files_are_checked_without_being_changed(tmp_path: Path) -> None:
    path = tmp_path / "odd name?#%.sqlite"
    assert failure("sqlite", path=path) == f"{path} is no file."
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    before = path.read_bytes()
    assert check("sqlite", path=path).verify() == f"whole, {len(before):,} bytes"
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all, whatever its name says" * 100)
    assert "file is not a database" in failure("sqlite", path=path)


def test_a_damaged_sqlite_file_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 100)
        connection.commit()
    content = bytearray(path.read_bytes())
    content[4096 + 8 : 4096 + 28] = b"\xff" * 20  # where the rows of the table's first page begin
    path.write_bytes(content)
    assert "is damaged" in failure("sqlite", path=path)


@pytest.mark.parametrize("kind", ["http", "file", "disk", "port", "sqlite"])
def test_every_check_has_a_title_and_takes_a_name(kind: str) -> None:
    values = {"url": "http://x/", "path": "/x", "port": 1}
    known = CHECK.json_schema()["$defs"][f"{kind.capitalize()}Check"]["properties"]
    given = {key: value for key, value in values.items() if key in known}
    assert check(kind, **given).title
    assert check(kind, name="Mine", **given).title == "Mine"
