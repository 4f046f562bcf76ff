"""The exchange of one request that came in: open while its acknowledgement is due (RFC 7252 section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits
from securecoap.core.incoming import IncomingExchange, open_exchange
from securecoap.core.peers import PeerTable, make_peer
from securecoap.interfaces import Exchange
from securecoap.wire.codes import Code
from securecoap.wire.message import CON, NON, Message

if TYPE_CHECKING:
    from securecoap.core.peers import Peer


class Acknowledging:
    """Stands in for the message layer."""

    def __init__(self) -> None:
        self.acknowledged: list[IncomingExchange] = []

    def acknowledge(self, exchange: IncomingExchange) -> None:
        exchange.is_open = False
        self.acknowledged.append(exchange)


def opened(manager: Any, mtype: int) -> tuple[IncomingExchange, Peer]:
    peer = make_peer(None, 0.0)  # type: ignore[arg-type]  # nobody asks who it is
    return open_exchange(manager, peer, 7, ~7, mtype == CON), peer


@pytest.mark.parametrize("mtype", [CON, NON])
def test_it_knows_the_request_and_is_open_if_that_is_to_be_acknowledged(mtype: int) -> None:
    exchange, peer = opened(Acknowledging(), mtype)
    assert exchange.peer is peer
    assert (exchange.mid, exchange.key) == (7, ~7)
    assert exchange.is_confirmable is exchange.is_open is (mtype == CON)


@pytest.mark.parametrize(("mtype", "expected"), [(CON, 1), (NON, 0)])
def test_without_a_response_it_is_acknowledged_once_if_that_is_due(mtype: int, expected: int) -> None:
    manager = Acknowledging()
    exchange, _ = opened(manager, mtype)
    exchange.no_response()
    exchange.no_response()
    assert manager.acknowledged == [exchange] * expected


def test_nobody_hears_what_becomes_of_the_response_before_he_asks() -> None:
    exchange, _ = opened(Acknowledging(), CON)
    exchange.acknowledged()
    exchange.failed(ValueError())
    assert exchange.superseding() is None

    class Fate(Exchange):
        heard: list[str] = []  # noqa: RUF012  # of one object

        def acknowledged(self) -> None:
            self.heard.append("acknowledged")

    exchange.tell(Fate())
    exchange.acknowledged()
    assert Fate.heard == ["acknowledged"]


class Sending:
    """Stands in for the message layer, too: it keeps answers."""

    def __init__(self) -> None:
        self.peers = PeerTable(Limits(), 247.0, lambda _now: None)
        self.sent: list[tuple[bytes, object]] = []

    def send_datagram(self, datagram: bytes, remote: object) -> None:
        self.sent.append((datagram, remote))


def test_a_response_goes_with_the_acknowledgement_once_and_is_kept_for_duplicates() -> None:
    manager = Sending()
    exchange, peer = opened(manager, CON)
    peer.recent[~7] = b""
    response = Message(payload=b"hello", content_format=0)
    before = response.options.pairs
    remote: Any = object()
    assert exchange.piggyback(Code.CONTENT, response, b"tok", remote)
    expected = b"\x63\x45\x00\x07tok\xc0\xffhello"
    assert manager.sent == [(expected, remote)]
    assert peer.recent == {~7: expected}
    assert manager.peers.stored_bytes == len(expected)
    assert (response.code, response.options.pairs, response.token) == (None, before, b"")
    assert not exchange.piggyback(Code.CONTENT, response, b"tok", remote)
    assert len(manager.sent) == 1


def test_no_response_goes_with_an_acknowledgement_that_is_not_due() -> None:
    manager = Sending()
    exchange, peer = opened(manager, NON)
    assert not exchange.piggyback(Code.CONTENT, Message(), b"", object())  # type: ignore[arg-type]  # nobody asks it
    assert (manager.sent, peer.recent) == ([], {})
