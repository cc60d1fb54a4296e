"""The product as people install it: from a wheel, into another folder, on its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

import hatch_build
from tests.packaging.checkout import copy_checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT_TYPES = {
    ".css": "text/css",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
ASSETS = ("link[href]", "script[src]", "img[src]", "source[src]", "use[href]")


class Answer(NamedTuple):
    url: str
    status: int
    content_type: str
    body: str


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has a space in it, as people's folders do."""
    return tmp_path_factory.mktemp("a clean folder")


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    return copy_checkout(folder / "checkout")


@pytest.fixture(scope="module")
def sdist(checkout: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--sdist", "-nx", "-o", folder, ".", cwd=checkout)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, folder: Path) -> Path:
    """The wheel, made of the sdist alone, with no npm in reach."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    env = {**os.environ, "PATH": str(folder)}
    run(sys.executable, "-m", "build", "--wheel", "-nx", "-o", folder, ".", cwd=source, env=env)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(checkout: Path, folder: Path) -> Path:
    """A new virtual environment after `pip install .` in a checkout.

    To save a minute of downloads the dependencies are those of the environment that runs the
    tests, whose folder is put on the path. That folder's own `.pth` files are not read there, so
    the editable installation of this project stays out of sight.
    """
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(paths["purelib"], "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=checkout)
    return environment


@pytest.fixture(scope="module")
def server(environment: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The installed command, started in a folder that knows nothing of the project."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.Popen(
        [environment / "bin" / "apscheduler-dashboard", "run", "--port", "0", "--data", "data"],
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield listening_address(process), process
    finally:
        process.kill()
        process.communicate()


def listening_address(process: subprocess.Popen[str]) -> str:
    """Read what the server says until it says where it listens."""
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"Listening on (http://\S+)", line):
            return found[1]
    pytest.fail("the server ended before it listened:\n" + "".join(said))


def fetch(url: str) -> Answer:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body = answer.read().decode("utf-8", errors="replace")
        return Answer(url, answer.status, answer.headers.get_content_type(), body)


def links(answer: Answer) -> Iterator[str]:
    """Yield the address of everything that a page or stylesheet loads."""
    if answer.content_type == "text/html":
        page = BeautifulSoup(answer.body, "html.parser")
        for element in page.select(", ".join(ASSETS)):
            yield str(element.get("href") or element.get("src"))
    elif answer.content_type == "text/css":
        named = re.finditer(r"""url\(\s*(["']?)(.*?)\1\s*\)|@import\s+["'](.*?)["']""", answer.body)
        yield from (match[2] or match[3] for match in named)


def crawl(start: str) -> dict[str, Answer]:
    """Fetch a page and all that it loads, directly or through its stylesheets."""
    answers: dict[str, Answer] = {}
    waiting = [start]
    while waiting:
        url = waiting.pop()
        if url in answers:
            continue
        answers[url] = fetch(url)
        for link in links(answers[url]):
            target, fragment = urldefrag(urljoin(url, link))
            if link.startswith("data:"):
                continue
            assert urlsplit(target).netloc == urlsplit(start).netloc, f"{url} loads {link}"
            waiting.append(target)
            if fragment and target.endswith(".svg"):
                assert f'id="{fragment}"' in fetch(target).body, f"{url} uses {link}"
    return answers


def test_sdist_holds_the_project_and_its_assets_only(sdist: Path, checkout: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"run.py", "README.md", "LICENSE", "hatch_build.py", "package-lock.json"} <= names
    assert {f"static/vendor/{name}" for name in hatch_build.PRODUCTS} <= names
    made = {"PKG-INFO", *(f"static/vendor/{name}" for name in hatch_build.PRODUCTS)}
    assert [name for name in names - made if not (checkout / name).is_file()] == []


def test_wheel_holds_the_package_with_pages_and_assets_only(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("static", "templates"):
        files = [path for path in (checkout / folder).rglob("*") if path.is_file()]
        assert {f"dashboard/{path.relative_to(checkout)}" for path in files} <= names
    assert {name.partition("/")[0].removesuffix(".dist-info") for name in names} == {
        "dashboard",
        wheel.name.removesuffix("-py3-none-any.whl"),
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_installing_a_checkout_gives_the_same_as_the_wheel(wheel: Path, environment: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        expected = {name for name in archive.namelist() if name.startswith("dashboard/")}
    site = next(environment.glob("lib/python*/site-packages"))
    installed = {
        path.relative_to(site).as_posix()
        for path in (site / "dashboard").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert installed == expected


def test_installed_package_is_the_one_that_runs(environment: Path, folder: Path) -> None:
    code = "import dashboard, sys; print(dashboard.__file__)"
    told = run(environment / "bin" / "python", "-P", "-c", code, cwd=folder)
    assert Path(told.strip()).is_relative_to(environment)


def test_login_page_and_all_it_loads_come_from_the_wheel(
    server: tuple[str, subprocess.Popen[str]],
) -> None:
    address, _ = server
    answers = crawl(f"{address}/login")
    assert {answer.status for answer in answers.values()} == {200}
    suffixes = {Path(urlsplit(url).path).suffix for url in answers}
    assert {".css", ".js", ".woff2"} <= suffixes
    wrong = {
        url: answer.content_type
        for url, answer in answers.items()
        if (suffix := Path(urlsplit(url).path).suffix)
        and answer.content_type != CONTENT_TYPES[suffix]
    }
    assert wrong == {}


def test_sigterm_ends_it_cleanly(server: tuple[str, subprocess.Popen[str]]) -> None:
    _, process = server
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 0, output
