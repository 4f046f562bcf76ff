"""A client that puts and gets a body of 1 MiB as it is told, run by the environment of the library that it measures.

    transfers.py securecoap|aiocoap URI     each line "get N" or "put N" of its input: that often, then one JSON line

It prints what its own process spent; the bodies are compared.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BODY = bytes(number % 251 for number in range(1 << 20))


async def _securecoap(uri: str) -> None:
    from securecoap import Context  # the other library's environment does not have it

    async with Context.client() as coap:
        await _serve(lambda: coap.get(uri), lambda body: coap.put(uri, body))


async def _aiocoap(uri: str) -> None:
    import aiocoap  # type: ignore[import-not-found]  # likewise

    coap = await aiocoap.Context.create_client_context()
    await _serve(
        lambda: coap.request(aiocoap.Message(code=aiocoap.GET, uri=uri)).response,
        lambda body: coap.request(aiocoap.Message(code=aiocoap.PUT, uri=uri, payload=body)).response,
    )
    await coap.shutdown()


async def _serve(get: Callable[[], Awaitable[Any]], put: Callable[[bytes], Awaitable[Any]]) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        method, count = line.split()
        before, began = time.process_time(), time.perf_counter()
        for _ in range(int(count)):
            answer = await (get() if method == "get" else put(BODY))
            if int(answer.code) >> 5 != 2 or (method == "get" and answer.payload != BODY):
                raise SystemExit(f"{method}: {answer.code}, {len(answer.payload)} bytes")
        spent, took = time.process_time() - before, time.perf_counter() - began
        print(json.dumps({"cpu": spent, "seconds": took}), flush=True)


asyncio.run({"securecoap": _securecoap, "aiocoap": _aiocoap}[sys.argv[1]](sys.argv[2]))
