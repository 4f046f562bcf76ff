"""What an endpoint is told when it is made: the arguments of `Context.client` and `Context.server`, each named once.

A `Context` keeps them as they are; they are frozen, and everything that changes is its own. `takes` turns the fields of
such a class into the arguments of a constructor. Nothing is checked or opened here.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from securecoap.config import Limits, TransportParameters
from securecoap.events import Events

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from securecoap.credentials import CredentialsMap
    from securecoap.interfaces import RequestHandler, Resource, ResourceTree
    from securecoap.state import StateStore
    from securecoap.tracing import Tracer
    from securecoap.workers.seat import Seat

__all__ = ["ClientSettings", "ServerSettings", "Settings", "state_of_contexts", "takes"]

_Path: TypeAlias = "str | os.PathLike[str]"
_Credentials: TypeAlias = "CredentialsMap | str | os.PathLike[str] | dict[str, Any] | None"
_Served: TypeAlias = "ResourceTree | Resource"

P = ParamSpec("P")
S = TypeVar("S")
O = TypeVar("O")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What clients and servers may be told alike.

    Attributes:
        state: directory for what must survive a restart; ``None`` is the user's state directory.
        engine: of DTLS; ``python``, or ``tinydtls`` (pre-shared keys only, with the extra of this name).
        limits: bounds of every table.
        parameters: timing of the message layer.
        strict_state: whether a state directory that does not exist yet is an error.
        state_wait: seconds to wait for another process that owns a security context.
        cache: whether responses to GET and FETCH are used again while they are fresh, and validated when they are not
            (RFC 7252 section 5.6); never for another secured address.
        close_timeout: seconds that closing waits for a handler, or for whatever reads or writes a body, that ignores
            its cancellation.
        keylog: file to which DTLS secrets are appended (NSS key log format), for debugging.
        events: counts and logs what goes wrong with peers, and which limits are reached.
        tracer: is shown each message that goes by, for debugging; it makes everything slower.
    """

    state: _Path | None = None
    engine: str = "python"
    limits: Limits = field(default=Limits())
    parameters: TransportParameters = field(default=TransportParameters())
    strict_state: bool = False
    state_wait: float = 10.0
    cache: bool = False
    close_timeout: float = 5.0
    keylog: _Path | None = None
    events: Events = field(default_factory=lambda: Events(monotonic), repr=False, compare=False)
    tracer: Tracer | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", self.events.watch(self.limits))


@dataclass(frozen=True)
class ClientSettings(Settings):
    """What an endpoint is told that sends requests; see also `Settings`.

    Attributes:
        credentials: a file, its content as a dict, or a `CredentialsMap`.
        site: answers requests that servers send back over the same sessions.
    """

    credentials: _Credentials = field(default=None, repr=False)  # a dict has its keys in clear
    site: _Served | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ServerSettings(Settings):
    """What an endpoint is told that answers requests; see also `Settings`.

    Attributes:
        site: the resources.
        bind: URIs of addresses; by default ``coap://[::]`` and ``coaps://[::]`` with credentials, ``coap://[::1]``
            without. Port 0 takes any; a multicast address joins its group.
        credentials: as for `ClientSettings`.
        names: host names that this server answers to, beside its addresses.
        insecure: whether a server without credentials may be reached from other machines.
        measure: stands a handler in front of what answers requests, for those who count them.
        sockets: UDP sockets that a service manager has bound already, by the URI of ``bind`` that each is for.
        seat: the place of this process among those that ``securecoap serve --workers`` has on the same ports.
    """

    site: _Served
    bind: Sequence[str] | None = None
    credentials: _Credentials = field(default=None, repr=False)
    names: Iterable[str] = field(default=(), kw_only=True)
    insecure: bool = field(default=False, kw_only=True)
    measure: Callable[[RequestHandler], RequestHandler] | None = field(default=None, kw_only=True, repr=False)
    sockets: Mapping[str, socket.socket] = field(default_factory=dict, kw_only=True)
    seat: Seat | None = field(default=None, kw_only=True)


def state_of_contexts(settings: Settings) -> StateStore | _Path | None:
    """Where an endpoint's security contexts have their state: a directory, or what its process shares with others."""
    seat: Seat | None = getattr(settings, "seat", None)
    return settings.state if seat is None else seat.store


def takes(kind: Callable[P, S]) -> Callable[[Callable[[O, S], T]], Callable[Concatenate[O, P], T]]:
    """Let a constructor take the fields of ``kind`` as its arguments, and hand it the object that they make."""

    def decorate(constructor: Callable[[O, S], T]) -> Callable[Concatenate[O, P], T]:
        @functools.wraps(constructor)
        def construct(owner: O, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return constructor(owner, kind(*args, **kwargs))

        owner, *_ = inspect.signature(constructor).parameters.values()
        fields = inspect.signature(kind).parameters.values()
        construct.__signature__ = inspect.Signature([owner, *fields])  # type: ignore[attr-defined]  # for help()
        return construct

    return decorate
