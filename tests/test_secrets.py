"""Parameters that nobody may see: kept encrypted, given to the task, shown nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, Field, Secret, SecretBytes, SecretStr

from dashboard.errors import Invalid
from dashboard.parameters import Parameters
from dashboard.scheduling.jobstore import recheck_jobs
from dashboard.services import audit, jobs
from dashboard.services.restoring import restore_job
from dashboard.storage.models import Audit, RunState
from dashboard.tasks import get_task, shown_parameters
from dashboard.vault import MASK, SecretUnreadable, Vault, is_sealed
from tests.factories import ADMIN, open_core
from tests.rows import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.factories import Core

SECRET = "hunter2-Ω"
VAULT = Vault(lambda: "k" * 64)
OTHER_VAULT = Vault(lambda: "o" * 64)

TASKS = """
from pydantic import BaseModel, SecretStr
from dashboard import current_run, task


class Login(BaseModel):
    user: str
    password: SecretStr


def tell(token):
    assert isinstance(token, SecretStr)
    print("got", token, repr(token))
    return [len(token.get_secret_value()), str(token)]


@task(name="secret.thread")
def thread(token: SecretStr, url: str = ""):
    return tell(token)


@task(name="secret.process", executor="processes")
def process(token: SecretStr):
    return tell(token)


@task(name="secret.alone", executor="processes", isolated=True)
def alone(login: Login):
    return tell(login.password)


@task(name="secret.fails")
def fails(token: SecretStr):
    raise RuntimeError(f"refused with {token!r}")
