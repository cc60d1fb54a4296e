"""A job as people type it: the fields of its form, their texts, and the JSON these stand for.

A field's name is its path in the JSON of a job: `name`, `parameters.day`, `trigger.hour`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dashboard.errors import FieldError, Invalid
from dashboard.settings import PROCESSES, THREADS
from dashboard.tasks import UnknownTask, all_tasks, get_task, shown_parameters
from dashboard.vault import MASK
from dashboard.web import optionforms, triggerforms
from dashboard.web.formfields import ABOUT, JOB_ID, NAME, Field
from dashboard.web.optionforms import FLAGS
from dashboard.web.secretfields import FORGET, RETYPE, forget_name, is_secret, with_kept

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from werkzeug.datastructures import MultiDict

    from dashboard.fields import ParameterField
    from dashboard.settings import Settings
    from dashboard.storage.models import Job
    from dashboard.tasks import Task
    from dashboard.web.optionforms import Group

Texts = dict[str, str]

_AT_A_GLANCE = 8
_PLAIN = (
    "task", "name", "id", "executor", "max_instances", "misfire_grace_time", "slow_after",
    "timeout", "retries", "retry_wait", "max_runs", "end_at", "notes", "owner", "runbook",
)  # fmt: skip
PARTS = frozenset({*_PLAIN, *FLAGS, "parameters", "trigger", "tags"})
"""The keys of a job that the form fills."""


_PLAIN_INPUT = {"type": "text"}
_ATTRIBUTES: Mapping[str, tuple[str, dict[str, str]]] = {
    "checkbox": (".*", {"type": "checkbox"}),
    "code": (".*", _PLAIN_INPUT | {"spellcheck": "false", "autocapitalize": "none"}),
    "date": (r"[0-9]{4}-[0-9]{2}-[0-9]{2}", {"type": "date"}),
    "integer": (r"-?[0-9]{1,15}", {"type": "number", "step": "1", "inputmode": "numeric"}),
    "json": (".*", {"rows": "3", "spellcheck": "false"}),
    "list": (".*", {"rows": "3"}),
    "moment": (".*", _PLAIN_INPUT | {"placeholder": "YYYY-MM-DD HH:MM"}),
    "number": (r"-?[0-9]{1,15}(\.[0-9]+)?", {"type": "number", "step": "any"}),
    "select": (".*", {}),
    "textarea": (".*", {"rows": "3"}),
    "time": (r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", {"type": "time", "step": "1"}),
    "zone": (".*", _PLAIN_INPUT | {"list": "zones", "maxlength": "64", "spellcheck": "false"}),
}
"""By kind: the texts that its element can show, and the element's attributes."""
_AREAS = ("json", "list", "textarea")
_NOT_KEPT = {"autocomplete": "new-password", "spellcheck": "false"}
_SECRET_INPUT = {"type": "password"} | _NOT_KEPT


