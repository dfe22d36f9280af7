"""The reference clients of the benchmarks: aiohttp on asyncio's own loop, one `json.loads` an event, as most tools do.

Usage: plain_aiohttp.py URL CONCURRENCY REQUESTS TOKENS lines|reads. `lines` iterates over the lines of the answer, as
the aiohttp documentation shows it; `reads` splits what comes, as vLLM bench and EvalScope do, which is the leanest way.
Prints one JSON object; times are seconds, measured as such clients measure them: from before the POST to after the
parsing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp

STAGGER = 0.0002  # as Loadstone's closed loop starts, so that both meet the same arrivals


class Client:
    def __init__(self, url: str, tokens: int, by: str) -> None:
        self.read = {"lines": self.by_line, "reads": self.by_read}[by]
        self.url = url + "/v1/chat/completions"
        self.body = {
            "model": "sim",
            "messages": [{"role": "user", "content": "hello there"}],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self.ttfts: list[float] = []
        self.gaps: list[float] = []
        self.events = 0

    async def user(self, session: aiohttp.ClientSession, number: int, turns: int) -> None:
        await asyncio.sleep(number * STAGGER)
        for _ in range(turns):
            await self.ask(session)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        began = time.perf_counter()
        async with session.post(self.url, json=self.body) as response:
            await self.read(response.content, began)

    async def by_line(self, content: aiohttp.StreamReader, began: float) -> None:
        last = 0.0
        async for line in content:
            if line.startswith(b"data: "):
                last = self.event(line.strip().removeprefix(b"data: "), began, last)

    async def by_read(self, content: aiohttp.StreamReader, began: float) -> None:
        buffer, last = b"", 0.0
        async for data in content.iter_any():
            *events, buffer = (buffer + data).split(b"\n\n")
            for event in events:
                last = self.event(event.removeprefix(b"data: "), began, last)

    def event(self, data: bytes, began: float, last: float) -> float:
        if data == b"[DONE]":
            return last
        choices = json.loads(data)["choices"]
        if not choices or not choices[0]["delta"].get("content"):
            return last
        now = time.perf_counter()
        self.events += 1
        (self.gaps if last else self.ttfts).append(now - (last or began))
        return now


async def main(url: str, concurrency: int, requests: int, tokens: int, by: str) -> None:
    client = Client(url, tokens, by)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client.user(session, i, requests // concurrency) for i in range(concurrency)))
        took, used = time.perf_counter() - began, time.process_time() - cpu
    ttfts = sorted(client.ttfts)
    result = {
        "cpu_per_event": used / client.events,
        "requests_per_second": len(ttfts) / took,
        "ttft_mean": sum(ttfts) / len(ttfts),
        "ttft_p99": ttfts[int(0.99 * len(ttfts))],
        "gap_mean": sum(client.gaps) / len(client.gaps) if client.gaps else None,
        "cpu_share": used / took,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]), by=sys.argv[5]))
