"""What a resource asks of its clients beside the policy: claims that they must have proved.

The expressions are those of a credentials file: a claim, or ``any-of`` and ``all-of`` of some. Both have to allow a
request, the policy and this, and both refuse alike: 4.01 for who has proved nothing, 4.03 for who has proved something
else (RFC 7252 section 5.9.2). Knows neither patterns nor credentials, only claims that were proved.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from securecoap.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    from securecoap.interfaces import Resource
    from securecoap.wire.message import Message

__all__ = ["Claims", "Demand", "Guarded", "Place", "demands_of", "guarded", "requires"]

Claims: TypeAlias = str | Sequence["Claims"] | Mapping[str, Sequence["Claims"]]
"""A claim (``":admin"``, ``"reader"``, ``"san:gateway.example"``), a list of which one is enough, or
``{"any-of": [...]}`` or ``{"all-of": [...]}``."""

_Handler: TypeAlias = "Callable[[Any, Message], Any]"
_Function = TypeVar("_Function", bound=Callable[..., Any])

_ANY_OF: Final = "any-of"
_ALL_OF: Final = "all-of"
_MARK: Final = "__securecoap_demands__"


class Demand:
    """A parsed expression.

    Args:
        expression: see `Claims`.

    Raises:
        ValueError, TypeError: it is none; an empty one, too, which would say nothing.
    """

    __slots__ = ("_claims", "_every", "_further", "expression")

    def __init__(self, expression: Claims) -> None:
        self.expression = expression
        self._every = False
        members: Sequence[Claims]
        if isinstance(expression, str):
            members = (expression,)
        elif isinstance(expression, Mapping):
            if len(expression) != 1 or not expression.keys() <= {_ANY_OF, _ALL_OF}:
                raise ValueError('a group of claims is {"any-of": [...]} or {"all-of": [...]}')
            ((kind, members),) = expression.items()
            self._every = kind == _ALL_OF
            if isinstance(members, str):
                raise TypeError(f"{kind} has a list of claims")
        else:
            members = expression
        if not isinstance(members, Sequence):
            raise TypeError(f"not a claim, a list of claims or a group of claims: {expression!r}")
        if not members or "" in members:
            raise ValueError("an empty list of claims, or an empty claim: it would be unclear who is let in")
        self._claims = frozenset(one for one in members if isinstance(one, str))
        self._further = tuple(Demand(one) for one in members if not isinstance(one, str))

    def met(self, claims: tuple[str, ...]) -> bool:
        """Whether these claims are enough."""
        if self._every:
            return self._claims.issubset(claims) and all(one.met(claims) for one in self._further)
        return not self._claims.isdisjoint(claims) or any(one.met(claims) for one in self._further)

    def check(self, request: Message) -> None:
        """Refuse a request whose sender has not proved enough.

        Raises:
            Unauthorized: nothing was proved (4.01).
            Forbidden: something else was (4.03).
        """
        claims = () if request.remote is None else request.remote.authenticated_claims
        if not self.met(claims):
            raise Forbidden if claims else Unauthorized


def requires(expression: Claims) -> Callable[[_Function], _Function]:
    """A decorator for handlers: who has not proved these claims gets 4.01 or 4.03, and the handler is not called.

    ::

        class Valve(Resource):
            def render_get(self, request): ...

            @requires(":operator")
            def render_put(self, request): ...

    For a whole class there is ``requires = ":operator"`` in it, for one place of a site ``Site.add(…, requires=…)``.
    All that is said holds, beside the policy of the credentials. An overriding method is decorated anew, or free.

    Args:
        expression: see `Claims`. Claims are compared as they are: the label of a group is nobody's claim.

    Raises:
        ValueError, TypeError: no such expression, or it decorates something else than a function.
    """
    demand = Demand(expression)

    def decorate(handler: _Function) -> _Function:
        if isinstance(handler, type) or not callable(handler):
            raise TypeError(f"@requires is for handlers, not for {handler!r}; a class has an attribute 'requires'")
        return guarded(handler, (demand,))  # type: ignore[return-value]  # called as the handler is

    return decorate


def guarded(handler: _Handler, demands: tuple[Demand, ...]) -> _Handler:
    """The handler behind some demands; it is the handler itself where there are none."""
    if not demands:
        return handler

    @wraps(handler)
    def guard(resource: Any, request: Message) -> Any:
        for demand in demands:
            demand.check(request)
        return handler(resource, request)

    setattr(guard, _MARK, (*demands, *demands_of(handler)))
    return guard


def demands_of(handler: object) -> tuple[Demand, ...]:
    """What a handler was decorated with."""
    found: tuple[Demand, ...] = getattr(handler, _MARK, ())
    return found


class Place:
    """A place of a site that has a demand: each resource that is found there stands behind it.

    One and the same resource always gives one and the same object, for as long as somebody has that: observers of one
    thing are those of one object.
    """

    __slots__ = ("_demand", "_guarded")

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        self._guarded: WeakValueDictionary[int, Guarded] = WeakValueDictionary()

    def guard(self, resource: Resource) -> Guarded:
        """The resource behind the demand."""
        key = id(resource)  # which it keeps
        found = self._guarded.get(key)
        if found is None:
            found = self._guarded[key] = Guarded(resource, self._demand)
        return found


class Guarded:
    """A resource in one place of a site, with the demand of that place. All else about it is the resource's own."""

    __slots__ = ("__weakref__", "_demand", "_resource")

    def __init__(self, resource: Resource, demand: Demand) -> None:
        self._resource = resource
        self._demand = demand

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resource, name)

    def admit(self, request: Message) -> None:
        """Refuse a request before anything is kept for it, a part of its body or an observation.

        Raises:
            Unauthorized, Forbidden: see `Demand.check`.
        """
        self._demand.check(request)
        own = getattr(self._resource, "admit", None)
        if own is not None:
            own(request)

    def dispatch(self, request: Message) -> Message | Coroutine[Any, Any, Message]:
        """The resource's response, at once where it has a way without a coroutine."""
        self._demand.check(request)
        resource: Any = self._resource
        dispatch = getattr(resource, "dispatch", None)
        answer: Message | Coroutine[Any, Any, Message]
        answer = resource.render(request) if dispatch is None else dispatch(request)
        return answer

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        """The resource's own answer."""
        return await self._resource.needs_blockwise_assembly(request)

    async def render(self, request: Message) -> Message:
        """The resource's response."""
        self._demand.check(request)
        return await self._resource.render(request)
