"""The secured address: who is at the other end of an OSCORE context (RFC 8613 section 3, the design's section 5).

Two of them are equal when context, generation and outer address are; so a context that was derived anew, or the same
context behind another address, never inherits tokens, blocks or observations. This module knows no messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.interfaces import EndpointAddress

if TYPE_CHECKING:
    from securecoap.oscore.context import SecurityContext

__all__ = ["OscoreAddress"]


class OscoreAddress(EndpointAddress):
    """A peer under OSCORE.

    Args:
        context: the security context.
        outer: where the protected messages go to and come from.
        proved: whether a message of this peer was decrypted; only then does the address have the context's claims.

    Attributes:
        generation: of the context when the address was made.
    """

    __slots__ = (
        "__weakref__", "_hash", "confirmed", "context", "generation", "grants", "local_host", "local_port", "outer",
        "scheme",
    )  # fmt: skip

    security = "oscore"
    outer: EndpointAddress

    def __init__(self, context: SecurityContext, outer: EndpointAddress, *, proved: bool = False) -> None:
        self.context = context
        self.generation = context.generation
        self.outer = outer
        self.scheme = outer.scheme
        self.grants = None
        self.local_host = outer.local_host
        self.local_port = outer.local_port
        self.confirmed = proved
        self._hash = hash((id(context), context.generation, outer))

    @property
    def authenticated_claims(self) -> tuple[str, ...]:  # type: ignore[override]  # a layer above has no business to set it
        """What OSCORE proved comes first, then what the hop below proved (DTLS); always as the credentials are now."""
        if not self.confirmed:
            return ()
        hop = self.outer.authenticated_claims
        return self.context.claims + hop if hop else self.context.claims

    @property
    def hostinfo(self) -> str:
        return self.outer.hostinfo

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            type(other) is OscoreAddress
            and self.context is other.context
            and self.generation == other.generation
            and self.outer == other.outer
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<OscoreAddress {self.context!r} at {self.outer!r}>"
