"""What the repository must not hold, and what its lock files must."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.checkout import ROOT, project_files

LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))
FORBIDDEN = {
    "the address of a package registry": r"//[\w.-]*\b(?:pypi|npmjs|pythonhosted|yarnpkg)\.",
    "the path of somebody's folder": r"(?<![\w.~])/(?:work|root|home/\w+|Users/\w+)/",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an access key": r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|xox[bp]-\w{10,}|glpat-\w{20})\b",
}
LONGEST_LINE = 500


class Locked(NamedTuple):
    requirement: Requirement
    hashes: list[str]


def text_files() -> list[tuple[Path, str]]:
    found = []
    for path in project_files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            found.append((path, content.decode("utf-8")))
    return found


def locked(name: str) -> dict[str, list[Locked]]:
    """Read a lock file; a package can be there more than once, with different markers."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    packages: dict[str, list[Locked]] = {}
    lines = re.sub(r"(?m)^\s*#.*\n?", "", text).replace("\\\n", " ").splitlines()
    for line in filter(str.strip, lines):
        wanted, *hashes = line.split(" --hash=")
        requirement = Requirement(wanted)
        entry = Locked(requirement, [value.strip() for value in hashes])
        packages.setdefault(canonicalize_name(requirement.name), []).append(entry)
    return packages


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def wanted_by(name: str) -> list[Requirement]:
    """List what pyproject.toml asks for and a lock file has to provide."""
    settings = project()
    groups, runtime = settings["dependency-groups"], settings["project"]["dependencies"]
    extras = settings["project"]["optional-dependencies"]
    match name:
        case "run.txt":
            lines = [*runtime, *extras["postgresql"]]
        case "test.txt":
            lines = [*runtime, *chain(*extras.values()), *groups["test"], *groups["lint"]]
        case _:
            lines = groups[Path(name).stem]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path}:{number}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_third_party_or_minified_code() -> None:
    web = [(path, text) for path, text in text_files() if path.suffix in {".css", ".js"}]
    minified = [
        path for path, text in web if max(map(len, text.splitlines()), default=0) > LONGEST_LINE
    ]
    assert minified == []
    suffixes = {".map", ".ttf", ".whl", ".woff", ".woff2"}
    foreign = [
        path
        for path in project_files()
        if path.suffix in suffixes
        or ".min." in path.name
        or {"vendor", "node_modules"} & {*path.parts}
    ]
    assert foreign == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(name: str) -> None:
    for entries in locked(name).values():
        for requirement, hashes in entries:
            assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
            assert hashes, requirement
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_lock_provides_what_pyproject_asks_for(name: str) -> None:
    packages = locked(name)
    for wanted in wanted_by(name):
        versions = [
            entry.requirement.specifier for entry in packages[canonicalize_name(wanted.name)]
        ]
        assert versions
        for version in versions:
            assert wanted.specifier.contains(str(version).removeprefix("==")), wanted


@pytest.mark.parametrize("part", ["run.txt", "build.txt"])
def test_test_tools_come_on_top_of_the_same_versions(part: str) -> None:
    everything = {
        (name, str(entry.requirement))
        for name, entries in locked("test.txt").items()
        for entry in entries
    }
    versions = {
        (name, str(entry.requirement))
        for name, entries in locked(part).items()
        for entry in entries
    }
    assert versions - everything == set()


def test_lock_files_name_no_place_to_download_from() -> None:
    for name in LOCKS:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"(?m)^\s*--(?!hash=)", text)


def test_npm_packages_are_pinned_and_hashed() -> None:
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert lock.pop("")["dependencies"] == wanted
    for name, version in wanted.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    for package in lock.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package
