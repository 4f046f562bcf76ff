"""Flights: datagram sizes and the retransmission schedule (RFC 6347 section 4.2.4.1)."""

from __future__ import annotations

import pytest

from securecoap.dtls.flights import Flight, FlightMessage, pack
from securecoap.dtls.messages import encode_handshake
from securecoap.dtls.records import ContentType, PlaintextWriter, parse_records


def messages(*sizes: int) -> list[FlightMessage]:
    writer = PlaintextWriter(0)
    return [
        (ContentType.HANDSHAKE, encode_handshake(11, number, bytes(size)), writer) for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("size", [128, 200, 500, 1232])
def test_no_datagram_is_larger_than_asked(size):
    datagrams = pack(messages(10, 2000, 0, 300, 1), size)
    assert max(map(len, datagrams)) <= size
    sequences = [record.sequence for datagram in datagrams for record in parse_records(datagram)]
    assert sequences == list(range(len(sequences)))


def test_what_fits_shares_a_datagram():
    assert len(pack(messages(100, 0, 50), 1232)) == 1


def test_interval_doubles_up_to_its_bound_and_records_are_new():
    flight = Flight(messages(10), 1232, 1.0, 4.0)
    sent = flight.transmit(0.0)
    due = []
    for _ in range(4):
        due.append(flight.due)
        sent += flight.retransmit(flight.due)
    assert due == [1.0, 3.0, 7.0, 11.0]
    assert len(set(sent)) == len(sent)


def test_unanswered_flights_become_smaller():
    flight = Flight(messages(1000), 1232, 1.0, 60.0)
    assert len(flight.transmit(0.0)) == 1
    assert len(flight.retransmit(1.0)) == 1
    assert len(flight.retransmit(3.0)) == 2


def test_answers_to_retransmissions_do_not_answer_each_other():
    flight = Flight(messages(10), 1232, 1.0, 60.0)
    flight.transmit(0.0)
    assert flight.repeat(0.4) == []
    assert len(flight.repeat(0.6)) == 1
    assert flight.repeat(0.7) == []
