"""A line between workers and a server, which can be cut, or cut short at a message.

It stands between as a router does: workers connect to its socket, it connects to the server's.
What it has taken up while the line is cut it never delivers, as a packet that is lost for good.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Literal, Self

_SOCKET = ".s.PGSQL.5432"
Side = Literal["asked", "answered"]


class Line:
    """A line to the server whose socket is in that directory; its own is in `directory`."""

    def __init__(self, server: str) -> None:
        self._server = str(Path(server) / _SOCKET)
        self.directory = tempfile.mkdtemp(prefix="kat-line-", dir="/tmp")  # a path of few letters
        self._whole = Event()
        self._whole.set()
        self._lock = Lock()
        self._ends: list[socket.socket] = []
        self._watched: tuple[Side, int, Callable[[], None]] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self.directory) / _SOCKET))
        self._listener.listen()
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        shutil.rmtree(self.directory)

    def cut(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        self._whole.clear()

    def heal(self) -> None:
        """New connections come through; those from before are gone, as both sides see now."""
        with self._lock:
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._ends.clear()
        self._whole.set()

    def at(self, side: Side, count: int, then: Callable[[], None]) -> None:
        """When that many messages more have been asked (or answered), withhold the last of them
        and call `then`, once."""
        self._watched = (side, count, then)

    def free(self) -> None:
        """Withhold nothing any more."""
        self._watched = None

    def _accept(self) -> None:
        while True:
            try:
                worker, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                self._whole.wait()
                server.connect(self._server)
            except OSError:
                worker.close()
                server.close()
                continue
            with self._lock:
                self._ends += (worker, server)
            Thread(target=self._join, args=(worker, server), daemon=True).start()

    def _join(self, worker: socket.socket, server: socket.socket) -> None:
        with worker, server:
            back = Thread(target=self._carry, args=("answered", server, worker), daemon=True)
            back.start()
            self._carry("asked", worker, server)
            back.join()
            with self._lock:
                self._ends = [end for end in self._ends if end not in (worker, server)]

    def _carry(self, side: Side, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while message := here.recv(65536):
                if self._is_watched(side):
                    break
                if not self._whole.is_set():
                    self._whole.wait()
                    break  # it is from before the cut
                there.sendall(message)
        for end in (here, there):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_watched(self, side: Side) -> bool:
        with self._lock:
            if self._watched is None or self._watched[0] != side:
                return False
            _, count, then = self._watched
            self._watched = None if count == 1 else (side, count - 1, then)
        if count == 1:
            then()
        return count == 1
