"""Texts of secret parameters: what is kept never stands in a form, and what is typed never again.

A mask in the texts stands for the secret that a job has. Its field is shown empty; left so, the
mask, and with it the secret, stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.tasks import UnknownTask, all_tasks, get_task
from dashboard.vault import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

FORGET = "forget"
"""The first part of the name of a box that, ticked, takes the secret away: `forget.password`."""

RETYPE = "Enter it again: what is typed here is never sent back to a page."

_PART = "parameters."


def forget_name(name: str) -> str:
    """Return the name of the box that goes with the field of that name."""
    return f"{FORGET}.{name.removeprefix(_PART)}"


def with_kept(texts: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Put the masks of `known` where a field was left empty, unless its task is another now."""
    completed = dict(texts)
    if completed.get("task") == known.get("task"):
        for name in _secret_fields(known.get("task", "")):
            forgotten = texts.get(forget_name(name)) == "true"
            if known.get(name) == MASK and not texts.get(name) and not forgotten:
                completed[name] = MASK
    return completed


def without_kept(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of another job that is like this one: it has to be given its own secrets."""
    secret = _secret_fields(texts.get("task", ""))
    return {name: "" if name in secret else text for name, text in texts.items()}


def is_secret(name: str) -> bool:
    """Say whether a field of that name is secret for any task."""
    return any(name.removeprefix(_PART) in task.parameters.secrets for task in all_tasks())


def _secret_fields(task: str) -> frozenset[str]:
    try:
        return frozenset(f"{_PART}{name}" for name in get_task(task).parameters.secrets)
    except UnknownTask:
        return frozenset()
