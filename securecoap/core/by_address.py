"""What goes on with each address, by token there: the table of the token layer (RFC 7252 section 5.3.2).

It finds one exchange by address and token, and all of an address that has ended, without looking at the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from securecoap.interfaces import EndpointAddress

__all__ = ["ByAddress"]


class HasToken(Protocol):
    """One exchange."""

    @property
    def token(self) -> bytes:
        """Under which its messages go."""


E = TypeVar("E", bound=HasToken)


class ByAddress(dict["EndpointAddress", "E | dict[bytes, E]"], Generic[E]):
    """Exchanges by address, and there by token where there are several.

    Most addresses have one, an observation or the one request that NSTART allows; a dict for each of them would be half
    of what it costs.
    """

    __slots__ = ()

    def find(self, remote: EndpointAddress, token: bytes) -> E | None:
        """The exchange with this token."""
        found = self.get(remote)
        if found is None:
            return None
        if isinstance(found, dict):
            return found.get(token)
        return found if found.token == token else None

    def add(self, remote: EndpointAddress, entry: E) -> None:
        """Put it in the place of what has its token, if anything has."""
        found = self.setdefault(remote, entry)
        if found is entry:
            return
        if not isinstance(found, dict):
            found = self[remote] = {found.token: found}
        found[entry.token] = entry

    def discard(self, remote: EndpointAddress, entry: E) -> None:
        """Remove it, unless another one has taken its token over."""
        found = self.get(remote)
        if found is entry:
            del self[remote]
        elif isinstance(found, dict) and found.get(entry.token) is entry:
            del found[entry.token]
            if not found:
                del self[remote]

    def of(self, remote: EndpointAddress) -> list[E]:
        """Those of one address."""
        found = self.get(remote)
        if found is None:
            return []
        return list(found.values()) if isinstance(found, dict) else [found]
