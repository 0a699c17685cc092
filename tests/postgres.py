"""PostgreSQL for the tests: a real server, started once, with a fresh database for each test.

`KAT_TEST_PG=postgresql://…` names a server to use (its account may create databases). Without it
one of our own is started on a unix socket. Where there are no binaries of one the tests are
skipped, and say so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks.server import WITHOUT_FSYNC, Databases, NoServer, Server

__all__ = ["Databases", "NoServer", "Server"]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The server of all tests."""
    if given := os.environ.get("KAT_TEST_PG"):
        held = Databases(given)
        yield held
        held.close()
        return
    try:
        server = Server(*WITHOUT_FSYNC)
    except NoServer as error:
        pytest.skip(f"PostgreSQL is NOT tested: {error}")
    try:
        yield Databases(server.url())
    finally:
        server.close()


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    """The URL of a database for this test alone, with the tables of a journal in it."""
    url = databases.with_journal()
    yield url
    databases.drop(url)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server for this test alone, which it may kill; every commit is forced to the disk."""
    try:
        server = Server()
    except NoServer as error:
        pytest.skip(f"PostgreSQL is NOT tested: {error}")
    yield server
    server.close()
