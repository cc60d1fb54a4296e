"""Conventions of the templates, which a strict Content-Security-Policy and STYLE rest on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from dashboard.web import POLICY
from dashboard.web.assets import folder
from dashboard.web.filters import LOOKS
from dashboard.web.rendering import templates

if TYPE_CHECKING:
    from pathlib import Path

ROOT = folder("templates")
FILES = sorted(ROOT.rglob("*.*"))
BANNED = {
    "an inline style": r"\sstyle\s*=",
    "a style element": r"<style\b",
    "an inline handler": r"\son[a-z]+\s*=",
    "an inline script": r"<script(?![^>]*\bsrc=)",
    "htmx that needs eval": r"\bhx-on\b|\bjs:|javascript:|hx-trigger=\"[^\"]*\[",
    "unescaped output": r"\|\s*safe\b|autoescape\s+false",
    "somebody else's server": r"(?:src|href)=\"(?:https?:)?//",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
@pytest.mark.parametrize("what", BANNED)
def test_no_template_has(path: Path, what: str) -> None:
    found = re.search(BANNED[what], path.read_text(encoding="utf-8"), re.IGNORECASE)
    assert found is None, f"{what}: {found}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_template_begins_by_saying_what_it_is(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("{# " + path.name) or path.read_text(
        encoding="utf-8"
    ).startswith(f"{{# {path.parent.name}/{path.name}")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_template_is_valid(path: Path) -> None:
    templates().get_template(name_of(path))


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    package = json.loads((ROOT.parent / "package.json").read_text(encoding="utf-8"))
    sources = [*FILES, *(ROOT.parent / "dashboard/web").glob("*.py")]
    named = {look.icon for look in LOOKS.values()}
    for path in sources:
        text = path.read_text(encoding="utf-8")
        named.update(re.findall(r"\b(?:draw_)?icon\(\"([a-z0-9-]+)\"", text))
        named.update(re.findall(r"\bicon=\"([a-z0-9-]+)\"", text))
    assert named - set(package["dashboardIcons"]) == set()


def test_every_icon_in_the_sprite_is_shown_somewhere() -> None:
    """By whatever way a page comes to its name; `NAME-filled` is shown by its own name."""
    package = json.loads((ROOT.parent / "package.json").read_text(encoding="utf-8"))
    sources = [*FILES, *(ROOT.parent / "dashboard").rglob("*.py"), *folder("static").glob("*.js")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    written = set(re.findall(r"""["'#]([a-z0-9-]+)["']""", text))
    assert set(package["dashboardIcons"]) - written == set()


def test_scripts_need_no_eval_and_no_inline_code() -> None:
    assert "unsafe" not in POLICY
    for path in folder("static").glob("*.js"):
        assert not re.search(r"\beval\(|new Function|innerHTML", path.read_text(encoding="utf-8"))


def test_styles_are_ours_and_ask_nobody_else() -> None:
    for path in folder("static").glob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"@import|https?://|url\(\"?//", text)


def test_every_block_of_a_stylesheet_is_closed() -> None:
    """An open one would quietly swallow all rules after it."""
    for path in folder("static").glob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for rule in re.split(r"^(?=@media)", text, flags=re.MULTILINE):
            assert rule.count("{") == rule.count("}"), rule[:60]