@dataclass(frozen=True)
class JobForm:
    """One job being edited: what stands in its fields, and what is wrong with it."""

    texts: Mapping[str, str]
    is_new: bool = True
    faults: Iterable[FieldError] = ()
    trigger_only: bool = False
    """True for people who may change nothing else."""
    search: str = ""
    """Words that narrow the list of tasks."""
    executors: tuple[str, ...] = (THREADS, PROCESSES)
    usual: Mapping[str, str] = field(default_factory=dict)
    """The options of a new job here, told as their defaults."""
    focus: str = ""
    """What somebody goes on with: the name of a field, or of the button that adds a part."""
    trigger: triggerforms.Editor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trigger", triggerforms.editor(self.texts))

    def text(self, shown: Field) -> str:
        """Return what stands in a field, as far as the page may show it."""
        return "" if shown.secret else self.texts.get(shown.name, "")

    def keeps(self, shown: Field) -> bool:
        """Tell whether a field stands for a secret that is kept."""
        return shown.secret and self.texts.get(shown.name) == MASK

    def forget_name(self, shown: Field) -> str:
        """Return the name of the box that takes such a secret away; "" where it is needed."""
        name = forget_name(shown.name)
        return name if not shown.required and (self.keeps(shown) or name in self.texts) else ""

    @cached_property
    def task(self) -> Task | None:
        """The task chosen, if there is such a task."""
        return task_named(self.texts.get("task", ""))

    @property
    def paragraphs(self) -> list[str]:
        """The task's docstring. Its line breaks are an editor's, unless it lists or indents."""
        blocks = re.split(r"\n\s*\n", self.task.docstring.strip()) if self.task else []
        return [
            block
            if re.search(r"^(?:\s|[-*•] |\d+[.)] )", block, re.MULTILINE)
            else _one_line(block)
            for block in blocks
            if block
        ]

    @property
    def offers_search(self) -> bool:
        """True where there are more tasks than one takes in at a glance."""
        return len(all_tasks()) > _AT_A_GLANCE

    @cached_property
    def task_field(self) -> Field:
        """The choice of task, narrowed by the search; the one chosen stays in the list."""
        chosen = self.texts.get("task", "")
        tasks = [each for each in all_tasks() if each.name == chosen or _matches(each, self.search)]
        choices = [(each.name, each.name) for each in tasks]
        if chosen and self.task is None:
            choices.insert(0, (chosen, f"{chosen} (not registered)"))
        return Field("task", "Task", "select", choices=tuple(choices), required=True)

    @cached_property
    def parameters(self) -> tuple[Field, ...]:
        """The fields of the task's parameters."""
        return parameter_fields(self.task)

    @property
    def identity(self) -> tuple[Field, ...]:
        """The fields that name the job; its id is given once and for all."""
        return (NAME, JOB_ID) if self.is_new else (replace(NAME, help="", required=True),)

    @property
    def about(self) -> tuple[Field, ...]:
        """The fields for people only."""
        return ABOUT

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The fields that have good defaults."""
        return optionforms.groups(
            self.texts,
            self.task,
            usual=self.usual,
            executors=self.executors,
            is_new=self.is_new,
        )

    @cached_property
    def shown(self) -> tuple[Field, ...]:
        """All fields, in the order of the page."""
        trigger = tuple(self.trigger.walk())
        if self.trigger_only:
            return trigger
        return (
            self.task_field, *self.parameters, *trigger, *self.identity, *ABOUT,
            *(each for group in self.groups for each in group.fields),
        )  # fmt: skip

    @cached_property
    def complaints(self) -> dict[str, list[str]]:
        """What is wrong, by the name of the field beside which it is said; "" is for the rest."""
        placed: dict[str, list[str]] = {}
        names = {shown.name for shown in self.shown}
        for fault in self.faults:
            placed.setdefault(self._place(fault.field, names), []).append(sentence(fault.message))
        for shown in self.shown:
            if shown.secret and self.texts.get(shown.name, "") not in {"", MASK}:
                placed.setdefault(shown.name, []).append(RETYPE)
        return {name: list(dict.fromkeys(messages)) for name, messages in placed.items()}

    def _place(self, path: str, names: set[str]) -> str:
        if path.partition(".")[0] == triggerforms.ROOT:
            return triggerforms.place(path, self.trigger)
        while path and path not in names:
            path = path.rpartition(".")[0]
        return path

    @property
    def summary(self) -> list[tuple[Field | None, str]]:
        """Every complaint with its field, in the order of the page; those of no field first."""
        found: list[tuple[Field | None, str]] = [
            (None, message) for message in self.complaints.get("", [])
        ]
        for shown in self.shown:
            found += [(shown, message) for message in self.complaints.get(shown.name, [])]
        return found

    def carried(self, part: str) -> dict[str, str]:
        """Texts of fields not shown now, kept for when their task or kind is chosen again."""
        names = {shown.name for shown in self.shown}
        return {
            name: text
            for name, text in self.texts.items()
            if text and name.startswith(f"{part}.") and name not in names and not is_secret(name)
        }

    def is_used(self, fields: Iterable[Field]) -> bool:
        """Tell whether anything stands in these fields, or is wrong with them."""
        return any(self.text(each) or each.name in self.complaints for each in fields)

    def is_wrong(self, fields: Iterable[Field]) -> bool:
        """Tell whether anything is wrong with these fields."""
        return any(each.name in self.complaints for each in fields)

    def attributes(self, shown: Field) -> dict[str, str]:
        """Return the attributes that an element of the field's kind has.

        A text that a special input could not show, and would throw away, gets a plain one.
        """
        pattern, attributes = _ATTRIBUTES.get(shown.kind, (".*", _PLAIN_INPUT))
        text = self.text(shown)
        if text and not re.fullmatch(pattern, text, re.DOTALL):
            attributes = _PLAIN_INPUT
        if shown.secret:
            attributes = _SECRET_INPUT if shown.kind not in _AREAS else {"rows": "3"} | _NOT_KEPT
            if self.keeps(shown):
                attributes = attributes | {"placeholder": "unchanged"}
        return attributes | ({"placeholder": shown.placeholder} if shown.placeholder else {})


def _one_line(text: str) -> str:
    return " ".join(text.split())


def sentence(message: str) -> str:
    """Make a message that continues its field's name a sentence of its own."""
    message = f"{message[:1].upper()}{message[1:]}"
    return message if message.endswith((".", "!", "?")) else f"{message}."


def task_named(name: str) -> Task | None:
    """Return the task of that name, None if there is none."""
    try:
        return get_task(name)
    except UnknownTask:
        return None


def _matches(task: Task, search: str) -> bool:
    text = f"{task.name} {task.docstring}".casefold()
    return all(word in text for word in search.casefold().split())


