"""A client that gets ``/hello`` as it is told, run by the environment of the library that it measures.

    requesting.py securecoap|aiocoap URI    each line "COUNT IN_FLIGHT" of its input: then one JSON line

It prints what its own process spent. Each line has a client of its own, since Message IDs to one server come to an end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def _securecoap(uri: str, count: int, in_flight: int) -> float:
    from securecoap import Context  # the other library's environment does not have it
    from securecoap.config import TransportParameters

    async with Context.client(parameters=TransportParameters(nstart=in_flight)) as coap:
        return await _ask(lambda: coap.get(uri), count, in_flight)


async def _aiocoap(uri: str, count: int, in_flight: int) -> float:
    import aiocoap  # type: ignore[import-not-found]  # likewise

    coap = await aiocoap.Context.create_client_context()
    spent = await _ask(lambda: coap.request(aiocoap.Message(code=aiocoap.GET, uri=uri)).response, count, in_flight)
    await coap.shutdown()
    return spent


async def _ask(get: Callable[[], Awaitable[Any]], count: int, in_flight: int) -> float:
    await get()  # names are resolved, sockets are open
    left = iter(range(count))
    before = time.process_time()

    async def one_after_another() -> None:
        for _ in left:
            answer = await get()
            if answer.payload != b"hello":
                raise SystemExit(f"{answer.code}, {answer.payload!r}")

    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    return time.process_time() - before


for line in sys.stdin:
    asked, together = map(int, line.split())
    ask = {"securecoap": _securecoap, "aiocoap": _aiocoap}[sys.argv[1]]
    print(json.dumps({"cpu": asyncio.run(ask(sys.argv[2], asked, together))}), flush=True)
