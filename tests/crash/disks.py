"""The disk and the file: full, read-only, locked, cut off from power."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from time import monotonic
from typing import Literal

from .children import Child
from .suite import Ground, Row, Trial, is_root, mounted, skipped, system

_HOLD = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
_SHUT_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN: what it holds in memory never reaches the disk
_NOT_EVEN_THE_LOG = struct.pack("I", 2)


def full(ground: Ground) -> Row:
    """The disk has no room; then it has, and what was refused is sent again."""
    fault, folder = "disk full", ground.directory / "small"
    if not is_root():
        # No file may grow: the system's call fails as on a full disk, with another number.
        return _filled(Trial(fault, ground, ground.fresh("full")), ground, None)
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        return _filled(Trial(fault, ground, str(folder / "full.db")), ground, folder)


def _filled(trial: Trial, ground: Ground, folder: Path | None) -> Row:
    times, size = 0, 1_000_000
    for _ in ground.rounds(2, 6):
        times += 1
        with Child(trial.job("w", room=0 if folder else size)) as child:
            child.ends()
            if folder:
                trial.told(child, "the disk is full; make room and send the command again")
            else:
                trial.told(child)
            size += 777_000
            if folder:
                system("mount", "-o", f"remount,size={size}", str(folder))
            trial.recovers(child)
    how = "a file system of 1 MB" if folder else "RLIMIT_FSIZE: not root, nothing mounted"
    return trial.ended(note=f"{how}, {times} times")


def read_only(ground: Ground) -> Row:
    """The file may be read and not written; then it may be written again."""
    fault, folder = "read-only file", ground.directory / "sealed"
    words = ("may be written to",)  # the way out, from whichever call of SQLite finds it first
    if is_root():
        with mounted(folder, "-t", "tmpfs", "-o", "size=16m", "tmpfs"):
            trial = Trial(fault, ground, str(folder / "sealed.db"))
            trial.do_until("w", 12)
            system("mount", "-o", "remount,ro", str(folder))
            with Child(trial.job("w")) as child:
                child.ends()
                trial.told(child, *words)
                system("mount", "-o", "remount,rw", str(folder))
                trial.recovers(child)
            return trial.ended(note="mounted read-only")
    folder.mkdir()
    trial = Trial(fault, ground, str(folder / "sealed.db"))
    trial.do_until("w", 12)
    Path(trial.where).chmod(0o444)
    folder.chmod(0o555)
    with Child(trial.job("w")) as child:
        child.ends()
        trial.told(child, *words)
        folder.chmod(0o755)
        Path(trial.where).chmod(0o644)
        trial.recovers(child)
    return trial.ended(note="no leave to write; not root, nothing mounted")


def locked(ground: Ground) -> Row:
    """Another program holds the write lock, for longer than a writer waits, and for less."""
    trial = Trial("locked database", ground, ground.fresh("locked"))
    for patience in (0.2, 60.0):
        words = (sys.executable, "-c", _HOLD, trial.where)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            program.stdout.readline()
            with Child(trial.job("w", until=trial.next("w") + 25, patience=patience)) as child:
                if patience < 1:
                    child.ends()
                    trial.told(child, "another process holds it", "try again")
                program.communicate(b"")  # it lets go
                let_go = monotonic()
                child.ends()
                trial.recovers(child, since=let_go)
    return trial.ended(note="beyond the writer's patience, and within")


def power_cut(ground: Ground, broken: Literal["", "unsynced"] = "") -> Row:
    """The file system stops at once, without what it has not been made to write."""
    fault = "power cut"
    if not is_root():
        return skipped(fault, ground, "not root: a file system cannot be cut off")
    image, folder = ground.directory / "disk.img", ground.directory / "disk"
    image.write_bytes(bytes(32 << 20))
    try:
        system("mkfs.ext4", "-q", "-F", str(image))
        with mounted(folder, "-o", "loop", str(image)):
            trial = Trial(fault, ground, str(folder / "cut.db"))
    except OSError as error:
        return skipped(fault, ground, str(error))
    for number in ground.rounds(2, 6):
        with mounted(folder, "-o", "loop", str(image)):
            child = Child(trial.job("w", broken=broken))
            child.hears(ground.times(50, 200))
            handle = os.open(folder, os.O_RDONLY)
            # The processor stops with the disk: after the cut nothing is acknowledged any more.
            child.process.kill()
            ioctl(handle, _SHUT_DOWN, _NOT_EVEN_THE_LOG)
            os.close(handle)
            in_flight = trial.heard(child)
        with mounted(folder, "-o", "loop", str(image)):
            if broken:
                trial.judged(in_flight)
                return trial.ended()
            trial.recovers(child)
            row = trial.ended(note=f"ext4 on a loop device shut down unsynced, {number + 1} times")
    return row
