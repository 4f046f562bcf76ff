"""The one place where layers are put together: an endpoint that is client and server at once (the design, section 4).

For each bound socket there is one stack: interface, message layer, OSCORE, tokens. All stacks share the server, the
security contexts and the credentials. What a layer does is not decided here.
"""

from __future__ import annotations

import asyncio
import random
import weakref
from typing import TYPE_CHECKING, Any, Self

from securecoap.binds import SCHEMES, default_binds, parse_bind, require_dtls, require_loopback
from securecoap.calls import UNSET, Calls, within
from securecoap.config import Limits, TransportParameters
from securecoap.core.client import ClientRequest
from securecoap.core.messages import MessageManager
from securecoap.core.plumbing import Ping
from securecoap.core.serving import Server
from securecoap.core.tokens import TokenManager
from securecoap.errors import ConfigurationError, RequestFailed, Unreachable
from securecoap.keyring import Keyring
from securecoap.oscore.layer import OscoreLayer
from securecoap.transports.udp import UdpInterface
from securecoap.wire.codes import BODILESS_METHODS, Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from securecoap.credentials import CredentialsMap
    from securecoap.interfaces import (
        MessageDispatcher,
        MessageInterface,
        RequestInterface,
        Resource,
        ResourceTree,
    )

__all__ = ["Context"]


class _Stack:
    """Interface, message layer, OSCORE and tokens over one socket."""

    def __init__(self, scheme: str, manager: MessageManager, oscore: OscoreLayer, tokens: TokenManager) -> None:
        self.scheme = scheme
        self.manager = manager
        self.oscore = oscore
        self.tokens = tokens

    async def shutdown(self) -> None:
        self.tokens.close()
        self.manager.close()
        await self.manager.interface.shutdown()


