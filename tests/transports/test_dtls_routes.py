"""A budget for an address at which a peer was not shown to receive (RFC 9146 section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securecoap.config import Limits
from securecoap.interfaces import EndpointAddress
from securecoap.transports.dtls_routes import UnprovenRoute

if TYPE_CHECKING:
    from securecoap.wire.message import Message

PING = b"\x40\x00ab"
RESET = b"\x70\x00ab"


def route() -> UnprovenRoute:
    return UnprovenRoute(b"ab", Limits(amplification_factor=3.0, amplification_allowance=100), 2.0)


def encoded(message: Message | None) -> bytes:
    assert message is not None
    return message.encode()


def test_the_ping_is_repeated_in_its_interval_only():
    unproven = route()
    there = EndpointAddress()
    first = unproven.ping(10.0, there)
    assert encoded(first) == PING
    assert first is not None
    assert first.remote is there
    assert unproven.ping(11.9, there) is None
    assert encoded(unproven.ping(12.0, there)) == PING


def test_the_message_id_is_not_found_by_trying():
    """A client that sends from a victim's address has 16 bits to guess, and eight guesses for each ping."""
    unproven = route()
    unproven.ping(10.0, EndpointAddress())
    target = int.from_bytes(b"ab", "big")
    guesses = [b"\x70\x00" + number.to_bytes(2, "big") for number in range(target - 10, target + 1)]
    assert not any(unproven.is_proof(guess) for guess in guesses)
    unproven.ping(12.0, EndpointAddress())
    assert unproven.is_proof(RESET)


def test_only_the_reset_of_the_ping_is_proof():
    unproven = route()
    for other in (b"\x70\x00ac", b"\x60\x00ab", RESET + b"\0", b"", PING):
        assert not unproven.is_proof(other)
    assert unproven.is_proof(RESET)


def test_what_came_from_there_allows_three_times_as_much():
    unproven = route()
    assert unproven.spend(bytes(100))
    assert not unproven.spend(b"x")
    unproven.is_proof(bytes(10))  # in a record of 39 bytes
    assert not unproven.spend(bytes(118))
    assert unproven.spend(bytes(117))
    assert not unproven.spend(b"y")


def test_the_first_records_beyond_it_wait():
    unproven = route()
    for number in range(9):
        assert not unproven.spend(bytes(200 + number))
    assert [len(record) for record in unproven.held] == [200, 201, 202, 203]
