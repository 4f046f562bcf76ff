"""The layers over one socket, put together: interface, message layer, outer blocks, OSCORE, tokens.

What a layer does is not decided here, and neither is which socket is opened when: that is `securecoap.context`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from securecoap.binds import parse_bind
from securecoap.core.draining import drain
from securecoap.core.messages import MessageManager
from securecoap.core.outer_blocks import OuterBlocks
from securecoap.core.tokens import TokenManager
from securecoap.oscore.layer import OscoreLayer
from securecoap.tracing import TracedProtection, TracedTokens
from securecoap.transports.udp import UdpInterface
from securecoap.transports.udp_traced import TracedUdpInterface

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

    from securecoap.core.cache import ResponseCache
    from securecoap.core.echo import EchoValues
    from securecoap.core.serving import Server
    from securecoap.interfaces import MessageDispatcher, MessageInterface, Randomness, RequestHandler
    from securecoap.keyring import Keyring
    from securecoap.settings import ClientSettings, ServerSettings
    from securecoap.tracing import Tracer
    from securecoap.workers.seat import Seat

__all__ = ["Stack", "StackBuilder", "drain_stacks"]

_SETTLING: Final = 5.0
"""Seconds for acknowledgements at the end: the first retransmission comes after three at most."""


class Stack:
    """The layers over one socket.

    Attributes:
        scheme: ``coap`` or ``coaps``.
        manager: the message layer; its ``interface`` has the socket.
        outer: what a proxy cut up.
        tokens: the uppermost layer, to which requests go.
    """

    def __init__(self, scheme: str, manager: MessageManager, outer: OuterBlocks, tokens: TokenManager) -> None:
        self.scheme = scheme
        self.manager = manager
        self.tokens = tokens
        self.outer = outer

    async def shutdown(self) -> None:
        """End everything that is under way, and close the socket."""
        self.tokens.close()
        self.manager.close()
        self.outer.close()
        await self.manager.interface.shutdown()


class StackBuilder:
    """Makes the stacks of one endpoint; all of them share what is given here.

    Args:
        settings: what the endpoint was told.
        keyring: credentials and security contexts.
        server: answers what comes in.
        echo: makes and checks Echo values.
        randomness: for Message IDs, tokens and time-outs.
        loop: time, and reads sockets.
        cache: told of addresses that are never used again.
    """

    def __init__(
        self,
        settings: ClientSettings | ServerSettings,
        keyring: Keyring,
        server: Server,
        echo: EchoValues,
        randomness: Randomness,
        loop: asyncio.AbstractEventLoop,
        cache: ResponseCache | None,
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        measure = getattr(settings, "measure", None)
        self._handler: RequestHandler = server if measure is None else measure(server)
        self._echo = echo
        self._random = randomness
        self._loop = loop
        self._cache = cache
        self._inherited: dict[tuple[str, str, int], socket.socket] = {}
        for uri, sock in getattr(settings, "sockets", {}).items():
            bind = parse_bind(uri)
            self._inherited[bind.scheme, bind.host, bind.port] = sock

    def open(self, scheme: str, host: str, port: int, *, is_client: bool = False) -> Stack:
        """A stack over a new socket.

        Raises:
            Unreachable: the address cannot be bound.
            ConfigurationError: there is no such DTLS engine.
        """
        loop, randomness, echo, limits = self._loop, self._random, self._echo, self._settings.limits
        parameters, credentials = self._settings.parameters, self._keyring.credentials
        manager = MessageManager(loop, randomness, echo, parameters, limits, credentials)
        outer = OuterBlocks(manager, loop, randomness, limits, parameters)
        oscore = OscoreLayer(outer, self._keyring, loop, randomness, limits, self._settings.events)
        tokens = TokenManager(oscore, self._handler, randomness, echo, limits, self._cache)
        manager.above = outer
        outer.above = oscore
        oscore.above = tokens
        manager.above_plain, tokens.below_plain = tokens, manager
        manager.above_protected = oscore.dispatch_request
        oscore.requests = tokens
        if self._settings.tracer is not None:
            _trace(oscore, tokens, self._settings.tracer)
        manager.interface = self._open_interface(scheme, host, port, manager, is_client=is_client)
        self._keyring.add_layer(oscore)
        return Stack(scheme, manager, outer, tokens)

    def _open_interface(
        self, scheme: str, host: str, port: int, above: MessageDispatcher, *, is_client: bool
    ) -> MessageInterface:
        settings, keyring = self._settings, self._keyring
        inherited = self._inherited.pop((scheme, host, port), None)
        tracer = settings.tracer
        if scheme == "coap":
            return _udp_interface(tracer)(
                host,
                port,
                above,
                self._loop,
                packet_info=not is_client,
                limits=settings.limits,
                inherited=inherited,
            )
        # The engine is imported only where there is DTLS.
        from securecoap.transports.dtls import DtlsInterface  # noqa: PLC0415
        from securecoap.transports.dtls_traced import TracedDtlsInterface  # noqa: PLC0415
        from securecoap.transports.key_log import key_log_file  # noqa: PLC0415

        kind = DtlsInterface if tracer is None else partial(TracedDtlsInterface, tracer=tracer)
        return kind(
            host,
            port,
            above,
            self._loop,
            select=keyring.select_dtls,
            find_psk=None if is_client else keyring.find_psk,
            find_peers=keyring.find_dtls_peers,
            identity_hint=None if keyring.credentials is None else keyring.credentials.identity_hint,
            limits=settings.limits,
            events=settings.events,
            parameters=settings.parameters,
            engine=settings.engine,
            key_log=None if settings.keylog is None else key_log_file(settings.keylog),
            packet_info=not is_client,
            inherited=inherited,
            **({} if is_client else self._shared()),
        )

    def _shared(self) -> dict[str, Any]:
        """What a DTLS interface is told where several processes have its port."""
        seat: Seat | None = getattr(self._settings, "seat", None)
        if seat is None:
            return {}
        from securecoap.dtls.parameters import DtlsParameters  # noqa: PLC0415  # as above

        credentials = self._keyring.credentials
        dtls = DtlsParameters(
            identity_hint=None if credentials is None else credentials.identity_hint,
            limits=self._settings.limits,
            worker=seat.number,
            shared_secret=seat.secret,
        )
        return {"dtls": dtls, "share": seat.share}


def _udp_interface(tracer: Tracer | None) -> Callable[..., UdpInterface]:
    return UdpInterface if tracer is None else partial(TracedUdpInterface, tracer=tracer)


def _trace(oscore: OscoreLayer, tokens: TokenManager, tracer: Tracer) -> None:
    """Show what OSCORE is given to protect, and what it has verified."""
    oscore.above = TracedTokens(tokens, tracer)
    tokens.below = TracedProtection(oscore, tracer)


async def drain_stacks(server: Server, stacks: Sequence[Stack], seconds: float) -> None:
    """Bring to an end what peers have under way on these stacks; see `securecoap.core.draining.drain`."""
    await drain(
        server,
        lambda: [one for stack in stacks for one in stack.tokens.incoming()],
        lambda: all(stack.manager.is_settled for stack in stacks),
        lambda: max((stack.outer.used_at for stack in stacks), default=float("-inf")),
        seconds,
        _SETTLING,
    )
