"""The real stack on a simulated network: client and server in one process and in virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from securecoap.config import Limits, TransportParameters
from securecoap.core.client import ClientRequest
from securecoap.core.common import Common
from securecoap.core.echo import EchoValues
from securecoap.core.group import GroupRequest
from securecoap.core.messages import MessageManager
from securecoap.core.outer_blocks import OuterBlocks
from securecoap.core.serving import Server
from securecoap.core.tokens import TokenManager
from securecoap.core.transfer import Transfer
from securecoap.oscore.layer import OscoreLayer
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

from .network import Network, SimulatedInterface

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from securecoap.interfaces import RequestInterface

    from .network import Sent

__all__ = ["Endpoint", "Pair"]


class Endpoint:
    """One endpoint with every layer, client and server at once.

    Args:
        network: where it is.
        name: its address.
        site: what it serves.
        contexts: a `ContextSource`; with it there is an OSCORE layer.
        seed: of Message IDs, tokens and time-outs.
        cache: whether its requests use one.
        counts_bytes: whether strangers have a budget, as on a real network.
        server_options: see `Server`.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        site: Any = None,
        *,
        parameters: TransportParameters | None = None,
        limits: Limits | None = None,
        contexts: Any = None,
        seed: int = 0,
        counts_bytes: bool = False,
        cache: bool = False,
        **server_options: Any,
    ) -> None:
        loop = network.loop
        self.network = network
        self.loop = loop
        self.name = name
        self.random = random.Random(f"{seed}/{name}")
        self.parameters = parameters or TransportParameters()
        self.limits = limits or Limits()
        self.echo = EchoValues(self.random, loop.time)
        self.server = Server(
            site, loop, self.random, self.echo, limits=self.limits, parameters=self.parameters, **server_options
        )
        self.manager = MessageManager(loop, self.random, self.echo, self.parameters, self.limits)
        self.interface = SimulatedInterface(network, name, self.limits if counts_bytes else None)
        self.interface.above = self.manager
        self.manager.interface = self.interface
        below: Any = self.manager
        self.outer: Any = None
        if contexts is not None:
            self.outer = OuterBlocks(self.manager, loop, self.random, self.limits, self.parameters)
            self.oscore = self.outer.above = below = OscoreLayer(self.outer, contexts, loop, self.random, self.limits)
        self.common = Common(
            self._choose,
            loop,
            self.parameters,
            self.limits,
            self.random,
            recognize=self._recognize,
            has_cache=cache,
        )
        self.cache, self.silent = self.common.cache, self.common.silent
        self.tokens = TokenManager(below, self.server, self.random, self.echo, self.limits, self.cache)
        self.manager.above = self.outer if contexts is not None else self.tokens
        if contexts is not None:
            self.oscore.above = self.oscore.requests = self.manager.above_plain = self.tokens
            self.tokens.below_plain = self.manager
            self.manager.above_protected = self.oscore.dispatch_request

    def _recognize(self, message: Message) -> RequestInterface | None:
        return self.tokens if message.remote is None and self.tokens.recognize_remote(message) else None

    async def _choose(self, message: Message) -> RequestInterface:
        assert await self.tokens.fill_or_recognize_remote(message)
        return self.tokens

    def transfer(self, **options: Any) -> Transfer:
        """What a request does with bodies, with the tags of this client; see `Transfer`."""
        return Transfer(
            self.limits.body_bytes, self.common.tags, **{"exponent": self.parameters.block_exponent, **options}
        )

    def request(self, message: Message, transfer: Transfer | None = None) -> ClientRequest:
        return ClientRequest(message, self.common, transfer or self.transfer())

    def group(self, message: Message, seconds: float | None = None) -> GroupRequest:
        """Begin a request to a group."""
        return GroupRequest(message, self.common, seconds)

    def ask(
        self, code: Code, path: str, payload: bytes = b"", *, host: str = "server", **options: Any
    ) -> ClientRequest:
        """Begin a request to another endpoint."""
        transfer = options.pop("transfer", None)
        message = Message(code, payload, confirmable=options.pop("confirmable", None))
        message.scheme, message.unresolved_remote = "coap", host
        message.options.uri_path = tuple(one for one in path.split("/") if one)
        for option, value in options.items():
            setattr(message.options, option, value)
        return self.request(message, transfer)

    async def get(self, path: str, **options: Any) -> Message:
        return await self.ask(Code.GET, path, **options).response

    async def post(self, path: str, payload: bytes = b"", **options: Any) -> Message:
        return await self.ask(Code.POST, path, payload, **options).response

    async def put(self, path: str, payload: bytes = b"", **options: Any) -> Message:
        return await self.ask(Code.PUT, path, payload, **options).response

    async def close(self) -> None:
        self.common.close()
        await self.server.close()
        self.tokens.close()
        self.manager.close()
        if self.outer is not None:
            self.outer.close()
        await self.interface.shutdown()


class Pair:
    """A client and a server on a network of their own; an async context manager that closes both.

    Args:
        site: what the server serves.
        seed: of network and endpoints.
        parameters, limits: of both.
        client_options, server_options: of the endpoints.
        network: see `Network`.
    """

    def __init__(
        self,
        site: Any = None,
        seed: int = 0,
        *,
        parameters: TransportParameters | None = None,
        limits: Limits | None = None,
        client_options: dict[str, Any] | None = None,
        server_options: dict[str, Any] | None = None,
        **network: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.network = Network(self.loop, seed, **network)
        common = {"parameters": parameters, "limits": limits, "seed": seed}
        self.server = Endpoint(self.network, "server", site, **{**common, **(server_options or {})})
        self.client = Endpoint(self.network, "client", **{**common, **(client_options or {})})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.close()

    @property
    def requests(self) -> list[Sent]:
        """What the client sent."""
        return self.network.from_("client")

    @property
    def answers(self) -> list[Sent]:
        """What the server sent."""
        return self.network.from_("server")

    def drop_next(self, wanted: Callable[[Sent], bool], count: int = 1) -> None:
        """Lose the next datagrams of which ``wanted`` is true."""
        left = count

        def drop(sent: Sent) -> bool:
            nonlocal left
            if left and wanted(sent):
                left -= 1
                return True
            return False

        self.network.drop = drop
