"""An endpoint, client and server at once: its life, its sockets and its requests (the design, section 4).

For each bound socket there is one stack (`securecoap.stacks`), and one for each scheme that is used as a client. All of
them share the server, the security contexts and the credentials. What a layer does is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import weakref
from typing import TYPE_CHECKING, Final, Self

from securecoap.binds import SCHEMES, default_binds, parse_bind, require_dtls, require_loopback
from securecoap.calls import UNSET, Calls, within
from securecoap.core.client import ClientRequest
from securecoap.core.common import Common
from securecoap.core.echo import EchoValues
from securecoap.core.group import GroupRequest
from securecoap.core.plumbing import Ping
from securecoap.core.serving import Server
from securecoap.core.silence import SUCCESS, unwanted_classes
from securecoap.core.transfer import Transfer
from securecoap.errors import CoapError, ConfigurationError, RequestFailed, Unreachable
from securecoap.keyring import Keyring
from securecoap.reloading import Reloading
from securecoap.saved_sessions import SavedSessions
from securecoap.settings import ClientSettings, ServerSettings, state_of_contexts, takes
from securecoap.stacks import Stack, StackBuilder, drain_stacks
from securecoap.statistics import Statistics, count
from securecoap.wire import numbers
from securecoap.wire.codes import BODILESS_METHODS, Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from types import TracebackType

    from securecoap.core.bodies import BodySink, BodySource, Progress
    from securecoap.core.plain import PlainRequest
    from securecoap.interfaces import RequestInterface
    from securecoap.keyring import Source
    from securecoap.wire.uri import ParsedUri

__all__ = ["Context"]

_OBSERVE: Final = 1 << numbers.OBSERVE

_log = logging.getLogger(__name__)
_STATE_PATIENCE: Final = 30.0


class Context(Calls):
    """An endpoint. Make one with `client` or `server` and use it as an async context manager.

    Attributes:
        endpoints: URIs of what is bound, with their real ports; empty for a client.
        credentials: the `CredentialsMap` in use, or ``None``.
    """

    def __init__(self, settings: ClientSettings | ServerSettings) -> None:
        self.endpoints: list[str] = []
        self._settings = settings
        self._binds = _binds_of(settings)
        self._random = random.SystemRandom()
        self._keyring = Keyring(
            settings.credentials,
            state=state_of_contexts(settings),
            strict_state=settings.strict_state,
            names=settings.names if isinstance(settings, ServerSettings) else (),
            bound=[one.host for one in self._binds],
            limits=settings.limits,
            events=settings.events,
            wait=settings.state_wait,
            parameters=settings.parameters,
        )
        self.credentials = self._keyring.credentials
        if settings.engine != "python":
            from securecoap.transports.dtls_engines import require_engine  # noqa: PLC0415  # as DTLS, below

            require_engine(settings.engine, self.credentials, has_key_log=settings.keylog is not None)
        if isinstance(settings, ServerSettings) and self.credentials is None and not settings.insecure:
            require_loopback(self._binds)
        require_dtls(self._binds, serves_dtls=self.credentials is not None and self.credentials.serves_dtls)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._builder: StackBuilder | None = None
        self._stacks: list[Stack] = []
        self._client_stacks: dict[str, Stack] = {}
        self._requests: weakref.WeakSet[ClientRequest | GroupRequest] = weakref.WeakSet()
        self._common: Common | None = None
        self._closed: asyncio.Event | None = None
        self._is_closing = False
        self._reloading: Reloading | None = None
        self._saved_sessions = SavedSessions(settings, self._keyring.access)

    @classmethod
    @takes(ClientSettings)
    def client(cls, settings: ClientSettings) -> Context:
        """An endpoint that sends requests; its arguments are the attributes of `ClientSettings`.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named.
            ConfigurationError: there is no such DTLS engine.
        """
        return cls(settings)

    @classmethod
    @takes(ServerSettings)
    def server(cls, settings: ServerSettings) -> Context:
        """An endpoint that answers requests; its arguments are the attributes of `ServerSettings`.

        Raises:
            CredentialsFault: the credentials are faulty; every fault is named.
            ConfigurationError: the binds do not fit the credentials, or there is no such DTLS engine.
        """
        return cls(settings)

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
        echo = EchoValues(self._random, self._loop.time)
        limits, parameters = self._settings.limits, self._settings.parameters
        has_cache = self._settings.cache
        self._common = Common(
            self._choose, self._loop, parameters, limits, self._random, recognize=self._recognize, has_cache=has_cache
        )
        self._server = Server(
            self._keyring.tree(self._settings.site, echo.make),
            self._loop,
            self._random,
            echo,
            **({} if access is None else access.questions),
            limits=limits,
            parameters=parameters,
            now=time.time(),
            events=self._settings.events,
        )
        self._builder = StackBuilder(
            self._settings, self._keyring, self._server, echo, self._random, self._loop, self._common.cache
        )
        self._reloading = Reloading(self._settings, self._binds, self._keyring, self._server, self._stacks, echo.make)
        try:
            if self._binds:
                await self._keyring.open_all()  # before the first datagram: replay windows are void now
            for bind in self._binds:
                await self._saved_sessions.take(bind)
                stack = self._builder.open(bind.scheme, bind.host, bind.port)
                self._stacks.append(stack)
                await self._saved_sessions.restore(stack.manager.interface)
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

    async def reload(self, source: Source) -> None:
        """Go on with other credentials, all of them or none; nothing is interrupted that they still allow.

        What belongs to a credential that is gone, changed or not valid now ends at once: sessions, requests,
        observations, transfers. Whatever the policy does not allow any more ends with 4.01 or 4.03.

        ``source`` is given as ``credentials`` is, or as several files.

        Raises:
            CredentialsFault, ConfigurationError, StateError: nothing was changed; see `Reloading.reload`.
        """
        if self._reloading is None:
            raise ConfigurationError("the context is not running; use it in 'async with'")
        self.credentials = await self._reloading.reload(source)

    def statistics(self) -> Statistics:
        """What there is at this moment, in numbers; see `securecoap.statistics`."""
        return count(self._stacks, self._server, self._keyring, self._settings.events)

    async def drain(self, seconds: float) -> None:
        """Prepare for `shutdown`: refuse new requests with 5.03, let those under way be answered, end observations.

        Args:
            seconds: that handlers may take, and bodies of which blocks come or go; acknowledgements may take five more
                (`securecoap.core.draining`).
        """
        if self._reloading is not None:
            self._reloading.close()
        if self._server is not None:
            await drain_stacks(self._server, self._stacks, seconds)

    async def shutdown(self) -> None:
        """End every request, observation and session, and close state and sockets. Harmless when done already.

        Whoever ignores that it is cancelled (a handler, or whatever reads or writes a body) is waited for no longer
        than ``close_timeout``, and then finds everything closed. A disk that does not answer gets 30 seconds; what it
        did not save is void, and costs an Echo after the next start.
        """
        self._is_closing = True  # a handler that is being cancelled opens nothing any more
        patience = self._settings.close_timeout
        if self._reloading is not None:
            self._reloading.close()
        requests = [request for request in self._requests if not request.is_done]
        for request in requests:
            request.cancel()
        if self._common is not None:
            self._common.cancel_plain()
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience
        for request in requests:
            await request.wait_done(max(0.0, deadline - clock()))
        if self._common is not None:
            self._common.close()
        if self._server is not None:
            await self._server.close(patience)
        stacks, self._stacks, self._client_stacks = [*self._stacks], [], {}
        await self._saved_sessions.keep(zip(self._binds, (stack.manager.interface for stack in stacks), strict=False))
        for stack in stacks:
            await stack.shutdown()
        try:
            async with asyncio.timeout(_STATE_PATIENCE):
                await self._keyring.close()
        except TimeoutError:
            _log.error("the state of security contexts could not be saved in time; they will begin with Echo")
        self._settings.events.close()
        if self._closed is not None:
            self._closed.set()

    # Requests.

    def request(
        self,
        message: Message,
        *,
        source: BodySource | None = None,
        sink: BodySink | None = None,
        progress: Progress | None = None,
        part: tuple[int, int | None] | None = None,
    ) -> ClientRequest:
        """Send a request; see `securecoap.interfaces.Request`. The message is not changed.

        Args:
            message: what to send, and where.
            source, sink, progress, part: for a body that is not held as a whole; see `Transfer`, and `Calls.download`
                and its like, which are easier.

        Raises:
            ConfigurationError: the context has not been started, or the message is no request,
                or has a payload that its method does not have.
        """
        common = self._common_for(message, has_body=bool(message.payload) or source is not None)
        settings = self._settings
        transfer = Transfer(
            settings.limits.body_bytes,
            common.tags,
            exponent=settings.parameters.block_exponent,
            source=source,
            sink=sink,
            progress=progress,
            part=part,
        )
        request = ClientRequest(message, common, transfer)
        self._requests.add(request)
        return request

    def _take_over(self, plain: PlainRequest) -> ClientRequest:
        """See `Calls`."""
        common = self._common_for(plain.request, has_body=bool(plain.request.payload))
        request = ClientRequest(plain.request, common, begun=plain)
        self._requests.add(request)
        return request

    def request_group(self, message: Message, timeout: float | None = None) -> GroupRequest:
        """Send a request to a group when its responses are iterated over; see `Calls.ask_group`."""
        common = self._common_for(message, has_body=bool(message.payload))
        request = GroupRequest(message, common, timeout)
        self._requests.add(request)
        return request

    def _common_for(self, message: Message, *, has_body: bool) -> Common:
        """What requests have in common, if the context is running and the message a request that can be sent."""
        if self._common is None or self._is_closing:
            raise ConfigurationError("the context is not running; use it in 'async with'")
        if message.code is None or not 0 < message.code < 32:
            raise ConfigurationError("a request needs a method as its code")
        if message.options.present & _OBSERVE and message.options.observe == 0 and unwanted_classes(message) & SUCCESS:
            raise ConfigurationError("an observation whose notifications are not wanted (No-Response)")
        if has_body and message.code in BODILESS_METHODS:
            raise ConfigurationError(f"{Code(message.code).name} has no payload (RFC 7252 section 5.5); FETCH has one")
        return self._common

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

    def _recognize(self, message: Message) -> RequestInterface | None:
        """The stack that carries a message, with the message's remote set, where that takes no waiting."""
        stack = self._client_stacks.get(message.scheme or "")
        if stack is None or message.remote is not None:
            return None
        tokens = stack.tokens
        try:
            # Without credentials there is nothing to be asked but the address.
            if (stack.manager if self._keyring.credentials is None else tokens).recognize_remote(message):
                return tokens
        except CoapError:
            pass  # it is found again, and told, where there is somebody to be told
        message.remote = None
        return None

    def _client_stack(self, scheme: str) -> Stack:
        stack = self._client_stacks.get(scheme)
        if stack is None:
            if self._builder is None or self._is_closing:
                raise ConfigurationError("the context is not running; use it in 'async with'")
            try:
                stack = self._builder.open(scheme, "::", 0, is_client=True)
            except Unreachable:  # a machine without IPv6
                stack = self._builder.open(scheme, "0.0.0.0", 0, is_client=True)  # noqa: S104  # a client's own port
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
        limit = self._settings.parameters.max_transmit_wait if timeout in (None, UNSET) else timeout
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


def _binds_of(settings: ClientSettings | ServerSettings) -> list[ParsedUri]:
    if isinstance(settings, ClientSettings):
        return []
    binds = settings.bind
    if binds is None:
        binds = default_binds(with_credentials=settings.credentials is not None)
    return [parse_bind(one) for one in binds]


def _scheme_of(message: Message) -> str:
    scheme = message.scheme
    if scheme not in SCHEMES:
        raise ConfigurationError(f"a request needs a coap or coaps URI, not {scheme!r}")
    return scheme
