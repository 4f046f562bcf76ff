"""Client and server with EDHOC credentials on a simulated network, and what they say to each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from securecoap.config import Limits, TransportParameters
from securecoap.keyring import Keyring
from securecoap.resources import ObservableResource, Resource, Site
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.endpoints import Endpoint, Pair

from . import material

if TYPE_CHECKING:
    from securecoap.edhoc.endpoint import EdhocEndpoint
    from tests.simulation.network import Sent

OSCORE, EDHOC = 1 << numbers.OSCORE, 1 << numbers.EDHOC


class Who(Resource):
    """Says who asks, and counts what is carried out."""

    def __init__(self) -> None:
        self.executed: list[bytes] = []

    def render_get(self, request: Message) -> Message:
        return Message(payload=" ".join((request.remote.security, *request.remote.authenticated_claims)).encode())

    def render_post(self, request: Message) -> Message:
        self.executed.append(request.payload)
        return Message(payload=request.payload)

    async def render_put(self, request: Message) -> Message:
        await asyncio.sleep(float(request.payload or b"0"))
        return self.render_post(request)


class Door(ObservableResource):
    state = b"open"

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.state)

    def set(self, state: bytes) -> None:
        self.state = state
        self.changed()


class Agreed(Pair):
    """A pair whose endpoints have keyrings.

    Args:
        client, server: credentials; by default those of `material`.
        outside: an endpoint without any.
        seed, limits, parameters, network: see `Pair`.
    """

    def __init__(
        self,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        seed: int = 0,
        *,
        limits: Limits | None = None,
        parameters: TransportParameters | None = None,
        **network: Any,
    ) -> None:
        self.who, self.door = Who(), Door()
        self.site = Site()
        self.site.add("/who", self.who)
        self.site.add("/door", self.door)
        self._settings = {"limits": limits or Limits(), "parameters": parameters or TransportParameters(nstart=16)}
        self.client_credentials = material.client() if client is None else client
        self.server_credentials = material.server() if server is None else server
        self.keyrings = self._keyring(self.client_credentials), self._keyring(self.server_credentials, "::1")
        super().__init__(
            self._tree(),
            seed,
            client_options={"contexts": self.keyrings[0]},
            server_options=self._server_options(),
            **self._settings,
            **network,
        )
        self.outside = Endpoint(self.network, "outside", seed=seed, **self._settings)
        for keyring, endpoint in zip(self.keyrings, (self.client, self.server), strict=True):
            keyring.add_layer(endpoint.oscore)

    def _tree(self) -> Any:
        def make_echo(remote: Any) -> bytes:
            return self.server.echo.make(remote)

        return self.keyrings[1].tree(self.site, make_echo)

    def _keyring(self, credentials: dict[str, Any], *bound: str) -> Keyring:
        made = Keyring(
            credentials, state=None, strict_state=False, names=("server",), bound=bound, wait=1.0, **self._settings
        )
        made.attach(asyncio.get_running_loop())
        return made

    def _server_options(self) -> dict[str, Any]:
        access = self.keyrings[1].access
        assert access is not None
        return {"contexts": self.keyrings[1], "authorize": access.authorize}

    async def __aexit__(self, *_: object) -> None:
        await self.outside.close()
        await super().__aexit__()
        for keyring in self.keyrings:
            await keyring.close()

    async def restart_server(self, seed: int = 99) -> None:
        """The server dies, and comes back with the same credentials and nothing else."""
        await self.server.close()
        await self.keyrings[1].close()
        self.keyrings = self.keyrings[0], self._keyring(self.server_credentials, "::1")
        self.server = Endpoint(
            self.network, "server", self._tree(), seed=seed, **self._settings,
            **self._server_options(),
        )  # fmt: skip
        self.keyrings[1].add_layer(self.server.oscore)

    @property
    def initiator(self) -> EdhocEndpoint:
        assert self.keyrings[0]._edhoc is not None
        return self.keyrings[0]._edhoc

    @property
    def responder(self) -> EdhocEndpoint:
        assert self.keyrings[1]._edhoc is not None
        return self.keyrings[1]._edhoc

    def sent(self, what: str) -> list[Sent]:
        """Different datagrams of the client: ``message_1``, ``message_3`` alone, ``combined``, or ``plain``."""
        found = {sent.data: sent for sent in self.requests if 0 < sent.code < 32 and kind(sent.message) == what}
        return list(found.values())


def kind(message: Message) -> str:
    present = message.options.present
    if present & OSCORE:
        return "combined" if present & EDHOC else "oscore"
    if message.options.uri_path == (".well-known", "edhoc"):
        return "message_1" if message.payload[:1] == b"\xf5" else "message_3"
    return "plain"


async def post_edhoc(pair: Pair, payload: bytes, **options: Any) -> Message:
    """A message to the server's resource, from somebody who has no credentials."""
    return await pair.outside.request(edhoc_message(payload, **options)).response


def edhoc_message(payload: bytes, **options: Any) -> Message:
    message = Message(Code.POST, payload, **options)
    message.scheme, message.unresolved_remote = "coap", "server"
    message.options.uri_path = (".well-known", "edhoc")
    return message
