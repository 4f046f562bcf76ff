"""The processes that are killed: ``python -m crash.peers server|client SETUP NAME``.

They use securecoap as applications do. SETUP is a JSON file that the driver wrote. The server writes down each
execution before it answers; a client sends what no other process ever sent, so that a nonce that is used twice seals
two different things.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from securecoap import CoapError, Context, Message, ObservableResource, Site
from securecoap.config import TransportParameters
from securecoap.wire.codes import Code

WORKERS = 6
UNIQUE = os.urandom(6).hex()
"""Of this process."""
QUICK = TransportParameters(ack_timeout=0.15, nstart=2 * WORKERS, empty_ack_delay=0.01, non_timeout=0.5)


class Executor(ObservableResource):
    """Writes down which sealed message reached it, and never says the same twice."""

    def __init__(self, record: Path) -> None:
        super().__init__()
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._count = itertools.count()

    def _execute(self, request: Message) -> None:
        slot: Any = request.exchange  # OSCORE's: it knows the nonce of the message that it opened
        context = slot.context
        id_context = "-" if context.id_context is None else context.id_context.hex()
        os.write(self._record, f"{context.recipient_id.hex()} {id_context} {slot.nonce.hex()}\n".encode())

    def _answer(self, request: Message) -> bytes:
        return f"{UNIQUE} {next(self._count)} {request.payload.decode()}".encode()

    def render_get(self, request: Message) -> Message:
        """Executed on registration and on request; notifications are rendered without a new request."""
        return Message(Code.CONTENT, self._answer(request))

    def render_post(self, request: Message) -> Message:
        """At once, and for all observers to see."""
        self._execute(request)
        self.changed()
        return Message(Code.CHANGED, self._answer(request))

    async def render_put(self, request: Message) -> Message:
        """Later: the response is a separate one."""
        self._execute(request)
        await asyncio.sleep(random.random() * 0.05)  # nothing secret
        return Message(Code.CHANGED, self._answer(request))


async def serve(setup: dict[str, Any]) -> None:
    """Until SIGTERM."""
    site = Site()
    site.add("/x", Executor(Path(setup["executions"])))
    async with Context.server(
        site,
        bind=[f"coap://{setup['host']}:{setup['port']}"],
        credentials=setup["server"]["credentials"],
        state=setup["server"]["state"],
        parameters=QUICK,
    ):
        await _until_told()


async def request(setup: dict[str, Any], name: str) -> None:
    """As fast as the answers come, until SIGTERM."""
    uri = f"coap://{setup['host']}:{setup['relay']}/x"
    answers = os.open(setup["answers"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    mine = setup["clients"][name]
    count = itertools.count()
    async with Context.client(mine["credentials"], state=mine["state"], parameters=QUICK) as context:

        async def work() -> None:
            while True:
                payload = f"{UNIQUE} {next(count)}".encode()
                call = random.choice((context.post, context.put))  # nothing secret
                try:
                    response = await call(uri, payload, confirmable=random.random() < 0.9, timeout=2.0)
                except CoapError:
                    await asyncio.sleep(0.02)
                else:
                    if response.code == Code.CHANGED and response.payload.endswith(payload):
                        os.write(answers, b".")
                await asyncio.sleep(0)

        async def observe() -> None:
            while True:
                try:
                    async for _ in context.observe(uri):
                        pass
                except CoapError:
                    await asyncio.sleep(0.1)

        tasks = [asyncio.create_task(work()) for _ in range(WORKERS)] + [asyncio.create_task(observe())]
        await _until_told()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_told() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    os.write(1, b"running\n")
    await told.wait()


def main() -> int:
    """Run one of them."""
    role, path, name = sys.argv[1:]
    setup = json.loads(Path(path).read_text())
    logging.disable(logging.CRITICAL)  # faults are meant here, and there are thousands
    try:
        asyncio.run(serve(setup) if role == "server" else request(setup, name))
    except CoapError as error:
        sys.stdout.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
