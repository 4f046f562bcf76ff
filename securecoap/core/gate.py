"""What a request has to be before a resource gets it: meant for this server, allowed, and fresh where that matters.

Proxies and names: RFC 7252 sections 5.7.2 and 5.10.2, RFC 8768. Freshness: RFC 9175 section 2.3. What a policy or a
resource requires is asked of them; nothing is known here of credentials. It sends nothing and keeps nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from securecoap.errors import BadRequest, MethodNotAllowed, NotFound, ProxyingNotSupported, Unauthorized
from securecoap.wire import numbers
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from securecoap.core.echo import EchoValues
    from securecoap.interfaces import EndpointAddress, Resource

    Find: TypeAlias = "Callable[[tuple[str, ...]], tuple[Any, Mapping[str, str]] | None]"

__all__ = ["Gate", "admit"]

_MOST_HOPS: Final = 255  # RFC 8768 section 3


def admit(resource: Any, request: Message) -> None:
    """Have a resource refuse who may not ask it, before anything is kept for the request.

    Raises:
        Unauthorized, Forbidden: the resource requires claims that were not proved.
    """
    own = getattr(resource, "admit", None)
    if own is not None:
        own(request)


class Gate:
    """The server's conditions.

    Args:
        echo: makes and checks Echo values.
        authorize: raises `ErrorResponse` to refuse a request; ``None`` where all may come.
        is_own_name: whether a Uri-Host (lower case) is this server, at the address the request came in on.
        names_method: whether the policy names the request's method where it lets the request in.

    Attributes:
        authorize: as given.
    """

    def __init__(
        self,
        echo: EchoValues,
        authorize: Callable[[Message], None] | None = None,
        is_own_name: Callable[[str, EndpointAddress], bool] | None = None,
        names_method: Callable[[Message], bool] | None = None,
    ) -> None:
        self.authorize = authorize
        self._echo = echo
        self._is_own_name = is_own_name
        self._names_method = names_method

    def check_target(self, request: Message) -> None:
        """Refuse what is not meant for this server, before any policy is asked (section 5.7.2, 5.10.2; RFC 8768).

        Raises:
            ProxyingNotSupported, BadRequest, NotFound: it is not.
        """
        options = request.options
        if options.proxy_uri is not None or options.proxy_scheme is not None:
            raise ProxyingNotSupported
        hops = options.get(numbers.HOP_LIMIT)
        if hops is not None and not 1 <= int.from_bytes(hops, "big") <= _MOST_HOPS:
            raise BadRequest("Hop-Limit is not in 1 to 255")
        host = options.uri_host
        if host is not None and self._is_own_name is not None and not self._is_own_name(host.lower(), request.remote):
            raise NotFound("this server does not have that name")

    def challenge(self, request: Message, resource: Resource) -> Message | None:
        """What a request that may change something is answered before the resource gets it; ``None`` if it may.

        Raises:
            MethodNotAllowed: the resource takes only what the policy names, and the policy does not name the method.
            Unauthorized, Forbidden: what the resource requires was not proved.
        """
        if getattr(resource, "takes_named_methods_only", False) and not (
            self._names_method is not None and self._names_method(request)
        ):
            raise MethodNotAllowed
        within: float | None = getattr(resource, "fresh_within", None)
        if within is None:
            return None
        admit(resource, request)
        return None if self._is_fresh(request, resource, within) else self._challenge(request.remote)

    def _is_fresh(self, request: Message, resource: Resource, within: float) -> bool:
        """Whether the request was made in the last seconds; if not, it is challenged and not processed (RFC 9175 2.3).

        Only what is protected can show that: the value has to travel with its integrity protected (section 2.2.1).
        """
        remote = request.remote
        block = request.options.block1
        if block is not None and block.more and block.number and getattr(resource, "assembles_bodies", None) is True:
            return True  # what is done is done with the last block
        if remote.security == "none":
            raise Unauthorized("a fresh request has to be protected")
        age = self._echo.age(remote, request.options.echo)
        return age is not None and age <= within

    def _challenge(self, remote: EndpointAddress) -> Message:
        challenge = Message(Code.UNAUTHORIZED)
        challenge.options.echo = self._echo.make(remote)
        return challenge

    def reviewer(self, find: Find) -> Callable[[Message], None] | None:
        """What asks policy and resource again about a request that was let in; ``None`` where there is no policy.

        Args:
            find: the resource of a path.
        """
        authorize = self.authorize
        if authorize is None:
            return None

        def review(request: Message) -> None:
            authorize(request)
            found = find(request.options.uri_path)
            if found is not None:
                admit(found[0], request)

        return review
