"""`python -m bench.classroom`: a class of websocket clients plays a lesson against a real server.

Prints how long each kind of action took (p50, p95, p99), errors, answers that were committed and
are not in the database, the server's memory by minute, and the processor time of server and clients
apart. A time is from sending the change to the last message of the finished page, without a
browser's drawing. Clients run in this process, all in one thread.

    python -m bench.classroom --learners 100 --minutes 30 --json classroom.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import psutil

from bench.classroom_play import MIX, THINK, Log, play
from bench.classroom_votes import Polls
from bench.measure import Row, Sample, in_words
from strata.classroom import watch
from strata.classroom.roster import Class, Roster
from strata.lessons import lessons
from strata.storage.database import Database
from tests.browser.server import started

# Learners: the most that 95 of 100 actions of a kind may take, in seconds, on two cores.
BOUNDS = {
    100: {"view": 0.5, "shared prompt": 2.0, "vote seen": 2.0},
    300: {"view": 1.0, "shared prompt": 5.0, "vote seen": 2.0},
}
_GROWTH = 0.5  # megabytes a learner
_LOOK = 15.0  # seconds between two looks at the server's memory
_MB = 1024 * 1024


@dataclass
class Meter:
    """What the servers, each with the processes that it starts, take while the class plays.

    A context manager: processor time is counted inside it.
    """

    servers: list[psutil.Process]
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, megabytes
    yardstick: list[float] = field(default_factory=list)  # seconds that `_measured` took
    server_cpu: float = 0.0  # seconds
    client_cpu: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _stop: Event = field(default_factory=Event)

    def look(self) -> None:
        """Note the memory from time to time until `end`."""
        Thread(target=self._look, daemon=True).start()

    def end(self) -> None:
        self._stop.set()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK):
            bytes_ = sum(map(memory_of, self._processes()))
            self.memory.append((time.monotonic() - self._since, bytes_ / _MB))
            self.yardstick.append(_measured())

    def __enter__(self) -> None:
        self.entered = time.monotonic() - self._since
        self.server_cpu, self.client_cpu = -self._cpu(), -time.process_time()

    def __exit__(self, *exc: object) -> None:
        self.server_cpu += self._cpu()
        self.client_cpu += time.process_time()
        self.left = time.monotonic() - self._since

    def by_minute(self) -> list[float]:
        """Megabytes at the end of each minute since the first client came."""
        minutes = {int(at // 60): size for at, size in self.memory}
        return [round(minutes[minute], 1) for minute in sorted(minutes)]

    def _cpu(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._processes())

    def _processes(self) -> Iterator[psutil.Process]:
        for server in self.servers:
            yield server
            yield from server.children(recursive=True)


def memory_of(process: psutil.Process) -> int:
    """Bytes; what several processes share is counted once in all, where the system can tell."""
    try:
        full = process.memory_full_info()
    except psutil.Error:  # ended just now
        return 0
    return int(getattr(full, "pss", full.rss))


def _measured() -> float:
    """Seconds of processor time for the same work each time, to compare one run with another: a
    machine may be slower on one day than on the next."""
    start, counts = time.thread_time(), dict[str, int]()
    for number in range(60_000):
        word = str(number % 1024)
        counts[word] = counts.get(word, 0) + number
    return time.thread_time() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one class; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.classroom", description="A class under load, measured."
    )
    add = parser.add_argument
    add("--learners", type=int, default=100)
    add("--minutes", type=float, default=30.0, help="after all have entered")
    add("--ramp", type=float, help="seconds in which all enter; without it 0.6 for each learner")
    add("--warm", type=float, default=0.0, help="minutes that are played before counting")
    add("--database", help="an SQLAlchemy URL; without it a new SQLite file")
    add("--processes", type=int, default=1, help="servers that share the database")
    add("--lessons", default="predictions,hidden_states", help="of the class, the first first")
    add("--think", type=float, nargs=2, default=THINK, help="seconds between two actions")
    add("--texts", type=float, default=0.0, help="share of actions that have the model write on")
    add("--seed", type=int, default=0)
    add("--json", metavar="FILE", type=Path, help="also write all numbers here")
    add("--log", metavar="FILE", type=Path, help="what the first server prints")
    add("--quick", action="store_true", help="two learners for seconds: to see that it works")
    options = parser.parse_args(arguments)
    if not 0 <= options.texts <= MIX["view"]:
        parser.error(f"--texts is a share of at most {MIX['view']}")
    if options.quick:
        options.learners, options.minutes, options.ramp, options.think = 2, 0.2, 1.0, (0.1, 0.4)
    if options.ramp is None:
        options.ramp = 0.6 * options.learners
    report = run(options)
    print(text(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return int(not report["ok"])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start the servers, let the class play, compare with the database: all numbers."""
    stems = options.lessons.split(",")
    secret = secrets.token_urlsafe(16)
    log = Log()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        place = options.database or str(Path(folder) / "class.sqlite")
        database = Database(place)
        stack.callback(database.close)
        roster = Roster(database)
        group = stack.enter_context(_class(roster, stems))
        environment = {
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": secret,
            "STRATA_DATABASE_URL": place,
        }
        if options.processes > 1:  # as docs/hosting.md says: they share the cores
            threads = max(1, (os.cpu_count() or 1) // options.processes)
            environment |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
        servers: list[psutil.Process] = []
        addresses: list[str] = []
        for number in range(options.processes):
            printed = options.log if number == 0 else None
            begun = started(environment=environment, log=printed)
            address, server = stack.enter_context(begun)
            addresses.append(address)
            servers.append(server)
        meter = Meter(servers)
        stack.callback(meter.end)
        meter.look()
        first = stems[0], lessons()[stems[0]].page_of(0)
        numbers = options.learners, options.ramp, options.minutes * 60
        polls = Polls(database, group.id)
        asyncio.run(
            play(
                *(addresses, group.code, secret, first, *numbers, log, meter, polls),
                seed=options.seed,
                think=tuple(options.think),
                warm=options.warm * 60,
                texts=options.texts,
            )
        )
        lost = _lost(log, database, group) + polls.lost()
        kind = place.split(":")[0] if "://" in place else "sqlite"
        shown = {**environment, "STRATA_TEACHER_SECRET": "...", "STRATA_DATABASE_URL": kind}
        return _report(options, log, meter, len(polls.kept), lost, shown)


@contextmanager
def _class(roster: Roster, stems: list[str]) -> Iterator[Class]:
    group = roster.create("Under load", lessons=stems)
    try:
        yield group
    finally:
        roster.remove(group.id)


def _lost(log: Log, database: Database, group: Class) -> list[str]:
    """Answers that a learner was told are kept and that the database does not have."""
    done = watch.events(database, group.id)
    kept = {
        (row.name, f"{row.lesson}_{row.step - 1}")
        for row in done[done["kind"] == "guess"].itertuples()
    }
    return sorted(f"{name}: {question}" for name, question in log.answers - kept)


def _report(
    options: argparse.Namespace,
    log: Log,
    meter: Meter,
    ballots: int,
    lost: list[str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    bounds = BOUNDS.get(options.learners, {})
    rows = [
        Row(kind, Sample(tuple(taken)), p95_at_most=bounds.get(kind))
        for kind, taken in sorted(log.seconds.items())
    ]
    acts = sum(len(log.seconds[kind]) for kind in MIX)
    memory = [size for at, size in meter.memory if at >= meter.entered]
    grown = growth(memory) / options.learners
    held = [row.ok is not False for row in rows] + [not lost, not log.errors, grown < _GROWTH]
    packages = ("streamlit", "torch", "pandas", "websockets")
    return {
        "ok": all(held),
        "learners": options.learners,
        "minutes": options.minutes,
        "warm": options.warm,
        "seed": options.seed,
        "texts": options.texts,
        "lessons": options.lessons,
        "processes": options.processes,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "environment": {**_settings(), **environment},
        "rows": [row.as_dict() | {"p99": _p99(row.ours)} for row in rows],
        "controls": _controls(log),
        "actions": acts,
        "errors": dict(log.errors),
        "answers": len(log.answers),
        "ballots": ballots,
        "lost": lost,
        "memory_by_minute": meter.by_minute(),
        "memory_grown_by_learner": grown,
        "yardstick": median(meter.yardstick) if meter.yardstick else None,
        "server_cpu": meter.server_cpu,
        "client_cpu": meter.client_cpu,
        "server_cpu_by_action": meter.server_cpu / max(1, acts),
        "seconds": meter.left - meter.entered,
    }


def growth(sizes: Sequence[float]) -> float:
    """By how much the last five minutes' looks at the memory are above the first five's, or the
    second half's above the first's: medians, since a single look may meet a large batch."""
    n = min(round(300 / _LOOK), len(sizes) // 2)
    return median(sizes[-n:]) - median(sizes[:n]) if n else 0.0


def _controls(log: Log) -> dict[str, dict[str, float]]:
    """What was moved or pressed, the slowest first."""
    samples = {name: Sample(tuple(taken)) for name, taken in log.controls.items()}
    slowest = sorted(samples.items(), key=lambda each: each[1].p95, reverse=True)
    return {name: sample.as_dict() for name, sample in slowest}


def _settings() -> dict[str, str]:
    """What else of this environment may change how the server works; nothing that is secret."""
    secret = ("URL", "SECRET", "HASH", "POSTGRES")
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("STRATA_", "OMP_")) and not any(word in name for word in secret)
    }


def _p99(sample: Sample) -> float:
    ordered = sorted(sample.seconds)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def text(report: Mapping[str, Any]) -> str:
    """The report as people read it."""
    lines = [
        f"{report['learners']} learners, {report['seconds']:.0f} s, {report['processes']} server "
        f"process(es), {report['environment']['STRATA_DATABASE_URL']}",
        f"{'action':<22}{'n':>6}{'p50':>10}{'p95':>10}{'p99':>10}  bound",
    ]
    for row in report["rows"]:
        ours = row["ours"]
        times = "".join(f"{in_words(t):>10}" for t in (ours["median"], ours["p95"], row["p99"]))
        bound = ""
        if row["p95_at_most"]:
            bound = f"p95 <= {in_words(row['p95_at_most'])} {'ok' if row['ok'] else 'NO'}"
        lines.append(f"{row['name']:<22}{ours['n']:>6}{times}  {bound}".rstrip())
    lines += [
        f"  {name:<32}{taken['n']:>6}{in_words(taken['median']):>10}{in_words(taken['p95']):>10}"
        for name, taken in report["controls"].items()
    ]
    lines += [
        f"errors: {sum(report['errors'].values())}",
        *(f"  {count} x {words}" for words, count in report["errors"].items()),
        f"answers: {report['answers']}, ballots: {report['ballots']}, lost of both: "
        f"{len(report['lost'])}",
        f"memory by minute (MB): {', '.join(map(str, report['memory_by_minute']))}",
        f"  grown while it was counted: {report['memory_grown_by_learner']:.3f} MB a learner",
        f"processor: server {report['server_cpu']:.1f} s, "
        f"{in_words(report['server_cpu_by_action'])} an action; "
        f"clients {report['client_cpu']:.1f} s",
    ]
    if report["yardstick"]:
        lines.append(f"yardstick, the same work in every run: {in_words(report['yardstick'])}")
    if report["load_average"]:
        lines.append(f"load average at the end: {report['load_average'][0]:.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
