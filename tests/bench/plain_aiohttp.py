"""The reference clients in Python: aiohttp on asyncio's own loop, one `json.loads` an event, as most tools do.

Usage: plain_aiohttp.py URL STREAMS REQUESTS STAGGER_NS BODY ROWS lines|reads. `lines` iterates over the lines of the
answer, as the aiohttp documentation shows it; `reads` splits what comes, as vLLM bench and EvalScope do, which is the
leanest way. Times are those of such clients: from before the POST to after the parsing. Writes and prints what
epoll_client.c does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import aiohttp


class Client:
    def __init__(self, url: str, body: str, requests: int, by: str) -> None:
        self.read = {"lines": self.by_line, "reads": self.by_read}[by]
        self.url = url + "/v1/chat/completions"
        self.body = json.loads(body)
        self.numbers: Iterator[int] = iter(range(requests))
        self.rows: list[tuple[str, int, list[int]]] = []

    async def user(self, session: aiohttp.ClientSession, delay: float) -> None:
        await asyncio.sleep(delay)
        for number in self.numbers:
            await self.ask(session, f"r{number}")

    async def ask(self, session: aiohttp.ClientSession, name: str) -> None:
        times: list[int] = []
        began = time.perf_counter_ns()
        async with session.post(self.url, json=self.body, headers={"X-Request-Id": name}) as response:
            response.raise_for_status()
            await self.read(response.content, times)
        self.rows.append((name, began, times))

    async def by_line(self, content: aiohttp.StreamReader, times: list[int]) -> None:
        async for line in content:
            if line.startswith(b"data: "):
                self.event(line.strip().removeprefix(b"data: "), times)

    async def by_read(self, content: aiohttp.StreamReader, times: list[int]) -> None:
        buffer = b""
        async for data in content.iter_any():
            *events, buffer = (buffer + data).split(b"\n\n")
            for event in events:
                self.event(event.removeprefix(b"data: "), times)

    def event(self, data: bytes, times: list[int]) -> None:
        if data == b"[DONE]":
            return
        choices = json.loads(data)["choices"]
        if choices and choices[0]["delta"].get("content"):
            times.append(time.perf_counter_ns())


async def main(url: str, streams: int, requests: int, stagger: int, body: str, rows: str, by: str) -> None:
    client = Client(url, body, requests, by)
    began, cpu = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client.user(session, number * stagger / 1e9) for number in range(streams)))
        took, used = time.perf_counter() - began, time.process_time() - cpu
    with open(rows, "w") as file:
        file.writelines(json.dumps({"id": name, "sent": sent, "times": at}) + "\n" for name, sent, at in client.rows)
    print(json.dumps({"cpu_seconds": used, "seconds": took}))


if __name__ == "__main__":
    url, streams, requests, stagger, body, rows, by = sys.argv[1:]
    asyncio.run(main(url, int(streams), int(requests), int(stagger), body, rows, by))
