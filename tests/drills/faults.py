"""What goes wrong in each drill, and how it is put right again."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from tests.databases import Server, new_schema
from tests.drills.school import School
from tests.drills.sockets import Dropping
from tests.outages import read_only

_HELD = 20.0  # seconds that another program keeps the database
_DISK = 22  # megabytes: the outbox takes 16 of them when the server starts
_SERVERS_DISK = 200  # of a disk that holds PostgreSQL too
_CLOCK = Path(__file__).parent / "clock"  # of Python's own path: see there
_DATABASE = "strata.sqlite"


class Skip(Exception):
    """This machine cannot have that fault; says why."""


@dataclass
class Scene:
    """What a drill has: its folder, the kind of database, a PostgreSQL server if that is it, and,
    once it has been built, the school. `address`: where the browsers go."""

    folder: Path
    kind: str
    server: Server | None
    place: str = ""
    state: Path = Path()
    url: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    lines: list[Dropping] = field(default_factory=list)
    school: School | None = None

    @property
    def here(self) -> School:
        assert self.school
        return self.school

    def prepare(self) -> None:
        """A new database, and a folder for what the server itself keeps."""
        self.state = self.folder / "state"
        if self.server:
            self.place = new_schema(self.server.url)[1]
        else:
            self.place = str(self.folder / "database" / _DATABASE)

    async def until_started(self) -> None:
        """As a service manager does: start what has ended until it stays."""
        for attempt in range(20):
            try:
                await asyncio.to_thread(self.here.start)
                return
            except RuntimeError:
                if attempt == 19:
                    raise
                await asyncio.sleep(1.0)


Happens = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`words`: what happens, in a sentence. `around` arranges what is needed before the server
    starts, and puts it away."""

    name: str
    words: str
    happens: Happens
    around: Callable[[Scene], AbstractContextManager[None]] = lambda scene: nullcontext()
    kinds: tuple[str, ...] = ("sqlite", "postgresql")


# -- the server ends ------------------------------------------------------------------------------


async def _killed(scene: Scene) -> None:
    for _ in range(2):
        await asyncio.to_thread(scene.here.kill)
        await scene.until_started()
        await asyncio.sleep(8.0)


async def _ended(scene: Scene) -> None:
    for _ in range(2):
        await asyncio.to_thread(scene.here.stop)
        await scene.until_started()
        await asyncio.sleep(8.0)


# -- the database is held -------------------------------------------------------------------------


@contextmanager
def _holding(scene: Scene) -> Iterator[None]:
    """Another program writes, and does not come to an end."""
    if not scene.server:
        connection = sqlite3.connect(
            scene.place, isolation_level=None, timeout=30, check_same_thread=False
        )
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()
        return
    engine = create_engine(scene.place.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as held:
        held.execute(text("LOCK TABLE events, members IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


async def _held(scene: Scene) -> None:
    with _holding(scene):
        await asyncio.sleep(_HELD)


async def _held_and_killed(scene: Scene) -> None:
    with _holding(scene):
        await asyncio.sleep(10.0)
        await asyncio.to_thread(scene.here.kill)
        starting = asyncio.create_task(scene.until_started())
        await asyncio.sleep(8.0)
    await starting


# -- the database is away, or cannot be written ---------------------------------------------------


@contextmanager
def _away(scene: Scene) -> Iterator[None]:
    if scene.server:
        scene.server.stop()
        yield
        scene.server.start()
        return
    folder = Path(scene.place).parent
    aside = folder.with_name("aside")
    folder.rename(aside)  # all of it at once, whoever writes
    folder.write_text("in the way")
    yield
    folder.unlink()
    aside.rename(folder)


async def _gone(scene: Scene) -> None:
    with _away(scene):
        await asyncio.sleep(15.0)


async def _gone_and_ended(scene: Scene) -> None:
    with _away(scene):
        await asyncio.sleep(6.0)
        await asyncio.to_thread(scene.here.stop)
    await scene.until_started()
    await asyncio.sleep(3.0)
    with _away(scene):
        await asyncio.sleep(6.0)
        await asyncio.to_thread(scene.here.kill)
    await scene.until_started()


async def _read_only(scene: Scene) -> None:
    if scene.server:
        await asyncio.to_thread(read_only, scene.server.url, True)
        await asyncio.sleep(12.0)
        await asyncio.to_thread(read_only, scene.server.url, False)
        return
    files = [scene.place, f"{scene.place}-wal"]
    done = subprocess.run(["chattr", "+i", *files], capture_output=True, text=True)
    try:
        if done.returncode:
            raise Skip(f"root may write what is read-only, and {done.stderr.splitlines()[0]}")
        await asyncio.sleep(12.0)
    finally:
        subprocess.run(["chattr", "-i", *files], capture_output=True)


# -- the disk -------------------------------------------------------------------------------------


@contextmanager
def _small_disk(scene: Scene) -> Iterator[None]:
    """The database, and what the server keeps, on a small disk of their own."""
    disk = scene.folder / "disk"
    disk.mkdir()
    size = _SERVERS_DISK if scene.server else _DISK
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"no small disk could be made ({done.stderr.strip()})")
    own = None
    try:
        scene.state = disk / "state"
        if scene.server:
            scene.server = own = Server(disk / "server")
            scene.place = new_schema(own.url)[1]
        else:
            scene.place = str(disk / "database" / _DATABASE)
        yield
    finally:
        if own:
            with suppress(subprocess.CalledProcessError):
                own.stop()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "filling").open("ab", buffering=0) as file:
        for piece in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(piece)) == piece:
                    pass