"""


class Login(BaseModel):
    user: str
    password: SecretStr = SecretStr("from the code")


def taking(annotation: Any, **defaults: Any) -> Parameters:
    def function(value: Any, url: str = "") -> None: ...

    function.__annotations__["value"] = annotation
    function.__defaults__ = (*defaults.values(), "") if defaults else ("",)
    return Parameters(function)


@dataclass
class Account:
    number: int
    pin: SecretStr


class Vaulted(BaseModel):
    day: Secret[date]


KINDS = [
    (Account, {"number": 1, "pin": SECRET}, Account(1, SecretStr(SECRET))),
    (Vaulted, {"day": "2027-03-01"}, Vaulted(day=Secret[date](date(2027, 3, 1)))),
    (SecretStr, SECRET, SecretStr(SECRET)),
    (SecretStr | None, SECRET, SecretStr(SECRET)),
    (Annotated[SecretStr, Field(min_length=3)], SECRET, SecretStr(SECRET)),
    (SecretBytes, SECRET, SecretBytes(SECRET.encode())),
    (Secret[int], 4711, Secret[int](4711)),
    (list[SecretStr], [SECRET, "b"], [SecretStr(SECRET), SecretStr("b")]),
    (dict[str, SecretStr], {"a": SECRET}, {"a": SecretStr(SECRET)}),
    (Login, {"user": "u", "password": SECRET}, Login(user="u", password=SecretStr(SECRET))),
]


@pytest.mark.parametrize(("annotation", "given", "bound"), KINDS, ids=lambda kind: str(kind)[:40])
class TestEveryKind:
    def test_is_stored_encrypted_and_bound_again(
        self, annotation: Any, given: Any, bound: Any
    ) -> None:
        parameters = taking(annotation)
        stored = parameters.validate({"value": given, "url": "u"}, vault=VAULT)
        assert is_sealed(stored["value"])
        assert stored["url"] == "u"
        assert SECRET not in str(stored)
        assert parameters.bind(stored, VAULT) == ((), {"value": bound, "url": "u"})
        with pytest.raises(SecretUnreadable, match="“value” cannot be read"):
            parameters.bind(stored, OTHER_VAULT)

    def test_a_call_with_python_objects_means_the_same(
        self, annotation: Any, given: Any, bound: Any
    ) -> None:
        parameters = taking(annotation)
        stored = parameters.validate({"value": bound}, vault=VAULT)
        assert parameters.bind(stored, VAULT) == parameters.bind(
            parameters.validate({"value": given}, vault=VAULT), VAULT
        )

    def test_a_mask_keeps_the_very_same(self, annotation: Any, given: Any, bound: Any) -> None:
        parameters = taking(annotation)
        stored = parameters.validate({"value": given}, vault=VAULT)
        for again in (MASK, given, bound):
            assert parameters.validate({"value": again}, vault=VAULT, kept=stored) == stored

    def test_neither_schema_nor_form_shows_it(
        self, annotation: Any, given: Any, bound: Any
    ) -> None:
        parameters = taking(annotation, value=bound)
        assert SECRET not in str(parameters.schema())
        assert "from the code" not in str(parameters.schema())
        shown = parameters.to_form(parameters.validate({"value": given}, vault=VAULT))
        assert shown["value"] == MASK
        assert parameters.to_form({})["value"] == ""
        assert parameters.from_form({"value": MASK}) == {"value": MASK}


class Tree(BaseModel):
    name: str
    below: list[Tree] = []


def test_a_type_that_holds_itself_is_looked_through_once() -> None:
    assert taking(Tree).secrets == frozenset()


def test_a_mask_without_a_secret_that_is_kept_is_refused() -> None:
    parameters = taking(SecretStr)
    for kept in ({}, {"value": None}):
        with pytest.raises(Invalid, match="none is; enter it") as refused:
            parameters.validate({"value": MASK}, vault=VAULT, kept=kept)
        assert [error.field for error in refused.value.errors] == ["parameters.value"]


def test_a_kept_secret_that_cannot_be_read_has_to_be_entered_again() -> None:
    parameters = taking(SecretStr)
    stored = parameters.validate({"value": SECRET}, vault=OTHER_VAULT)
    with pytest.raises(Invalid, match="enter it again"):
        parameters.validate({"value": MASK}, vault=VAULT, kept=stored)
    again = parameters.validate({"value": SECRET}, vault=VAULT, kept=stored)
    assert parameters.bind(again, VAULT)[1]["value"] == SecretStr(SECRET)


def test_what_is_no_secret_is_told_as_it_is() -> None:
    stored = taking(SecretStr | None).validate({"value": None, "url": MASK}, vault=VAULT)
    assert stored == {"value": None, "url": MASK}


@pytest.mark.parametrize("value", [{"$sealed": "gAAAA"}, 5, None, ["x"]])
def test_nobody_hands_in_what_is_sealed_already(value: Any) -> None:
    with pytest.raises(Invalid, match="Must be text"):
        taking(SecretStr).validate({"value": value}, vault=VAULT)


def quoting(text: str) -> str:
    message = f"not good: {text}"
    raise ValueError(message)


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[SecretStr, BeforeValidator(quoting)],
        Annotated[SecretStr, BeforeValidator(int)],
        Annotated[SecretStr, Field(min_length=300)],
        Annotated[SecretStr, Field(max_length=2)],
        Secret[int],
        list[Annotated[SecretStr, BeforeValidator(quoting)]],
    ],
    ids=range(6),
)
def test_a_refusal_does_not_quote_it(annotation: Any) -> None:
    with pytest.raises(Invalid) as refused:
        taking(annotation).validate({"value": SECRET}, vault=VAULT)
    assert SECRET not in f"{refused.value} {refused.value.__cause__}"
    assert refused.value.__suppress_context__


def test_its_parts_are_not_told_by_their_kind() -> None:
    with pytest.raises(Invalid, match="at least 20 characters"):
        taking(Annotated[SecretStr, Field(min_length=20)]).validate({"value": "x"}, vault=VAULT)


# -- in a dashboard ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """A core that runs by itself, with tasks that take secrets."""
    folder = tmp_path_factory.mktemp("secrets")
    file = folder / "secret_tasks.py"
    file.write_text(TASKS)
    with open_core(data=folder / "data", tasks=[str(file)], threads=2, processes=1) as core:
        core.start()
        yield core


LOGIN = {"user": "ann", "password": SECRET}


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        ("secret.thread", {"token": SECRET, "url": "https://x"}),
        ("secret.process", {"token": SECRET}),
        ("secret.alone", {"login": LOGIN}),
    ],
)
def test_the_task_receives_it_and_nothing_else_does(
    core: Core, task: str, parameters: dict[str, Any]
) -> None:
    run_id = core.run_now(core.add(task, parameters=parameters))
    core.settle()
    run = core.run(run_id)
    assert run.state is RunState.SUCCEEDED, run.error_message
    assert run.result == f'[{len(SECRET)}, "{MASK}"]'
    if task != "secret.thread":  # pytest holds what threads of its own process print
        assert core.log(run_id) == [f"got {MASK} SecretStr('{MASK}')"]
    data = core.settings.data
    written = b"".join(file.read_bytes() for file in data.glob("dashboard.sqlite*"))
    assert SECRET.encode() not in written
    assert b"hunter2" not in written
    assert (data / "secret_key").stat().st_mode & 0o777 == 0o600


def test_an_error_shows_a_mask(core: Core) -> None:
    run_id = core.run_now(core.add("secret.fails", parameters={"token": SECRET}))
    core.settle()
    run = core.run(run_id)
    assert run.error_message == f"refused with SecretStr('{MASK}')"
    assert SECRET not in (run.traceback or "")


@pytest.fixture
def job_id(core: Core) -> str:
    return core.add("secret.thread", parameters={"token": SECRET, "url": "https://x"})


def change(core: Core, job_id: str, **data: Any) -> None:
    version = core.job(job_id).version
    with audit.transaction(core.database) as session:
        jobs.change_job(session, job_id, data, version=version, actor=ADMIN, settings=core.settings)


def test_the_audit_log_tells_that_it_changed_and_not_to_what(core: Core, job_id: str) -> None:
    change(core, job_id, parameters={"token": "another", "url": "https://x"})
    with core.database.read() as session:
        entries = list(session.query(Audit).filter_by(target=job_id))
    masked = {"token": MASK, "url": "https://x"}
    assert entries[0].detail["job"]["parameters"] == masked
    assert entries[1].detail["before"]["parameters"] == masked
    assert entries[1].detail["after"]["parameters"] == masked
    change(core, job_id, parameters=masked)
    with core.database.read() as session:
        last = session.query(Audit).filter_by(target=job_id).all()[-1]
    assert last.detail == {"before": {}, "after": {}}


def test_it_belongs_to_its_task(core: Core, job_id: str) -> None:
    with pytest.raises(Invalid, match=r"parameters\.token"):
        change(core, job_id, task="secret.process")
    assert core.job(job_id).task == "secret.thread"


def test_a_removed_job_comes_back_with_it(core: Core, job_id: str) -> None:
    with audit.transaction(core.database) as session:
        jobs.remove_job(session, job_id, actor=ADMIN)
    with audit.transaction(core.database) as session:
        restore_job(session, job_id, actor=ADMIN, settings=core.settings)
    stored = core.job(job_id).parameters
    assert is_sealed(stored["token"])
    assert get_task("secret.thread").parameters.unsealed(stored, core.settings.vault) == {
        "token": SECRET,
        "url": "https://x",
    }


@pytest.mark.usefixtures("core")
def test_only_admins_choose_what_goes_beside_it() -> None:
    assert get_task("secret.thread").guarded
    assert get_task("secret.alone").guarded


def test_code_that_calls_the_scheduler_may_give_it(core: Core) -> None:
    job = core.runtime.scheduler.add_job(
        get_task("secret.thread").function,
        "interval",
        hours=1,
        kwargs={"token": SecretStr(SECRET)},
        id="by-code",
    )
    assert is_sealed(core.job("by-code").parameters["token"])
    assert core.runtime.scheduler.get_job("by-code").kwargs["token"] == SecretStr(SECRET)
    job.remove()


def test_a_lost_key_breaks_the_job_and_deletes_nothing(core: Core, job_id: str) -> None:
    stored = core.job(job_id).parameters
    executors = core.settings.executors
    with core.database.write() as session:
        recheck_jobs(session, EPOCH, executors, OTHER_VAULT)
    broken = core.job(job_id)
    assert "secret parameter “token” cannot be read" in (broken.broken_reason or "")
    assert broken.parameters == stored
    with core.database.write() as session:  # the key came back
        recheck_jobs(session, EPOCH, executors, core.settings.vault)
    assert core.job(job_id).broken_reason is None


def test_entering_it_again_repairs_the_job(core: Core, job_id: str) -> None:
    lost = {"token": OTHER_VAULT.seal(SECRET), "url": "https://x"}
    core.change(job_id, parameters=lost, broken_reason="lost")
    with pytest.raises(Invalid, match="enter it again"):
        change(core, job_id, parameters={"token": MASK})
    change(core, job_id, notes="still there")
    assert "cannot be read" in (core.job(job_id).broken_reason or "")
    change(core, job_id, parameters={"token": "new"})
    assert core.job(job_id).broken_reason is None


def test_a_run_whose_secret_cannot_be_read_says_so(core: Core, job_id: str) -> None:
    core.change(job_id, parameters={"token": OTHER_VAULT.seal(SECRET)})
    run_id = core.run_now(job_id)
    core.settle()
    assert "“token” cannot be read" in (core.run(run_id).error_message or "")


def test_what_was_stored_before_it_was_secret_is_hidden_and_encrypted(
    core: Core, job_id: str
) -> None:
    core.change(job_id, parameters={"token": SECRET})
    assert shown_parameters("secret.thread", core.job(job_id).parameters) == {"token": MASK}
    with core.database.write() as session:
        recheck_jobs(session, EPOCH, core.settings.executors, core.settings.vault)
    assert is_sealed(core.job(job_id).parameters["token"])
