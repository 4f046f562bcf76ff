"""Whom an EDHOC responder knows, and who it is to them: the sets ``edhoc-oscore`` of a server, indexed.

Found by what message_3 has, a kid or a whole claims set (RFC 9528 section 3.5.3). What more than one set could mean is
nobody, since a peer must not choose among claims. Must not know messages or sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.credentials.edhoc import METHOD, SUITE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from securecoap.credentials.models import EdhocIdentity, EdhocOscore

__all__ = ["EdhocPeers"]


class EdhocPeers:
    """See the module. Immutable.

    Args:
        sets: every credential of the kind that a server may use, in the order of the file.

    Attributes:
        unheard: sets with another identity: their peers are not accepted.
    """

    __slots__ = ("_anyone", "_by_kid", "_by_value", "_presented", "unheard")

    def __init__(self, sets: Iterable[EdhocOscore]) -> None:
        usable = [one for one in sets if (one.suite, one.method) == (SUITE, METHOD)]
        with_identity = [one for one in usable if one.own is not None]
        # lakers has to know it before it has seen who asks: of a set that has nothing else, or of the first.
        self._presented = next(
            (one for one in with_identity if one.is_identity), with_identity[0] if with_identity else None
        )
        self.unheard = tuple(one for one in usable if not self._is_ours(one))
        peers = [one for one in usable if self._is_ours(one) and not one.own_anonymous]
        self._anyone = [one for one in peers if one.peer_anyone]
        self._by_kid: dict[bytes, list[EdhocOscore]] = {}
        self._by_value: dict[bytes, list[EdhocOscore]] = {}
        for one in peers:
            if one.peer is not None:
                self._by_kid.setdefault(one.peer.kid, []).append(one)
                self._by_value.setdefault(one.peer.encoded, []).append(one)

    def _is_ours(self, one: EdhocOscore) -> bool:
        mine = None if self._presented is None else self._presented.own
        return mine is not None and (one.own is None or one.own.ccs.encoded == mine.ccs.encoded)

    def __bool__(self) -> bool:
        return self._presented is not None

    def identity(self, now: float) -> EdhocIdentity | None:
        """What the responder presents, if it is valid now."""
        shown = self._presented
        return shown.own if shown is not None and shown.validity.covers(now) else None

    def by_kid(self, kid: bytes, now: float | None) -> EdhocOscore | None:
        """The set of the peer with this key identifier, if it is valid then (``None``: or not) and the only one."""
        return _only(self._by_kid.get(kid, ()), now)

    def by_value(self, encoded: bytes, now: float | None) -> EdhocOscore | None:
        """The set of the peer with this claims set, if it is valid then (``None``: or not) and the only one."""
        return _only(self._by_value.get(encoded, ()), now)

    def anyone(self, now: float) -> EdhocOscore | None:
        """The set for peers that prove nothing."""
        return _only(self._anyone, now)


def _only(found: Iterable[EdhocOscore], now: float | None) -> EdhocOscore | None:
    valid = [one for one in found if now is None or one.validity.covers(now)]
    return valid[0] if len(valid) == 1 else None
