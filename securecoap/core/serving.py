"""From an incoming request to its response: access, routing, blocks, observation, errors (RFC 7252 section 5).

A plain request for a plain handler goes straight through `Server.handle`; what needs more takes the longer way. The
server knows resources by their contract only, and addresses only as what they claim. Errors of handlers are logged here
and never leave as more than 5.00.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from securecoap.config import Limits, TransportParameters
from securecoap.core.blockwise import Assemblies
from securecoap.core.gate import Gate, admit
from securecoap.core.notifications import SEQUENCE_RATE
from securecoap.core.observations import Observations
from securecoap.core.observe import Observation, Rendering, is_registration
from securecoap.core.problems import error_message, nothing_there
from securecoap.core.tasks import start
from securecoap.errors import BadRequest, ErrorResponse, ServiceUnavailable
from securecoap.events import HANDLER_FAILED, Events
from securecoap.wire import numbers
from securecoap.wire.block import BERT_EXPONENT
from securecoap.wire.codes import BODILESS_METHODS, SAFE_METHODS, Code
from securecoap.wire.message import Message, NoResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from securecoap.core.answering import IncomingRequest
    from securecoap.core.echo import EchoValues
    from securecoap.interfaces import EndpointAddress, IncomingPlumbing, Randomness, Resource, ResourceTree, Scheduler

    _Answered: TypeAlias = IncomingPlumbing | Observation | Rendering  # what a resource is rendered for

__all__ = ["Server"]

_logger = logging.getLogger(__name__)

# Options that decide whether the request is ours at all ...
_GATE: Final = sum(
    1 << number for number in (numbers.URI_HOST, numbers.PROXY_URI, numbers.PROXY_SCHEME, numbers.HOP_LIMIT)
)
# ... and those that take it off the short way.
_SPECIAL: Final = sum(1 << number for number in (numbers.BLOCK1, numbers.BLOCK2, numbers.OBSERVE))
_UNUSUAL: Final = _GATE | _SPECIAL
_BLOCKS: Final = 1 << numbers.BLOCK1 | 1 << numbers.BLOCK2
_OBSERVE: Final = 1 << numbers.OBSERVE


class Server:
    """Answers incoming requests from a tree of resources; a `RequestHandler`.

    Args:
        root: a `ResourceTree` (a Site), one `Resource` for every path, or ``None`` for a pure client (4.04 then).
        scheduler: time and tasks.
        randomness: for the first observe sequence number, where ``now`` is not given.
        echo: makes and checks Echo values, for resources that want fresh requests.
        authorize: called with each request before anything else looks at it; raises `ErrorResponse` to refuse.
        is_own_name: whether a Uri-Host (lower case) is this server, at the address the request came in on.
        names_method: whether the policy names the method of a request, for resources that take no others.
        limits: bounds; uses those of bodies, observations and ``requests_under_way``.
        parameters: EXCHANGE_LIFETIME is how long unfinished bodies are kept; uses ``unacknowledged_notifications``.
        now: seconds since any fixed time, also for the next process: the order of notifications outlives a restart.
        events: told of handlers that fail.

    Attributes:
        find: the resource of a path and the values of its parameters; ``None`` where there is nothing.
        assemblies: bodies that come and go in blocks.
    """

    def __init__(
        self,
        root: ResourceTree | Resource | None,
        scheduler: Scheduler,
        randomness: Randomness,
        echo: EchoValues,
        *,
        authorize: Callable[[Message], None] | None = None,
        is_own_name: Callable[[str, EndpointAddress], bool] | None = None,
        names_method: Callable[[Message], bool] | None = None,
        limits: Limits | None = None,
        parameters: TransportParameters | None = None,
        now: float | None = None,
        events: Events | None = None,
    ) -> None:
        self.find: Callable[[tuple[str, ...]], tuple[Any, Mapping[str, str]] | None]
        self.use(root)
        self._scheduler = scheduler
        self._gate = Gate(echo, authorize, is_own_name, names_method)
        self._authorize = authorize
        self._limits = limits or Limits()
        self._events = events or Events(scheduler.time)
        parameters = parameters or TransportParameters()
        exponent = parameters.block_exponent
        self._largest_payload = 16 << exponent
        self.assemblies = Assemblies(self._limits, parameters.exchange_lifetime, scheduler, exponent)
        first_number = int.from_bytes(randomness.randbytes(3), "big") if now is None else int(now * SEQUENCE_RATE)
        self._observations = Observations(self._limits, parameters, scheduler, first_number, self._render_change)
        self._tasks: set[asyncio.Task[Any]] = set()

    def use(self, root: ResourceTree | Resource | None) -> None:
        """Answer from these resources from now on."""
        self.find = getattr(root, "find", None) or (lambda _path: None if root is None else (root, {}))

    def refuse_new(self, refuse: Callable[[Message], None]) -> None:
        """From now on ask this, too, about each request that the policy lets in; it raises `ErrorResponse`."""
        authorize = self._authorize

        def both(request: Message) -> None:
            if authorize is not None:
                authorize(request)
            refuse(request)

        self._authorize = both

    @property
    def observation_count(self) -> int:
        """Observations that are registered."""
        return len(self._observations)

    def handle(self, incoming: IncomingPlumbing) -> None:
        """Answer a request, now or later. See `RequestHandler.handle`."""
        request = incoming.request
        options = request.options
        unusual = options.present & _UNUSUAL
        try:
            if unusual & _GATE:
                self._gate.check_target(request)
            if self._authorize is not None:
                self._authorize(request)
            find = self.find
            found = find(options.known_path or options.uri_path)
            if found is None:
                raise nothing_there(request)  # noqa: TRY301  # answered like any handler's error
            resource, parameters = found
            if (
                request.code not in SAFE_METHODS
                and (
                    getattr(resource, "fresh_within", None) is not None
                    or getattr(resource, "takes_named_methods_only", False)
                )
                and (challenge := self._gate.challenge(request, resource)) is not None
            ):
                incoming.add_response(challenge)
                return
            if parameters:
                request.parameters = parameters
            if request.payload and request.code in BODILESS_METHODS:
                request.payload = b""  # section 5.5: it means nothing, so no handler gets to see it
            if unusual & _SPECIAL:
                admit(resource, request)
                if not unusual & _BLOCKS:
                    self._observed(incoming, resource)
                elif getattr(resource, "assembles_bodies", None) is True:
                    self._assembled(incoming, resource)
                else:
                    self._handle_blocks(incoming, resource)
                return
            dispatch = getattr(resource, "dispatch", None)
            result = resource.render(request) if dispatch is None else dispatch(request)
        except ErrorResponse as error:
            incoming.add_response(error_message(error, incoming.request))
        except Exception as error:  # noqa: BLE001  # a handler may raise anything, and the server goes on
            self._crashed(incoming, error)
        else:
            if type(result) is Message and len(result.payload) <= self._largest_payload and result is not NoResponse:
                incoming.add_response(result)
            else:
                self._finish(incoming, result, self._respond)

    # The longer way.

    def _handle_blocks(self, incoming: IncomingPlumbing, resource: Resource) -> None:
        """A resource that wants each block by itself, or that has to be asked about it."""
        request = incoming.request
        block1, block2 = request.options.block1, request.options.block2
        if block2 is not None and block2.size_exponent == BERT_EXPONENT:
            raise BadRequest("block size exponent 7 is not for this transport")
        if block1 is None and (block2 is None or block2.number == 0):
            self._assembled(incoming, resource)
        elif getattr(resource, "assembles_bodies", None) is False:
            self._observed(incoming, resource)
        else:

            def decided(whole: bool) -> None:
                (self._assembled if whole else self._observed)(incoming, resource)

            self._run(incoming, resource.needs_blockwise_assembly(request), decided)

    def _assembled(self, incoming: IncomingPlumbing, resource: Resource) -> None:
        """Go on with whole bodies (RFC 7959 section 2.4 and 2.5)."""
        answer = self.assemblies.receive(incoming.request)
        if answer is None:
            self._observed(incoming, resource)
        else:
            incoming.add_response(answer)

    def _observed(self, incoming: IncomingPlumbing, resource: Resource) -> None:
        """Register an observation if one is asked for and taken, and render."""
        request = incoming.request
        if (
            request.options.present & _OBSERVE
            and is_registration(request)
            and getattr(resource, "is_observable", None) is not False
            and (add := getattr(resource, "dispatch_observation", None) or getattr(resource, "add_observation", None))
            and (observation := self._observations.register(incoming, resource)) is not None
        ):
            try:
                registration = add(request, observation)
            except BaseException:
                observation.end()
                raise
            if registration is None:
                self._registered(observation, resource)
            else:
                self._register_later(observation, resource, registration)
        else:
            self._render(incoming, resource, self._respond)

    def _register_later(
        self, observation: Observation, resource: Resource, registration: Coroutine[Any, Any, Any]
    ) -> None:
        self._run(
            observation.incoming,
            registration,
            lambda _: self._registered(observation, resource),
            lambda _, response: observation.decline(response),
        )

    def _registered(self, observation: Observation, resource: Resource) -> None:
        if observation.callback is None:  # it was not accepted, or has ended already
            observation.end()
            self._render(observation.incoming, resource, self._respond)
        elif observation.rendering is None and not observation.incoming.was_answered:  # nothing changed meanwhile
            self._render(observation, resource, Observation.respond)
        else:
            observation.trigger()

    def _render_change(self, rendering: Rendering, resource: Resource) -> None:
        self._render(rendering, resource, Rendering.respond)

    def _render(
        self,
        incoming: _Answered,
        resource: Resource,
        respond: Callable[[Any, Message], object],
    ) -> None:
        dispatch = getattr(resource, "dispatch", None)
        try:
            result = resource.render(incoming.request) if dispatch is None else dispatch(incoming.request)
        except ErrorResponse as error:
            respond(incoming, error_message(error, incoming.request))
        except Exception as error:  # noqa: BLE001  # a handler may raise anything, and the server goes on
            self._crashed(incoming, error, respond)
        else:
            if type(result) is Message:
                respond(incoming, result)
            else:
                self._finish(incoming, result, respond)

    def _finish(
        self,
        incoming: _Answered,
        result: object,
        respond: Callable[[Any, Message], object],
    ) -> None:
        """Answer with what a handler returned, or will return."""
        if isinstance(result, Message):
            respond(incoming, result)
        elif isinstance(result, Coroutine):
            self._run(incoming, result, lambda response: self._finish(incoming, response, respond), respond)
        else:
            self._crashed(incoming, TypeError(f"a handler returned {type(result).__name__}, not a Message"), respond)

    def _respond(self, incoming: IncomingPlumbing, response: Message) -> None:
        """Send a response, or the block of it that the client asks for or can take."""
        if response is NoResponse:
            incoming.suppress_response()
            return
        try:
            response = self.assemblies.respond(incoming.request, response)
        except ErrorResponse as error:
            response = error_message(error, incoming.request)
        incoming.add_response(response)

    # Work that waits.

    def _run(
        self,
        incoming: _Answered,
        coroutine: Coroutine[Any, Any, Any],
        done: Callable[[Any], object],
        respond: Callable[[Any, Message], object] | None = None,
    ) -> None:
        """Run a coroutine for a request, go on with its result, and cancel it when the client loses interest."""
        respond = respond or _answer
        if len(self._tasks) >= self._limits.requests_under_way:
            self._limits.reached("requests_under_way")
            coroutine.close()
            respond(incoming, error_message(ServiceUnavailable(max_age=5), incoming.request))
            return

        def finished(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                if task.cancelling():  # by us, because nobody wants the response any more
                    incoming.suppress_response()
                else:
                    self._crashed(incoming, asyncio.CancelledError("the handler cancelled itself"), respond)
                return
            error = task.exception()
            if error is None:
                error = self._attempt(done, task.result())
            if isinstance(error, ErrorResponse):
                respond(incoming, error_message(error, incoming.request))
            elif error is not None:
                self._crashed(incoming, error, respond)

        task = start(self._scheduler, coroutine)
        if task.done():
            finished(task)
        else:
            self._tasks.add(task)
            incoming.on_interest_end(lambda: _cancel(task))
            task.add_done_callback(finished)

    @staticmethod
    def _attempt(done: Callable[[Any], object], result: object) -> Exception | None:
        try:
            done(result)
        except Exception as error:  # noqa: BLE001  # as in `handle`
            return error
        return None

    def _crashed(
        self,
        incoming: _Answered,
        error: BaseException,
        respond: Callable[[Any, Message], object] | None = None,
    ) -> None:
        """5.00 for the client; the cause, with its traceback, for the log."""
        code = incoming.request.code
        path = "/" + "/".join(incoming.request.options.uri_path)
        text = f"the handler for {code} {path!r} failed"  # !r: the peer chose the path
        self._events.report(HANDLER_FAILED, type(error).__name__, text, error=error)
        (respond or _answer)(incoming, Message(Code.INTERNAL_SERVER_ERROR))

    def reduce(self, request: Message, response: Message, fits: Callable[[Message], bool]) -> Message | None:
        """A smaller first block of a response. See `RequestHandler.reduce`."""
        return self.assemblies.reduce(request, response, fits)

    def review(self, under_way: Iterable[IncomingRequest]) -> None:
        """Ask again whether what is under way is allowed: what is not ends with its 4.01 or 4.03.

        For a policy that has changed. Handlers are cancelled; of a body that is being sent the next block is refused.
        """
        review = self._gate.reviewer(self.find)
        if review is None:
            return
        self.assemblies.review(review)
        for incoming in under_way:
            try:
                review(incoming.request)
            except ErrorResponse as error:
                incoming.add_response(error_message(error, incoming.request))
                incoming.end_interest()

    def discard_peer(self, remote: EndpointAddress) -> None:
        """Release the bodies of an address whose session has ended. See `RequestHandler.discard_peer`."""
        self.assemblies.discard_of(remote)

    @property
    def working(self) -> list[asyncio.Task[Any]]:
        """Handlers that still work."""
        return list(self._tasks)

    async def close(self, patience: float = 5.0) -> None:
        """Cancel the handlers that still work, and wait for them, no longer than that many seconds."""
        self.assemblies.close()
        self._observations.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=patience)
            for task in stubborn:
                _logger.error("a handler ignores that it is cancelled: %r", task.get_coro())


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _answer(incoming: Any, response: Message) -> None:
    incoming.add_response(response)