def parameter_fields(task: Task | None) -> tuple[Field, ...]:
    """Return the fields of a task's parameters."""
    return tuple(_parameter_field(each) for each in task.parameters.fields) if task else ()


def _parameter_field(parameter: ParameterField) -> Field:
    choices = parameter.choices
    if parameter.kind == "select" and (parameter.nullable or not parameter.default_text):
        choices = (("", "none" if parameter.nullable else "choose…"), *choices)
    return Field(
        f"parameters.{parameter.name}",
        parameter.label,
        "moment" if parameter.kind == "datetime" else parameter.kind,
        parameter.help,
        default=parameter.default_text,
        choices=choices,
        required=parameter.required and parameter.kind != "checkbox",
        secret=parameter.secret,
    )


# -- texts -----------------------------------------------------------------------------------------


def new_texts(settings: Settings) -> Texts:
    """Return what a form for a new job shows."""
    return {
        "trigger.type": "interval",
        "trigger.timezone": settings.timezone,
        **optionforms.new_texts(settings),
    }


def job_texts(job: Job) -> Texts:
    """Return what a form shows for a job as it is."""
    task = task_named(job.task)
    if task is not None:
        parameters = task.parameters.to_form(job.parameters)
    else:  # kept as they are, for a task that takes the same
        known = shown_parameters(job.task, job.parameters)
        parameters = {name: _plain(value) for name, value in known.items()}
    return {
        "task": job.task,
        "name": job.name,
        **optionforms.job_texts(job),
        "owner": job.owner,
        "runbook": job.runbook,
        "tags": ", ".join(job.tags),
        "notes": job.notes,
        **{f"parameters.{name}": text for name, text in parameters.items()},
        **triggerforms.texts_of(job.trigger, job.timezone),
    }


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def posted_texts(posted: MultiDict[str, str]) -> Texts:
    """Return what was sent, with line ends as Python has them.

    Of a field that was sent twice the last counts: an unticked checkbox is a hidden “false”
    followed by nothing.
    """
    texts = {
        name: values[-1].replace("\r\n", "\n")
        for name, values in posted.lists()
        if name.partition(".")[0] in {*PARTS, FORGET}
    }
    return triggerforms.renumbered(texts)


def completed(posted: Mapping[str, str], known: Mapping[str, str]) -> Texts:
    """Add to what was sent the parts of the job that the form did not have at all."""
    parts = {name.partition(".")[0] for name in posted}
    if "task" in posted:
        parts.add("parameters")
    kept = {name: text for name, text in known.items() if name.partition(".")[0] not in parts}
    return with_kept(kept | dict(posted), known)


def with_defaults(texts: Mapping[str, str]) -> Texts:
    """Fill in what fields show that were not there before, when a task or trigger is chosen."""
    texts = triggerforms.with_first_children(texts)
    return {shown.name: shown.default for shown in JobForm(texts).shown} | texts


# -- texts to JSON ---------------------------------------------------------------------------------


def job_data(
    texts: Mapping[str, str], keys: Container[str] = PARTS
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the JSON that the texts stand for, and what could not be turned into any.

    Only `keys` of the job are looked at. One with a fault is left out of the JSON.
    """
    data: dict[str, Any] = {name: texts[name] for name in _PLAIN if name in texts}
    data |= {name: texts[name] == "true" for name in FLAGS if name in texts}
    if "tags" in texts:
        data["tags"] = [tag for tag in re.split(r"[\s,]+", texts["tags"]) if tag]
    data["parameters"], faults = _parameters(texts)
    data["trigger"], trigger_faults = triggerforms.data_of(texts)
    faults = [fault for fault in faults + trigger_faults if part_of(fault) in keys]
    wrong = {part_of(fault) for fault in faults}
    return {key: data[key] for key in data if key in keys and key not in wrong}, faults


def _parameters(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the parameters given. One left at its default is not: it follows the code."""
    task = task_named(texts.get("task", ""))
    if task is None:
        return {}, []
    fields = task.parameters.fields
    given = {each.name: texts.get(f"parameters.{each.name}", each.default_text) for each in fields}
    try:
        raw = task.parameters.from_form(given)
    except Invalid as invalid:
        return {}, invalid.errors
    left = {
        each.name for each in fields if not each.required and given[each.name] == each.default_text
    }
    return {name: value for name, value in raw.items() if name not in left}, []


def all_faults(faults: list[FieldError], others: Iterable[FieldError]) -> list[FieldError]:
    """Join complaints, leaving out of the others those about parts that have one already."""
    parts = {part_of(fault) for fault in faults}
    return faults + [other for other in others if part_of(other) not in parts]


def part_of(fault: FieldError) -> str:
    """Return the key of the job that a complaint is about."""
    return fault.field.partition(".")[0]
