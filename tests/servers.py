"""Real servers (PostgreSQL, Redis, RabbitMQ) for tests: on free ports, in folders of their own.

PostgreSQL refuses to run as root, which is who runs tests in most containers: there it runs as
another user. Nothing here asks for a password, because both listen on loopback only and hold
nothing.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POSTGRESQL_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
POSTGRESQL_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off             # a test machine that loses power loses nothing
full_page_writes = off
"""
STARTS = 3
RABBITMQ_SECONDS = 120
WORKERS = 16
"""Of one test run at most; see the Makefile."""

_given: set[int] = set()


class ServerError(Exception):
    """A server does not start; the message holds what it said."""


def find_postgresql() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest of several.

    Debian keeps them off the PATH so that versions can live side by side.
    """
    candidates = [folder for found in POSTGRESQL_FOLDERS for folder in Path("/").glob(found[1:])]
    candidates.sort(key=lambda folder: [int(n) for n in folder.parts[-2].split("-") if n.isdigit()])
    if program := shutil.which("pg_ctl"):
        candidates.append(Path(program).resolve().parent)
    return next((f for f in reversed(candidates) if (f / "initdb").exists()), None)


def find_redis() -> str | None:
    """Return the path of a Redis server, or of Valkey, which is one."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def find_rabbitmq() -> Path | None:
    """Return RabbitMQ's own program, which runs as whoever starts it; Debian's asks for root."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found else None


def find_nginx() -> str | None:
    """Return the path of nginx, which Debian keeps where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def postgresql_server(programs: Path) -> Iterator[str]:
    """Run PostgreSQL and yield the URL of its server, without a database's name."""
    account = _unprivileged_account()
    identity = _identity(account)
    with tempfile.TemporaryDirectory(prefix="dashboard-postgresql-") as folder:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = Path(folder, "data")
        initdb = [str(programs / "initdb"), f"--pgdata={data}", "--username=postgres"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        _run(initdb, cwd=folder, **identity)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(POSTGRESQL_SETTINGS)
        control = [str(programs / "pg_ctl"), f"--pgdata={data}", "--wait"]
        port = _start_postgresql(control, Path(folder, "log"), identity)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            _run([*control, "--mode=immediate", "stop"], cwd=folder, **identity)


def _start_postgresql(control: Sequence[str], log: Path, identity: dict[str, Any]) -> int:
    """Start the server and return its port; another program may take it first, so try again."""
    problems = []
    for _ in range(STARTS):
        port = free_port()
        start = [*control, f"--log={log}", "--options", f"-p {port}", "start"]
        try:
            _run(start, cwd=log.parent, **identity)
        except ServerError as error:
            problems.append(str(error))
        else:
            return port
    raise ServerError("\n".join([*problems, log.read_text(errors="replace")]))


@contextmanager
def redis_server(program: str, *, port: int = 0) -> Iterator[str]:
    """Run Redis and yield its URL. It keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="dashboard-redis-") as folder:
        process, port = _start_redis(program, folder, port)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.communicate()


def _start_redis(program: str, folder: str, wanted: int) -> tuple[subprocess.Popen[str], int]:
    """Start the server and wait until it says that it accepts connections."""
    command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
    said: list[str] = []
    for _ in range(STARTS):
        port = wanted or free_port()
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=subprocess.PIPE, text=True, errors="replace"
        )
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                return process, port
        process.wait()
    raise ServerError(f"{program} does not start:\n{''.join(said)}")


@contextmanager
def rabbitmq_server(program: Path) -> Iterator[str]:
    """Run RabbitMQ with its guest account and yield its URL."""
    with tempfile.TemporaryDirectory(prefix="dashboard-rabbitmq-") as folder:
        port, distribution, names = free_port(), free_port(), free_port()
        environment = os.environ | {
            "HOME": folder,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
        }
        with Path(folder, "out").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(
                [program], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                _wait_for_rabbitmq(process, Path(output.name))
                yield f"amqp://guest:guest@127.0.0.1:{port}//"
            finally:
                process.terminate()
                process.wait()
                # The name server that it has started stays otherwise.
                subprocess.run(["epmd", "-kill"], env=environment, capture_output=True, check=False)


def _wait_for_rabbitmq(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + RABBITMQ_SECONDS
    while "Starting broker... completed" not in output.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"RabbitMQ does not start:\n{output.read_text(errors='replace')}")
        time.sleep(0.1)


def flush_redis(url: str) -> None:
    """Empty the server, in its protocol's form for people."""
    address, _, _ = url.removeprefix("redis://").partition("/")
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        answer = connection.recv(64)
    if answer != b"+OK\r\n":
        raise ServerError(f"Redis answered FLUSHALL with {answer!r}")


def free_port() -> int:
    """Return a free port that stays free: none that anybody else in the test run may be given.

    Neither another worker, nor who asks next: a server often needs several before it takes any.
    Ports that any connection can be given begin above these, on every system.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.choice(range(20_000 + worker % WORKERS, 32_000, WORKERS))
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Return the account to run PostgreSQL as when we are root, None when we are not."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run(command: Sequence[str], **options: Any) -> None:
    """Run a program to its end, raising `ServerError` with its output if it fails.

    The output goes to a file: `pg_ctl start` leaves a server behind that would keep a pipe open.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **options,
        )
        if done.returncode:
            output.seek(0)
            raise ServerError(f"{command[0]} failed ({done.returncode}):\n{output.read()}")
