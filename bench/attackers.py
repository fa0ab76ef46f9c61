"""What one learner may try against a server of a class: each attack goes on until it is ended."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench.classroom_client import Broken, Browser

PAGE, _SLOWEST = "predictions", "scaling"
_MB = 1024 * 1024
WRITING = "more={n}&write=Sampled&draw=0"  # the address of a prompt that goes on
_LONG = "the river and the garden behind the old library were quiet while "  # a dozen tokens
_GONE = (Broken, OSError, httpx.HTTPError, KeyError)

# Called with the address and the cookies of its members.
Attack = Callable[[str, list[str]], Coroutine[Any, Any, None]]


async def tabs(address: str, cookies: list[str]) -> None:
    """30 tabs of one learner, each of which asks for its page again and again."""
    await _all(_reloading(address, cookies[0]) for _ in range(30))


async def uploads(address: str, cookies: list[str]) -> None:
    """40 tabs of one learner, into each of which 8 files of 5 MB are sent."""

    async def one() -> None:
        browser = Browser(address, cookies[0])
        await browser.open(PAGE)
        async with httpx.AsyncClient(timeout=60) as http:
            told = await http.get(f"{address}/_stcore/health", headers={"Cookie": cookies[0]})
            token = told.cookies["_streamlit_xsrf"]
            headers = {"Cookie": f"{cookies[0]}; _streamlit_xsrf={token}", "X-Xsrftoken": token}
            for number in range(8):
                file = {"file": ("text.txt", bytes(5 * _MB - 1_000))}
                path = f"/_stcore/upload_file/{browser.session}/{number}"
                await http.put(address + path, files=file, headers=headers)
        await browser.closed()

    await _all(_again(one) for _ in range(40))


def handshake(host: str, cookie: str) -> bytes:
    """What a browser sends to open a tab's socket."""
    asked = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: streamlit",
        f"Cookie: {cookie}",
    ]
    return "\r\n".join([*asked, "", ""]).encode()


async def frames(address: str, cookies: list[str]) -> None:
    """3 messages of 145 MB of which the end never comes."""

    async def one() -> None:
        place = urlsplit(address)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(handshake(place.netloc, cookies[0]))
        await reader.readuntil(b"\r\n\r\n")
        size = 145 * _MB
        writer.write(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
        with suppress(OSError):
            for _ in range(144):
                writer.write(bytes(_MB))
                await writer.drain()
        await asyncio.Event().wait()

    await _all(one() for _ in range(3))


async def members(address: str, cookies: list[str]) -> None:
    """12 members made by one hand, each with a new prompt after the other, on 3 pages."""
    pages = (PAGE, "logit_lens", "hidden_states")
    await _all(_prompting(address, cookie, page) for cookie in cookies for page in pages)


async def apart(address: str, cookies: list[str]) -> None:
    """12 members made by one hand, each of whom has a prompt go on by 60 tokens in 4 tabs, drawn
    anew each time: what works long without the model."""

    async def one(cookie: str) -> None:
        browser = Browser(address, cookie)
        await browser.open(PAGE, WRITING.format(n=60))
        while True:
            await browser.set("draw", secrets.randbelow(10_000))

    await _all(_again(partial(one, cookie)) for cookie in cookies for _ in range(4))


async def sweeps(address: str, cookies: list[str]) -> None:
    """One learner with one sweep of a long text after the other, on 6 tabs."""
    await _all(_prompting(address, cookies[0], _SLOWEST, 12) for _ in range(6))


ATTACKS: dict[str, tuple[Attack, int]] = {  # with how many members each is made
    "tabs": (tabs, 1),
    "uploads": (uploads, 1),
    "frames": (frames, 1),
    "members": (members, 12),
    "apart": (apart, 12),
    "sweeps": (sweeps, 1),
}
OF_THE_MODEL = ("members", "sweeps")  # against which new prompts count; of others, views


async def _all(tasks: Iterator[Any]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _again(act: Callable[[], Awaitable[None]]) -> None:
    """For ever, whatever the server says."""
    while True:
        with suppress(*_GONE):
            await act()
        await asyncio.sleep(2.0)  # as a browser does


async def _reloading(address: str, cookie: str) -> None:
    async def one() -> None:
        browser = Browser(address, cookie)
        await browser.open(PAGE)
        while True:
            await browser.again()

    await _again(one)


async def _prompting(address: str, cookie: str, page: str, repeats: int = 1) -> None:
    async def one() -> None:
        browser = Browser(address, cookie)
        await browser.open(page)
        for number in count():
            await ask(browser, f"{secrets.token_hex(3)} {number} " + _LONG * repeats)

    await _again(one)


async def ask(browser: Browser, prompt: str) -> float:
    """A new prompt, in the field of the page; seconds until the page is complete."""
    box = next(key for key in browser.widgets if key.startswith("text_"))
    return await browser.write(box, prompt, "look_inside")
