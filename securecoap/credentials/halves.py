"""The two halves of one new credential, the server's and the device's, once names and ids are settled.

Nothing here depends on which devices there are already, and all of it can be pickled: very many are made in several
processes at once. Must not know files, or what is in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from securecoap.credentials import making
from securecoap.credentials.edhoc import METHOD, SUITE
from securecoap.credentials.making import Json, MakingFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from securecoap.credentials.authority import Authority

__all__ = ["PAIRED_KINDS", "Maker", "Order", "certified"]

_EDHOC: Final = {"suite": SUITE, "method": METHOD}


@dataclass(frozen=True, slots=True)
class Order:
    """One device that is to have a credential.

    Attributes:
        name: of the device.
        identity: for ``dtls``, one that nobody has.
        kid: for ``oscore`` and ``edhoc-oscore``, one that nobody has.
    """

    name: str
    identity: str = ""
    kid: bytes = b""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the halves of one kind for the devices of one server.

    Attributes:
        kind: of `PAIRED_KINDS`.
        server: what each device is to know of the server: its public key (``dtls-rpk``) or claims set
            (``edhoc-oscore``); otherwise ``None``.
        authority: signs certificates, for ``dtls-x509``.
        now: seconds since 1970, for certificates.
        days: how long certificates are valid.
    """

    kind: str
    server: Any = None
    authority: Authority | None = field(default=None, repr=False)
    now: float = 0.0
    days: int = 0

    def halves(self, order: Order) -> tuple[Json, Json]:
        """The value for the device's label in the server's file, and the value for its own file, with new keys.

        Raises:
            MakingFault: the name cannot be that of such a credential.
        """
        return _HALVES[self.kind](self, order)


def certified(authority: Authority, names: tuple[str, ...], now: float, days: int) -> Json:
    """The members of ``dtls-x509`` that say who their owner is, with a new key.

    Raises:
        MakingFault: see `Authority.issue`.
    """
    certificate, private = authority.issue(names, now, days)
    return {"certificate": {"ascii": certificate}, "private-key": {"ascii": private}}


def _psk(_: Maker, order: Order) -> tuple[Json, Json]:
    value = making.new_psk(order.identity)
    return value, dict(value)


def _oscore(_: Maker, order: Order) -> tuple[Json, Json]:
    return making.context_pair(order.kid)


def _raw_key(maker: Maker, _: Order) -> tuple[Json, Json]:
    """The server's half is the device's public key alone: it stands among ``peer-keys``."""
    private, public = making.key_pair()
    return public, {"private-key": private, "peer-keys": [maker.server]}


def _certificate(maker: Maker, order: Order) -> tuple[Json, Json]:
    authority = maker.authority
    if authority is None:
        raise MakingFault("dtls-x509 takes a certification authority")
    ca = [{"ascii": authority.certificate_pem}]
    theirs = certified(authority, (order.name,), maker.now, maker.days)
    return {"ca": ca, "peer-names": [order.name]}, {**theirs, "ca": ca}


def _edhoc(maker: Maker, order: Order) -> tuple[Json, Json]:
    theirs = making.identity_set(order.name, order.kid)
    return {**_EDHOC, "peer-cred": theirs["own-cred"]}, {**theirs, "peer-cred": maker.server}


_HALVES: Final[dict[str, Callable[[Maker, Order], tuple[Json, Json]]]] = {
    "dtls": _psk,
    "dtls-rpk": _raw_key,
    "dtls-x509": _certificate,
    "oscore": _oscore,
    "edhoc-oscore": _edhoc,
}
PAIRED_KINDS: Final = tuple(_HALVES)
"""Kinds that can be made for a server and its device."""
