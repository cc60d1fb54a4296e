"""Every setting once: name, type, unit, default, meaning.

A setting `lease_seconds` is read from the environment variable `DASHBOARD_LEASE_SECONDS`.
Command-line options are the same settings under the same names and win over the environment.
"""

from __future__ import annotations

import os
import re
import secrets
from functools import cached_property
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dashboard.errors import FieldError, Invalid
from dashboard.vault import Vault

PREFIX = "DASHBOARD_"

THREADS = "threads"
PROCESSES = "processes"
CELERY = "celery"
QUEUE_NAME = r"[a-z0-9_-]{1,20}"
EXECUTOR_NAME = rf"{THREADS}|{PROCESSES}|{CELERY}(:{QUEUE_NAME})?"


class Settings(BaseSettings):
    """The settings of one dashboard, frozen at start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    data: Path = Field(
        Path("instance"), description="Folder of the database, the secret key and reports."
    )
    database: str = Field(
        "",
        description="SQLAlchemy URL of the database; empty means an SQLite file in the data folder."
        " `postgresql://` means psycopg.",
    )
    tasks: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Modules or .py files that register tasks, separated by commas."
    )
    demo: bool = Field(default=False, description="Add sample jobs and a week of sample history.")
    timezone: str = Field("UTC", description="Time zone of new jobs that name none (IANA name).")
    shutdown_grace: float = Field(
        30, ge=0, le=3600, description="Seconds that running jobs get to end when stopping."
    )
    admin_password: SecretStr | None = Field(
        None,
        description="Password of the first account, `admin`; used only while there is no account."
        " Without it a random one is printed once.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Key that signs forms and encrypts secrets: 32 random characters or more, the"
        " same on all machines. Without it one is made and kept in the folder.",
    )
    lease_seconds: float = Field(
        10, ge=1, le=3600, description="Seconds until another process takes over from a lost one."
    )
    retention_days: float = Field(
        90, gt=0, le=36500, description="Days that finished runs are kept."
    )
    keep_runs: int = Field(
        100, ge=0, le=1_000_000, description="Newest runs of each job kept whatever their age."
    )
    audit_days: float = Field(730, ge=30, le=36500, description="Days that the audit log is kept.")
    threads: int = Field(20, ge=1, le=1000, description="Runs at once in the thread executor.")
    processes: int = Field(2, ge=1, le=256, description="Runs at once in the process executor.")
    celery_broker: SecretStr | None = Field(
        None,
        description="URL of the broker (Redis or RabbitMQ) of Celery workers, such as"
        " `redis://broker:6379/0`; without it there is no Celery.",
    )
    celery_queues: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Further queues, separated by commas: `gpu` makes the executor `celery:gpu`,"
        " for the workers started with `--queues gpu`.",
    )
    tag_limits: Annotated[dict[str, int], NoDecode] = Field(
        {},
        description="How many runs of jobs with a tag may run at once, on all executors together:"
        " `billing=2,heavy=1`. Others wait in the queue. The same for all processes.",
    )
    misfire_grace: int = Field(
        60,
        ge=1,
        le=31_536_000,
        description="Seconds a new job's run may start late before it counts as missed.",
    )
    probes: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Networks that may read `/healthz` and `/metrics` without signing in, besides"
        " this machine: addresses or CIDR blocks, separated by commas.",
    )
    metrics_jobs: int = Field(
        1000, ge=0, le=100_000, description="Jobs with metrics of their own in `/metrics`."
    )
    api_rate: int = Field(
        600,
        ge=1,
        le=1_000_000,
        description="Requests to the API a minute, for each token and each process.",
    )
    commands: bool = Field(
        default=False,
        description="Let jobs run programs with the task `command.run`. Whoever may add jobs can"
        " then run anything that the dashboard's own account can.",
    )
    deadman_url: SecretStr | None = Field(
        None,
        description="Web address requested again and again while the scheduler works, for a service"
        " that notices when that stops.",
    )
    deadman_seconds: float = Field(
        60, ge=1, le=86_400, description="Seconds between two such requests."
    )
    public_url: str = Field(
        "", description="Address people use; with https, cookies are sent over TLS only."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names that requests may be for, separated by commas, besides that of"
        " `public_url` and this machine itself; `*` allows any. Empty: any address, too.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Proxies whose X-Forwarded-For, -Proto and -Host and X-Request-ID count:"
        " addresses or CIDR blocks, separated by commas.",
    )
    proxy_user_header: str = Field(
        "",
        description="Header in which a trusted proxy names who is signed in; empty: people sign in"
        " here. The proxy must remove it from what clients send.",
    )
    proxy_role_header: str = Field(
        "",
        description="Header in which such a proxy says their role: viewer, operator or admin."
        " Without it the role is that under People, viewer at first.",
    )

    @field_validator(
        "tasks", "probes", "celery_queues", "allowed_hosts", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """Accept `a,b` from the environment as well as a list from the command line."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("tag_limits", mode="before")
    @classmethod
    def _tag_limits(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        limits = {}
        for part in filter(None, (part.strip() for part in value.split(","))):
            tag, _, number = (piece.strip() for piece in part.partition("="))
            if not tag or not re.fullmatch(r"[1-9][0-9]{0,5}", number):
                message = f"“{part}” is no limit of a tag; write billing=2, or billing=2,heavy=1"
                raise ValueError(message)
            limits[tag] = int(number)
        return limits

    @field_validator("celery_broker")
    @classmethod
    def _has_celery(cls, value: SecretStr | None) -> SecretStr | None:
        if value and find_spec("celery") is None:
            message = "it needs Celery: pip install 'apscheduler-dashboard[celery]'"
            raise ValueError(message)
        return value

    @field_validator("celery_queues")
    @classmethod
    def _queue_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(QUEUE_NAME, name):
                message = f"“{name}” cannot name a queue; use up to 20 of a-z, 0-9, _ and -"
                raise ValueError(message)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            message = f"“{value}” is not a known time zone; use a name such as Europe/Berlin or UTC"
            raise ValueError(message) from error
        return value

    @field_validator("probes", "trusted_proxies")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text)
            except ValueError as error:
                message = f"“{text}” is no network; write 10.0.0.5 or 10.0.0.0/8"
                raise ValueError(message) from error
        return value

    @cached_property
    def probe_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `probes`."""
        return tuple(ip_network(text) for text in self.probes)

    @cached_property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    @field_validator("allowed_hosts")
    @classmethod
    def _plain_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*" and not re.fullmatch(r"[A-Za-z0-9.\-]+|[0-9A-Fa-f:.]+", name):
                message = (
                    f"“{name}” is no host name; write jobs.example.com, without port and scheme"
                )
                raise ValueError(message)
        return tuple(name.lower() for name in value)

    @field_validator("proxy_user_header", "proxy_role_header")
    @classmethod
    def _from_a_trusted_proxy(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("trusted_proxies"):
            message = "it needs DASHBOARD_TRUSTED_PROXIES, or anybody could say who they are"
            raise ValueError(message)
        return value

    @property
    def behind_tls(self) -> bool:
        """Whether people use https, so that cookies need never go over anything else."""
        return self.public_url.startswith("https://")

    @cached_property
    def executors(self) -> tuple[str, ...]:
        """The executors that jobs can choose."""
        return (THREADS, PROCESSES, *self.celery_executors)

    @cached_property
    def celery_executors(self) -> tuple[str, ...]:
        """Those whose runs go to Celery workers; the plain one is served unless told otherwise."""
        if not self.celery_broker:
            return ()
        return (CELERY, *(f"{CELERY}:{queue}" for queue in self.celery_queues))

    @property
    def broker_url(self) -> str:
        """The URL of Celery's broker, its password included."""
        return self.celery_broker.get_secret_value() if self.celery_broker else ""

    @cached_property
    def database_url(self) -> str:
        """The database as a full SQLAlchemy URL."""
        if not self.database:
            return f"sqlite:///{self.data.resolve() / 'dashboard.sqlite'}"
        for short in ("postgresql://", "postgres://"):
            if self.database.startswith(short):
                return "postgresql+psycopg://" + self.database.removeprefix(short)
        return self.database

    @property
    def vault(self) -> Vault:
        """Where secrets are encrypted, with a key made from the secret key."""
        return Vault(self.load_secret_key)

    def prepare_data_folder(self) -> None:
        """Create the data folder, readable by its owner only.

        Raises `OSError` when it cannot be created or is no folder.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load_secret_key(self) -> str:
        """Return the signing key, making one on the first start.

        `O_EXCL` lets exactly one of several processes that start together write the file; it is
        written under another name first, so nobody ever reads half a key.
        """
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.data / "secret_key"
        if not path.exists():
            draft = path.with_name(f"secret_key.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first: its key counts
            finally:
                draft.unlink()
        return path.read_text(encoding="ascii").strip()


def load_settings(**options: Any) -> Settings:
    """Read the settings from `options` (those not None) and the environment.

    Raises `Invalid` naming the option and what it allows.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise Invalid(
            FieldError(
                ".".join(str(part) for part in problem["loc"]),
                problem["msg"].removeprefix("Value error, "),
            )
            for problem in error.errors(include_input=False, include_url=False)
        ) from error
