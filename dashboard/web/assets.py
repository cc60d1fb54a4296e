"""Where templates and static files lie, and addresses that change with a file's content."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

from flask import g, url_for

import dashboard

DAY = 86_400
YEAR = 365 * DAY
"""Seconds; so long a browser may keep a file whose address names its content."""


@cache
def folder(name: str) -> Path:
    """Return the folder `templates` or `static`.

    It lies inside the package in a wheel, beside it in a checkout.
    """
    package = Path(dashboard.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


@cache
def content_hash(name: str) -> str:
    """Return a short hash of a static file; empty when it was not built."""
    try:
        content = (folder("static") / name).read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a static file, which a browser may keep for ever."""
    if "dashboard_static" not in g:
        g.dashboard_static = url_for("dashboard.static", filename="")
    return _address(g.dashboard_static, name)


@lru_cache(maxsize=256)
def _address(folder_url: str, name: str) -> str:
    version = content_hash(name)
    return f"{folder_url}{name}?v={version}" if version else f"{folder_url}{name}"