class Context(Calls):
    """An endpoint. Make one with `client` or `server` and use it as an async context manager.

    Attributes:
        endpoints: URIs of what is bound, with their real ports; empty for a client.
        credentials: the `CredentialsMap` in use, or ``None``.
    """

    def __init__(
        self,
        *,
        site: ResourceTree | Resource | None = None,
        bind: Sequence[str] = (),
        credentials: CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None = None,
        state: str | os.PathLike[str] | None = None,
        names: Iterable[str] = (),
        engine: str = "python",
        limits: Limits | None = None,
        parameters: TransportParameters | None = None,
        strict_state: bool = False,
        insecure: bool = False,
        state_wait: float = 10.0,
        keylog: str | os.PathLike[str] | None = None,
    ) -> None:
        self.endpoints: list[str] = []
        self._limits = limits or Limits()
        self._parameters = parameters or TransportParameters()
        self._site = site
        self._binds = [parse_bind(one) for one in bind]
        self._engine = engine
        self._keylog = keylog
        self._random = random.SystemRandom()
        self._keyring = Keyring(
            credentials,
            state=state,
            strict_state=strict_state,
            names=names,
            bound=[one.host for one in self._binds],
            limits=self._limits,
            wait=state_wait,
        )
        self.credentials = self._keyring.credentials
        if self._binds and self.credentials is None and not insecure:
            require_loopback(self._binds)
        require_dtls(self._binds, serves_dtls=self.credentials is not None and self.credentials.serves_dtls)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._stacks: list[_Stack] = []
        self._client_stacks: dict[str, _Stack] = {}
        self._requests: weakref.WeakSet[ClientRequest] = weakref.WeakSet()
        self._closed: asyncio.Event | None = None
        self._is_closing = False

    @classmethod
    def client(
        cls,
        credentials: CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
        site: ResourceTree | Resource | None = None,
        engine: str = "python",
        limits: Limits | None = None,
        parameters: TransportParameters | None = None,
        strict_state: bool = False,
        state_wait: float = 10.0,
        keylog: str | os.PathLike[str] | None = None,
    ) -> Context:
        """An endpoint that sends requests.

        Args:
            credentials: a file, its content as a dict, or a `CredentialsMap`.
            state: directory for what must survive a restart; by default the user's state directory.
            site: answers requests that servers send back over the same sessions.
            engine: of DTLS; ``python`` is the one that this version has.
            limits: bounds of every table.
            parameters: timing of the message layer.
            strict_state: whether a state directory that does not exist yet is an error.
            state_wait: seconds to wait for another process that owns a security context.
            keylog: file to which DTLS secrets are appended (NSS key log format), for debugging.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named.
        """
        return cls(
            credentials=credentials,
            state=state,
            site=site,
            engine=engine,
            limits=limits,
            parameters=parameters,
            strict_state=strict_state,
            state_wait=state_wait,
            keylog=keylog,
        )

    @classmethod
    def server(
        cls,
        site: ResourceTree | Resource,
        bind: Sequence[str] | None = None,
        credentials: CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
        names: Iterable[str] = (),
        engine: str = "python",
        limits: Limits | None = None,
        parameters: TransportParameters | None = None,
        strict_state: bool = False,
        insecure: bool = False,
        state_wait: float = 10.0,
        keylog: str | os.PathLike[str] | None = None,
    ) -> Context:
        """An endpoint that answers requests.

        Args:
            site: the resources.
            bind: URIs of addresses, ``coap://[::]`` and ``coaps://[::]`` by default with credentials, ``coap://[::1]``
                without. Port 0 takes any; a multicast address joins its group.
            names: host names that this server answers to, beside its addresses.
            insecure: whether a server without credentials may be reached from other machines.

        The other arguments are as for `client`.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named.
            ConfigurationError: the binds do not fit the credentials.
        """
        if bind is None:
            bind = default_binds(with_credentials=credentials is not None)
        return cls(
            site=site,
            bind=bind,
            credentials=credentials,
            state=state,
            names=names,
            engine=engine,
            limits=limits,
            parameters=parameters,
            strict_state=strict_state,
            insecure=insecure,
            state_wait=state_wait,
            keylog=keylog,
        )

    # Life.

    async def start(self) -> None:
        """Open state and sockets. ``async with`` does it.

        Raises:
            Unreachable: an address cannot be bound.
            StateError, ContextInUse: durable state cannot be had.
            ConfigurationError: there is no such DTLS engine.
        """
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._keyring.attach(self._loop)
        access = self._keyring.access
        self._server = Server(
            self._site,
            self._loop,
            self._random,
            authorize=None if access is None else access.authorize,
            is_own_name=None if access is None else access.is_own_name,
            limits=self._limits,
            parameters=self._parameters,
        )
        try:
            if self._binds:
                await self._keyring.open_all()  # before the first datagram: replay windows are void now
            for bind in self._binds:
                stack = self._open_stack(bind.scheme, bind.host, bind.port)
                self._stacks.append(stack)
                self.endpoints.append(stack.manager.interface.endpoint)  # type: ignore[attr-defined]  # ours has it
        except BaseException:
            await self.shutdown()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    async def serve_forever(self) -> None:
        """Wait until the context is shut down (or the waiting is cancelled)."""
        if self._closed is None:
            raise ConfigurationError("the context has not been started; use it in 'async with'")
        await self._closed.wait()

    async def drain(self, seconds: float) -> None:
        """Prepare for `shutdown`: refuse new requests with 5.03, and let those under way be answered.

        Args:
            seconds: the longest that it may take.
        """
        if self._server is not None:
            await self._server.drain(seconds)

    async def shutdown(self) -> None:
        """End every request, observation and session, and close state and sockets. Harmless when done already."""
        self._is_closing = True  # a handler that is being cancelled opens nothing any more
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        for request in requests:
            await request.wait_done()
        if self._server is not None:
            await self._server.close()
        stacks, self._stacks, self._client_stacks = [*self._stacks], [], {}
        for stack in stacks:
            await stack.shutdown()
        await self._keyring.close()
        if self._closed is not None:
            self._closed.set()

    def _open_stack(self, scheme: str, host: str, port: int, *, is_client: bool = False) -> _Stack:
        loop, server = self._loop, self._server
        if loop is None or server is None:
            raise ConfigurationError("the context has not been started; use it in 'async with'")
        manager = MessageManager(loop, self._random, self._parameters, self._limits, self._keyring.credentials)
        oscore = OscoreLayer(manager, self._keyring, loop, self._random, self._limits)
        tokens = TokenManager(oscore, server, self._random, self._limits)
        manager.above = oscore
        oscore.above = tokens
        manager.interface = self._open_interface(scheme, host, port, manager, is_client=is_client)
        self._keyring.add_layer(oscore)
        return _Stack(scheme, manager, oscore, tokens)

    def _open_interface(
        self, scheme: str, host: str, port: int, above: MessageDispatcher, *, is_client: bool
    ) -> MessageInterface:
        assert self._loop is not None
        if scheme == "coap":
            return UdpInterface(host, port, above, self._loop, packet_info=not is_client)
        # The engine is imported only where there is DTLS.
        from securecoap.transports.dtls import DtlsInterface  # noqa: PLC0415
        from securecoap.transports.key_log import key_log_file  # noqa: PLC0415

        credentials = self._keyring.credentials
        return DtlsInterface(
            host,
            port,
            above,
            self._loop,
            select=self._keyring.select_dtls,
            find_psk=None if is_client else self._keyring.find_psk,
            identity_hint=None if credentials is None else credentials.identity_hint,
            limits=self._limits,
            parameters=self._parameters,
            engine=self._engine,
            key_log=None if self._keylog is None else key_log_file(self._keylog),
            packet_info=not is_client,
        )

    # Requests.

    def request(self, message: Message) -> ClientRequest:
        """Send a request; see `securecoap.interfaces.Request`. The message is not changed.

        Raises:
            ConfigurationError: the context has not been started, or the message is no request,
                or has a payload that its method does not have.
        """
        if self._loop is None or self._is_closing:
            raise ConfigurationError("the context is not running; use it in 'async with'")
        if message.code is None or not 0 < message.code < 32:
            raise ConfigurationError("a request needs a method as its code")
        if message.payload and message.code in BODILESS_METHODS:
            raise ConfigurationError(f"{Code(message.code).name} has no payload (RFC 7252 section 5.5); FETCH has one")
        request = ClientRequest(message, self._choose, self._loop, self._parameters, self._limits)
        self._requests.add(request)
        return request

    async def _choose(self, message: Message) -> RequestInterface:
        """The stack that carries a message, with the message's remote set."""
        if message.remote is not None:
            for stack in self._stacks:
                if await stack.tokens.fill_or_recognize_remote(message):
                    return stack.tokens
            raise RequestFailed("the remote address belongs to no endpoint of this context")
        scheme = _scheme_of(message)
        self._keyring.select(message)  # fails before anything is opened or resolved
        stack = self._client_stack(scheme)
        if await stack.tokens.fill_or_recognize_remote(message):
            return stack.tokens
        raise Unreachable("no endpoint of this context carries such a request")

    def _client_stack(self, scheme: str) -> _Stack:
        stack = self._client_stacks.get(scheme)
        if stack is None:
            try:
                stack = self._open_stack(scheme, "::", 0, is_client=True)
            except Unreachable:  # a machine without IPv6
                stack = self._open_stack(scheme, "0.0.0.0", 0, is_client=True)  # noqa: S104  # a client's own port
            self._client_stacks[scheme] = stack
            self._stacks.append(stack)
        return stack

    async def ping(self, uri: str, *, timeout: float | None = UNSET) -> None:
        """Ask whether an endpoint is there (RFC 7252 section 4.3); over DTLS this proves the session, too.

        Raises:
            As `get`.
        """
        message = Message(Code.EMPTY, uri=uri)
        if self._loop is None or self._is_closing:
            raise ConfigurationError("the context is not running; use it in 'async with'")
        limit = self._parameters.max_transmit_wait if timeout in (None, UNSET) else timeout
        answer: asyncio.Future[None] = self._loop.create_future()
        cancel = None
        try:
            async with within(limit):
                stack = self._client_stack(_scheme_of(message))
                if not await stack.manager.fill_or_recognize_remote(message):
                    raise Unreachable("no endpoint of this context carries such a request")
                ping = Message(Code.EMPTY)
                ping.remote = message.remote
                ping.exchange = Ping(answer)
                cancel = stack.manager.send_message(ping)
                await answer
        finally:
            if cancel is not None:
                cancel()


def _scheme_of(message: Message) -> str:
    scheme = message.scheme
    if scheme not in SCHEMES:
        raise ConfigurationError(f"a request needs a coap or coaps URI, not {scheme!r}")
    return scheme
