"""Who may do what: the policy's word on each request, before a handler sees it (the design, section 6, Server).

It gives the policy what it decides on, and refuses with the RFC's codes. A grant is remembered with the address that
has it; whoever is asked about is somebody who is there. What the patterns mean is the business of
`securecoap.credentials.policy`; no key is known here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from securecoap.errors import ErrorResponse, Forbidden, Unauthorized
from securecoap.wire import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.credentials import OwnNames, Policy
    from securecoap.interfaces import EndpointAddress
    from securecoap.wire.message import Message

__all__ = ["Access"]

_URI_HOST: Final = 1 << numbers.URI_HOST
_GRANTS: Final = 32
"""Grants that an address remembers; beyond it all are forgotten."""
_GRANTED_PATH: Final = 128
"""Characters of a path for which a grant is remembered."""
_CERTIFIED: Final = "san:"
"""What claims begin with that do not stand in the file: there is no end of them."""
_REFUSALS: Final[dict[int, type[ErrorResponse]]] = {0x81: Unauthorized, 0x83: Forbidden}


class Access:
    """The policy of a server.

    Args:
        policy: what requests have to prove.
        own: the names that the server answers to.
    """

    def __init__(self, policy: Policy, own: OwnNames) -> None:
        self._own = own
        self._seen: dict[str, float] = {}
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Decide by this policy from now on; what addresses were granted by another one means nothing any more."""
        self._policy = policy
        self.renew()

    def renew(self) -> None:
        """Ask once more about everybody: no grant that an address remembers means anything any more."""
        # What addresses remember with a grant; nothing if decisions depend on the time.
        self._token = object() if self._policy.is_timeless else None

    def take_seen(self) -> dict[str, float]:
        """Labels and claims of the file whose peers have sent requests since the last call, and when (since 1970).

        Of one that goes on with what was granted it says no more until `renew`.
        """
        seen, self._seen = self._seen, {}
        return seen

    @property
    def questions(self) -> dict[str, Callable[..., Any]]:
        """What a `Server` asks, by the names of its arguments."""
        return {"authorize": self.authorize, "is_own_name": self.is_own_name, "names_method": self.names_method}

    def is_own_name(self, host: str, remote: EndpointAddress) -> bool:
        """Whether a Uri-Host is this server."""
        return self._own.is_own(host, (remote.outer or remote).local_host)

    def authorize(self, request: Message) -> None:
        """Refuse a request that has not proved what its path needs.

        Raises:
            Unauthorized: nothing was proved (4.01).
            Forbidden: something else was (4.03).
        """
        options = request.options
        remote = request.remote
        question = (options.known_path or options.uri_path, request.code)
        grants = remote.grants
        token = self._token if not options.present & _URI_HOST else None
        if token is not None and grants is not None and grants.get(question) is token:
            return  # this address was granted the same by the policy that is in force
        bottom = remote.outer or remote
        claims = remote.authenticated_claims
        now = time.time()
        for claim in claims:
            if not claim.startswith(_CERTIFIED):
                self._seen[claim] = now  # as many as the file has
        decision = self._policy.decide(
            remote.scheme,
            options.uri_host or bottom.local_host or "",
            bottom.local_port or 0,  # never Uri-Port, which the peer chooses
            options.uri_path,
            request.code or 0,
            claims,
            now,
        )
        if decision:
            raise _REFUSALS[decision]
        # Strangers choose their addresses and paths: for them nothing is kept.
        if token is not None and remote.confirmed and sum(map(len, options.uri_path)) <= _GRANTED_PATH:
            if grants is None or len(grants) >= _GRANTS:
                remote.grants = grants = {}
            grants[question] = token

    def names_method(self, request: Message) -> bool:
        """Whether the pattern that lets a request in names its method; what is said of every method is not enough.

        Args:
            request: one that was authorized.
        """
        options = request.options
        bottom = request.remote.outer or request.remote
        return self._policy.names_method(
            request.remote.scheme,
            options.uri_host or bottom.local_host or "",
            bottom.local_port or 0,
            options.uri_path,
            request.code or 0,
        )
