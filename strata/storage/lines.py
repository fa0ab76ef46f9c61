"""Files of lines that outlive the process, in room on the disk that was taken beforehand.

A file may be longer than its lines: zeros follow the last one, so that a full disk does not reach
what is still to be written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def reserve(path: Path, room: int) -> bool:
    """Whether there is now a file of so many zeros, whose room nobody else can take."""
    try:
        with _opened(path) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, room)
                os.fsync(file)
            else:  # macOS, Windows
                _put(file, bytes(room))
    except OSError:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def write(path: Path, content: bytes, at: int) -> bool:
    """Whether these bytes are now on the disk, at that place of the file."""
    try:
        with _opened(path) as file:
            before = os.fstat(file).st_size
            try:
                os.lseek(file, at, os.SEEK_SET)
                _put(file, content)
            except OSError:  # what was begun is no line; the room stays
                with suppress(OSError):
                    os.ftruncate(file, before)
                    os.lseek(file, at, os.SEEK_SET)
                    _put(file, bytes(max(0, before - at)))
                raise
        if not before:
            sync(path.parent)
    except OSError:
        return False
    return True


def append(path: Path, content: bytes) -> bool:
    """Whether these bytes are now on the disk, at the end of a file in no reserved room, which
    other processes may write too."""
    try:
        with _opened(path, os.O_APPEND) as file:
            _put(file, content)
        sync(path.parent)
    except OSError:
        return False
    return True


def read(path: Path) -> list[bytes]:
    """The lines of a file, of texts without a NUL. The last may have been cut off, where the
    process was killed."""
    return path.read_bytes().replace(b"\0", b"").splitlines()


def sync(folder: Path) -> None:
    """Make the names in a folder durable too; Windows has no such thing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _opened(path: Path, how: int = 0) -> Iterator[int]:
    file = os.open(path, how | os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _put(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
    os.fsync(file)
