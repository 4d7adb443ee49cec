"""Pages of a studio without a browser: `-m tools.bench.studio_pages ORIGIN COOKIE PAGES STREAM`.

Each takes the stream large, and says of each scene at once that it was shown, as a page does on a
machine of its own. Says `ready` when each has had a scene; when its input ends, it tells as JSON
how many scenes and bytes they had.
"""

import asyncio
import json
import sys
from typing import Any

from websockets.asyncio.client import connect

STAGE_PX = 1280


async def main(origin: str, cookie: str, pages: int, stream: str) -> None:
    """Be the pages."""
    begun = [asyncio.Event() for _ in range(pages)]
    received = {"scenes": 0, "bytes": 0}
    shown = [asyncio.create_task(_page(origin, cookie, stream, one, received)) for one in begun]
    try:
        ready = asyncio.gather(*(one.wait() for one in begun))
        ends: list[asyncio.Future[Any]] = [ready, *shown]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        print("ready" if ready.done() else "failed", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        for task in shown:
            task.cancel()
    print(json.dumps(received), flush=True)


async def _page(
    origin: str, cookie: str, stream: str, begun: asyncio.Event, received: dict[str, int]
) -> None:
    watch = {"type": "watch", "stage": stream, "stage_px": STAGE_PX, "tiles": []}
    url = f"{origin.replace('http', 'ws', 1)}/socket"
    options: dict[str, Any] = {"additional_headers": {"Cookie": cookie}, "max_size": None}
    async with connect(url, origin=origin, compression=None, **options) as socket:  # type: ignore[arg-type]
        await socket.send(json.dumps(watch))
        async for message in socket:
            if isinstance(message, str):
                continue
            length = int.from_bytes(message[:4], "big")
            number = json.loads(message[4 : 4 + length])["n"]
            received["scenes"] += 1
            received["bytes"] += len(message)
            begun.set()
            await socket.send(json.dumps({"type": "shown", "n": number}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
