"""The seams between the rooms: what a layer may know of its neighbours (the contracts of the design, section 3).

Calls go down by method and up by ``dispatch_*``. Everything here is a protocol or a base class without behaviour of its
own, so that any layer can be driven in a test by a few lines that stand in for its neighbours. Who implements what::

    RequestProvider     context.Context                 Resource            resources.Resource
    RequestInterface    core.tokens.TokenManager        ResourceTree        resources.Site
    RequestHandler      core.serving.Server             ServerObservation   core.observe.Observation
    PlumbingRequest     core.plumbing.RequestPipe       IncomingPlumbing    core.tokens.IncomingRequest
    TokenInterface      core.messages.MessageManager, oscore.layer.OscoreLayer
    MessageDispatcher   core.messages.MessageManager (what a MessageInterface sees above it)
    TokenDispatcher     core.tokens.TokenManager, oscore.layer.OscoreLayer (what a TokenInterface sees above it)
    MessageInterface    transports.udp.UdpInterface, transports.dtls.DtlsInterface

The base classes of what travels with a message (its address, its exchange) are in `securecoap.travelling`, and have
their names here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from securecoap.travelling import EndpointAddress, Exchange, ResponseSlot

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from typing import TypeAlias

    from securecoap.wire.message import Message

    Cancel: TypeAlias = Callable[[], None]

__all__ = [
    "DirectInterface", "DirectObservation", "DirectResource", "EndpointAddress", "Exchange", "IncomingPlumbing",
    "MessageDispatcher", "MessageInterface", "Observable", "PlumbingRequest", "Randomness", "Request", "RequestHandler",
    "RequestInterface", "RequestProvider", "Resource", "ResourceTree", "ResponseSlot", "Scheduler",
    "ServerObservation", "Timer", "TokenDispatcher", "TokenInterface",
]  # fmt: skip

T = TypeVar("T")


class Timer(Protocol):
    """What `Scheduler.call_at` returns."""

    def cancel(self) -> None:
        """Do not call any more; harmless when called already."""


class Scheduler(Protocol):
    """Time and the order of work, as the core uses them. An asyncio event loop is one; tests bring a virtual one."""

    def time(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call at that time."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call after what is being done now."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this scheduler."""

    def create_task(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine."""


class Randomness(Protocol):
    """Where randomness comes from: ``random.SystemRandom()`` in use, a seeded ``random.Random`` in tests."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between ``a`` and ``b``."""

    def randbytes(self, n: int, /) -> bytes:
        """``n`` bytes."""


class MessageInterface(Protocol):
    """Exchanges addressed messages over an unreliable transport."""

    def send(self, message: Message) -> None:
        """Send to ``message.remote``; ``message.encode()`` is the datagram. Losses are not reported."""

    def recognize_remote(self, message: Message) -> EndpointAddress | None:
        """As `determine_remote`, where that takes no waiting, and nothing is made or sent; ``None``: ask that one."""

    async def determine_remote(self, message: Message) -> EndpointAddress | None:
        """The address for the message's URI or ``unresolved_remote``, ready for use (a DTLS handshake is complete).

        ``None`` when this interface does not carry that scheme.

        Raises:
            Unreachable: the name does not resolve here.
            HandshakeFailed: no secure session came about.
            CredentialsMissing: a credential is needed and there is none.
        """

    async def shutdown(self) -> None:
        """Release everything: afterwards there is no open socket, timer or task."""


class DirectInterface(MessageInterface, Protocol):
    """A `MessageInterface` that spares a message for each answer."""

    def send_datagram(self, datagram: bytes, remote: EndpointAddress) -> object:
        """Send what is a message already, and is itself never answered: an acknowledgement or a Reset."""


class MessageDispatcher(Protocol):
    """What a `MessageInterface` sees above it."""

    client_credentials: Any
    """The `CredentialsMap` for outgoing requests, or ``None``."""

    def dispatch_message(self, message: Message) -> bool:
        """A message came in. Returns whether it meant something."""

    def dispatch_malformed(self, datagram: bytes, remote: EndpointAddress) -> None:
        """Bytes came in that are no message (RFC 7252 section 4.2: a Confirmable one is rejected)."""

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """Everything with this peer has ended (an ``errno`` or the reason)."""

    def dispatch_quoted_error(self, error: Exception, remote: EndpointAddress, datagram: bytes) -> None:
        """The network returned (the beginning of) one datagram of ours; only its exchange ends (section 4.2)."""


class TokenInterface(Protocol):
    """Carries messages that have tokens, with or without reliability below."""

    def send_message(self, message: Message) -> Cancel | None:
        """Send a request or response; what comes of it is told to ``message.exchange``.

        The message is the caller's gift: type, Message ID and datagram are set on it. Returns what to call when
        interest in the message ends (it is then not retransmitted any more), or ``None``.
        """

    def recognize_remote(self, message: Message) -> bool:
        """As `fill_or_recognize_remote`, where that takes no waiting; ``False``: ask that one."""

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        """Set ``message.remote`` if this interface carries the message, ready for use; ``False`` if it does not.

        Raises:
            RequestFailed, CredentialsMissing, StateError: it should, and cannot.
        """


class TokenDispatcher(Protocol):
    """What a `TokenInterface` sees above it."""

    def dispatch_message(self, message: Message) -> bool:
        """A request or response came in. ``False``: it means nothing here, and becomes a Reset."""

    def dispatch_error(self, error: Exception | int, remote: EndpointAddress) -> None:
        """Everything with this peer has ended."""


class PlumbingRequest(Protocol):
    """One request on its way: any number of responses, or an exception, until the interest in them is lost."""

    request: Message

    def add_response(self, message: Message, *, is_last: bool = True) -> None:
        """Answer; after the last one nothing more is taken. The message is not changed and may be shared."""

    def add_exception(self, error: Exception) -> None:
        """There will be no (further) response."""

    def on_interest_end(self, callback: Cancel) -> None:
        """Call this when the other side does not want responses any more."""


class RequestInterface(Protocol):
    """Sends requests and matches what comes back."""

    def request(self, request: PlumbingRequest) -> None:
        """Send ``request.request``, whose remote is known; responses and failures are added to ``request``."""

    async def fill_or_recognize_remote(self, message: Message) -> bool:
        """As `TokenInterface.fill_or_recognize_remote`."""


class IncomingPlumbing(PlumbingRequest, Protocol):
    """A `PlumbingRequest` that came from a peer."""

    was_answered: bool
    """Whether a response was sent already."""

    @property
    def is_confirmable(self) -> bool:
        """Whether it came as a Confirmable message; separate responses then do too."""

    def on_interest_end(self, callback: Cancel, fate: Exchange | None = None) -> None:
        """As that of every `PlumbingRequest`; ``fate`` of the first one hears what becomes of the responses."""

    def suppress_response(self) -> None:
        """There will be no response; an acknowledgement that is due still goes out."""

    def failed(self, error: Exception) -> None:
        """A response was rejected or never acknowledged: interest has ended."""


class RequestHandler(Protocol):
    """Takes incoming requests."""

    def handle(self, incoming: IncomingPlumbing) -> None:
        """Answer the request, now or later."""

    def reduce(self, request: Message, response: Message, fits: Callable[[Message], bool]) -> Message | None:
        """The largest first block of a response that fits; ``None`` if none does. The rest can be asked for."""

    def discard_peer(self, remote: EndpointAddress) -> None:
        """This address is never used again: let go of what is kept for it."""


class Request(Protocol):
    """A request under way, for the application."""

    response: asyncio.Future[Message]
    """The (first) response; present from creation. Cancelling it ends the request."""
    observation: AsyncIterator[Message] | None
    """The notifications, if the request has Observe=0; it can be cancelled."""


class RequestProvider(Protocol):
    """Sends requests for an application, with everything that a request may need."""

    def request(self, message: Message) -> Request:
        """Send; the message is not changed."""


class Resource(Protocol):
    """Something that can be requested. `securecoap.Resource` is the usual base class."""

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        """Whether `render` wants whole bodies; otherwise it sees every block by itself."""

    async def render(self, request: Message) -> Message:
        """The response; it has a code and nothing of the message layer.

        Raises:
            ErrorResponse: becomes the response.
        """


class DirectResource(Resource, Protocol):
    """A resource that spares the coroutines where it can, so that a plain handler costs no task."""

    assembles_bodies: bool | None
    """The answer of `needs_blockwise_assembly` for every request; ``None`` if it has to be asked."""
    is_observable: bool
    """Whether it has `Observable.add_observation`."""

    def dispatch(self, request: Message) -> Message | Coroutine[Any, Any, Message]:
        """As `render`, at once if the handler is a plain function.

        Raises:
            ErrorResponse: becomes the response.
        """


class ResourceTree(Protocol):
    """Resources by their paths; what `Site` is for the server."""

    def find(self, path: tuple[str, ...]) -> tuple[Resource, Mapping[str, str]] | None:
        """The resource that serves a path and what its template's names stand for, or ``None``."""


class ServerObservation(Protocol):
    """One client's wish to be told of changes, as a resource sees it."""

    def accept(self, cancellation_callback: Cancel) -> None:
        """Take it; the callback is called once when it ends."""

    def trigger(self, response: Message | None = None, *, is_last: bool = False) -> None:
        """Render again and notify, or send the response given."""


class DirectObservation(ServerObservation, Protocol):
    """A `ServerObservation` that can be told of a change together with others."""

    def notify(self, change: object) -> None:
        """Render again and notify, now or when the client has acknowledged what it was sent before.

        Args:
            change: the same object for all that are told of the same change: those that would get the same share one
                rendering, so the state must not change again without another call.
        """


class Observable(Resource, Protocol):
    """A resource that takes observations."""

    async def add_observation(self, request: Message, server_observation: ServerObservation) -> None:
        """May call ``server_observation.accept``; otherwise the request is answered once."""
