"""Our server for ``tools/bench/run blocks``: one resource that keeps what is put.

Its bytes for strangers are not bounded: the generator answers no Echo (RFC 9175 section 2.4), as a client would once.
"""

from __future__ import annotations

import asyncio

from securecoap import Context, Limits, Message, Resource, Site

__all__: list[str] = []


class Store(Resource):
    """Keeps a body."""

    body = b""

    def render_get(self, _request: Message) -> Message:
        """Give it."""
        return Message(payload=self.body)

    def render_put(self, request: Message) -> Message:
        """Take it."""
        self.body = request.payload
        return Message()


async def _serve() -> None:
    site = Site()
    site.add("/store", Store())
    limits = Limits(amplification_allowance=1 << 30)
    async with Context.server(site, ["coap://127.0.0.1:0"], limits=limits) as server:
        print(f"listening {server.endpoints[0]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
