"""Resource: handlers by method, found with one look-up (RFC 7252 section 5.8, RFC 8132).

What a handler may be is settled when its class is made, so that a request for a plain ``def`` costs one dictionary
look-up and one call, and no task. Default codes, blocks, the access policy and errors are the server's; this module
knows neither paths nor peers.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from securecoap.errors import MethodNotAllowed
from securecoap.resources.negotiation import negotiation
from securecoap.resources.requirements import Demand, demands_of, guarded
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from securecoap.resources.requirements import Claims
    from securecoap.wire.message import Message

    AttributeValue: TypeAlias = str | int | Iterable[str | int] | None
    LinkAttributes: TypeAlias = Mapping[str, AttributeValue]

__all__ = ["Resource"]

_Answer: TypeAlias = "Message | Coroutine[Any, Any, Message]"
_Handler: TypeAlias = "Callable[[Any, Message], _Answer]"

_METHODS: Final = {
    int(code): f"render_{code.name.lower()}"
    for code in (Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.PATCH, Code.IPATCH)
}
_NO_ATTRIBUTES: Final[LinkAttributes] = MappingProxyType({})


class Resource:
    """Something that can be requested: subclass it and write ``render_get``, ``render_put`` and so on.

    The handlers are ``render_get``, ``render_post``, ``render_put``, ``render_delete``, ``render_fetch``,
    ``render_patch`` and ``render_ipatch``, each ``def`` or ``async def``, with the request as the only argument. A
    handler returns a `Message`; its code may be left out (2.05 for GET and FETCH, 2.02 for DELETE, 2.04 otherwise), and
    one and the same message may be returned again and again: nobody changes it. It returns `NoResponse` to leave the
    request unanswered, and raises an `ErrorResponse` (`NotFound`, `BadRequest` …) for an error. A method without
    handler, also an inherited one set to ``None``, is answered by 4.05.

    A plain ``def`` runs in the event loop and must not wait. Handlers belong to the class: one that is set on an
    instance is not seen.

    Attributes:
        assembles_bodies: ``True`` (the default): handlers get whole bodies. ``False``: they see each block by itself.
            ``None``: `needs_blockwise_assembly` is overridden and asked for every request.
        is_observable: whether there is an ``add_observation``.
        fresh_within: seconds; a request that may change something has to prove that it was made in the last so many
            (RFC 9175 section 2.3), or it is challenged and not carried out: an actuator then obeys nothing that was
            held back on the way. It takes DTLS or OSCORE. ``None``, the default, asks for no proof.
        takes_named_methods_only: whether a request that may change something is 4.05 unless the server has credentials,
            and the pattern that lets the request in has its method among its ``methods``. ``False``, the default: any
            pattern that lets it in is enough.
        produces: the content formats that GET and FETCH answer in, by number or name, the preferred one first. Accept
            of another is 4.06; ``require_accept(request, *self.produces)`` tells the handler which one it is. They are
            the resource's ``ct`` in ``/.well-known/core``. Empty: the handlers see to it.
        consumes: the content formats of the bodies that handlers take, or a mapping from methods to them (a PATCH has
            another format than a PUT); ``None`` among them admits a body that does not say. A request with another gets
            4.15. Empty, or no entry for the method: the handlers see to it.
        requires: claims that every request has to prove, beside what the policy says; see `securecoap.requires` for a
            single method and ``Site.add`` for a single place. It belongs to the class, and subclasses inherit it.
        link_attributes: what ``/.well-known/core`` says of the resource (RFC 6690 section 3), such as
            ``{"rt": "temperature-c", "if": "sensor", "ct": 0}``; ``Site.add`` may say more or otherwise.
    """

    assembles_bodies: bool | None = True
    is_observable: bool = False
    fresh_within: float | None = None
    takes_named_methods_only: bool = False
    produces: Sequence[int | str] = ()
    consumes: Sequence[int | str | None] | Mapping[int, Sequence[int | str | None]] = ()
    link_attributes: LinkAttributes = _NO_ATTRIBUTES
    requires: ClassVar[Claims | None] = None

    _handlers: ClassVar[dict[int, _Handler]] = {}  # by method
    _entries: ClassVar[dict[int, _Handler]] = {}  # the same, or every method through an overridden render()
    _demands: ClassVar[dict[int, tuple[Demand, ...]]] = {}  # of the methods that have some

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        negotiated = negotiation(cls.produces, cls.consumes)
        of_all = () if cls.requires is None else (Demand(cls.requires),)
        if of_all and cls.dispatch is not Resource.dispatch:
            raise TypeError(f"{cls.__name__}: 'requires' is held by dispatch(), which is overridden")
        cls._demands = {}

        def entry(method: int, handler: _Handler) -> _Handler:
            """Who may not ask is told so first, and nothing of formats."""
            demands = (*of_all, *demands_of(handler))
            if demands:
                cls._demands[method] = demands
            return guarded(negotiated(method, handler), demands)

        cls._handlers = {
            method: entry(method, _as_function(cls, name))
            for method, name in _METHODS.items()
            if getattr(cls, name, None) is not None
        }
        if cls.render is Resource.render:
            cls._entries = cls._handlers
        else:
            of_all = (*of_all, *demands_of(cls.render))
            cls._entries = {method: entry(method, _render) for method in range(1, 32)}
        own = cls.__dict__
        if "assembles_bodies" not in own and cls.needs_blockwise_assembly is not Resource.needs_blockwise_assembly:
            cls.assembles_bodies = None
        if "is_observable" not in own and hasattr(cls, "add_observation"):
            cls.is_observable = True

    def dispatch(self, request: Message) -> Message | Coroutine[Any, Any, Message]:
        """As `render`, at once if the handler is a plain function.

        Raises:
            ErrorResponse: becomes the response; `MethodNotAllowed` where there is no handler.
        """
        handler = self._entries.get(request.code)  # type: ignore[arg-type]  # no code: no handler
        if handler is None:
            raise MethodNotAllowed
        return handler(self, request)

    def admit(self, request: Message) -> None:
        """Refuse who has not proved what is required, before anything is kept: a part of a body, or an observation.

        The server asks so for requests that are more than one message, and again when credentials were replaced.

        Raises:
            Unauthorized: nothing was proved (4.01).
            Forbidden: something else was (4.03).
        """
        if self._demands:
            for demand in self._demands.get(request.code, ()):  # type: ignore[arg-type]  # no code: no handler
                demand.check(request)

    async def render(self, request: Message) -> Message:
        """The response to a request, of any method; override it to see them all.

        Raises:
            ErrorResponse: becomes the response; `MethodNotAllowed` where there is no handler.
        """
        handler = self._handlers.get(request.code)  # type: ignore[arg-type]  # no code: no handler
        if handler is None:
            raise MethodNotAllowed
        answer = handler(self, request)
        return await answer if isinstance(answer, Coroutine) else answer

    async def needs_blockwise_assembly(self, request: Message) -> bool:  # noqa: ARG002  # the seam's signature
        """Whether the handlers want whole bodies for this request; called only where it is overridden."""
        return self.assembles_bodies is not False

    def links(self) -> Iterable[tuple[Mapping[str, str], LinkAttributes]]:
        """What ``/.well-known/core`` lists of a resource under a template, which by itself is not listed.

        Returns:
            For each path: what the template's names stand for, and its link attributes.
        """
        return ()


def _as_function(cls: type[Resource], name: str) -> _Handler:
    """What to call with a resource and a request for the handler of that name."""
    handler = getattr(cls, name)
    if type(handler) is FunctionType and not _is_static(cls, name):
        return handler
    if demands_of(handler):
        raise TypeError(f"{cls.__name__}.{name}: @requires is for methods with self and request")

    def bound(self: Resource, request: Message) -> _Answer:
        answer: _Answer = getattr(self, name)(request)
        return answer

    return bound


def _is_static(cls: type[Resource], name: str) -> bool:
    return isinstance(next(base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), staticmethod)


def _render(self: Resource, request: Message) -> _Answer:
    return self.render(request)