async def _freed(scene: Scene, disk: Path) -> None:
    (disk / "filling").unlink()
    if scene.server:  # it ends where it has no room for its log
        engine = create_engine(scene.place.replace("postgresql:", "postgresql+psycopg:"))
        try:
            with engine.connect():
                pass
        except Exception:
            with suppress(subprocess.CalledProcessError):
                await asyncio.to_thread(scene.server.stop)
            await asyncio.to_thread(scene.server.start)
        engine.dispose()


async def _full(scene: Scene) -> None:
    disk = scene.folder / "disk"
    await asyncio.to_thread(_fill, disk)
    await asyncio.sleep(10.0)
    await _freed(scene, disk)
    await asyncio.sleep(4.0)
    await asyncio.to_thread(_fill, disk)
    await asyncio.sleep(6.0)
    await asyncio.to_thread(scene.here.stop)
    await _freed(scene, disk)
    await scene.until_started()


# -- the clock ------------------------------------------------------------------------------------


@contextmanager
def _own_clock(scene: Scene) -> Iterator[None]:
    """The server's clock is set by a file; the time that only runs is left alone, as it is where a
    clock is set."""
    if not find_spec("time_machine"):
        raise Skip("time-machine is not installed (pip install time-machine)")
    clock = scene.folder / "clock"
    clock.write_text("0")
    path = os.pathsep.join(filter(None, (str(_CLOCK), os.environ.get("PYTHONPATH"))))
    scene.settings |= {"PYTHONPATH": path, "STRATA_DRILL_CLOCK": str(clock)}
    yield


async def _moved(scene: Scene) -> None:
    for hours in ("3600", "-3600", "3600", "0"):
        (scene.folder / "clock").write_text(hours)
        await asyncio.sleep(6.0)


# -- the lines ------------------------------------------------------------------------------------


async def _dropped(scene: Scene) -> None:
    for line in scene.lines:
        line.drops = True
    await asyncio.sleep(20.0)
    for line in scene.lines:
        line.drops = False


@contextmanager
def _line_of_database(scene: Scene) -> Iterator[None]:
    assert scene.server
    line = Dropping(make_url(scene.place).port or 0, (0.2, 3.0), 0.001)
    scene.lines.append(line)
    yield


@contextmanager
def _line_of_browsers(scene: Scene) -> Iterator[None]:
    scene.lines.append(Dropping(0, (0.3, 5.0), 0.02))  # its port is known with the server's
    yield


FAULTS = (
    Fault("kill -9", "The server is killed twice and started again.", _killed),
    Fault("SIGTERM", "The server is ended twice and started again.", _ended),
    Fault("held", "Another program keeps the database locked for 20 s.", _held),
    Fault(
        "held, kill -9",
        "The same, and after 10 s of it the server is killed and started again.",
        _held_and_killed,
    ),
    Fault("away", "The database is not there for 15 s.", _gone),
    Fault(
        "away, server ends",
        "It is not there twice for 6 s, after which the server is ended, then killed.",
        _gone_and_ended,
    ),
    Fault("read-only", "The database can be read and not written for 12 s.", _read_only),
    Fault(
        "disk full",
        "The disk that holds the database and what the server keeps is full for 10 s; then for 6 s "
        "again, and the server is ended, room is made, and it is started.",
        _full,
        _small_disk,
    ),
    Fault(
        "clock moved",
        "The server's clock goes an hour ahead, two back, two ahead and back to the right time.",
        _moved,
        _own_clock,
    ),
    Fault(
        "sockets dropped",
        "For 20 s each connection of a browser breaks after 0.3 to 5 s, whatever is on its way.",
        _dropped,
        _line_of_browsers,
    ),
    Fault(
        "database's sockets dropped",
        "For 20 s each connection of the server to the database breaks after 0.2 to 3 s.",
        _dropped,
        _line_of_database,
        kinds=("postgresql",),
    ),
)


def put_away(scene: Scene) -> None:
    """Leave nothing that the system would not let be deleted."""
    if scene.kind == "sqlite" and shutil.which("chattr") and os.path.exists(scene.place):
        subprocess.run(["chattr", "-i", scene.place, f"{scene.place}-wal"], capture_output=True)
