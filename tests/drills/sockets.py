"""A line between two programs that breaks again and again, at any moment."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress


class Dropping:
    """Passes bytes on to a port of this machine, a little late, and drops each connection after
    some seconds of `lives`, whatever is on its way, as long as `drops` is set."""

    def __init__(self, port: int, lives: tuple[float, float], late: float) -> None:
        self.to, self._lives, self._late = port, lives, late
        self._dice = random.Random(0)
        self._server: asyncio.Server | None = None
        self.port = 0
        self.drops = False
        self.dropped = 0

    async def start(self) -> None:
        """From now on there is `port`."""
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", 0, backlog=500)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Take no more."""
        if self._server:
            self._server.close()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            beyond, into = await asyncio.open_connection("127.0.0.1", self.to)
            ways = [
                asyncio.create_task(self._pass(reader, into)),
                asyncio.create_task(self._pass(beyond, writer)),
            ]
            while True:
                lives = self._dice.uniform(*self._lives)
                done, _ = await asyncio.wait(
                    ways, timeout=lives, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
                if self.drops:
                    self.dropped += 1
                    break
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            into.transport.abort()
        writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            await asyncio.sleep(self._late)
            writer.write(piece)
            await writer.drain()
