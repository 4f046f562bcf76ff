"""Any bytes at any state: no exception, bounded tables, and the handshake or session goes on (RFC 6347 section 4.1.2.7)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securecoap.config import Limits
from securecoap.dtls.parameters import DtlsParameters

from .pair import CLIENT, SENSOR, SERVER, Couple

PARAMETERS = DtlsParameters(limits=Limits(dtls_handshakes=4, dtls_sessions=4, dtls_handshake_bytes=2048))
STATES = range(8)


def at_state(steps: int, seed: int = 0) -> Couple:
    """A couple after so many datagrams; the network then stands still."""
    couple = Couple(client_parameters=PARAMETERS, server_parameters=PARAMETERS, seed=seed)
    delivered = 0

    def count(source, target, datagram):
        nonlocal delivered
        delivered += 1
        return [datagram] if delivered <= steps else []

    couple.filter = count
    couple.client.connect(SERVER, SENSOR, couple.now)
    couple.run(until=0.5)
    return couple


@pytest.mark.parametrize("steps", STATES)
@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_random_bytes_at_each_state(steps, datagrams):
    couple = at_state(steps)
    for datagram in datagrams:
        couple.client.receive(datagram, SERVER, couple.now)
        couple.server.receive(datagram, CLIENT, couple.now)
    assert couple.client.handshake_count <= 1
    assert couple.client_events.failed == []


def mutated(rng: random.Random, datagrams: list[bytes]) -> bytes:
    datagram = bytearray(rng.choice(datagrams))
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        kind = rng.randrange(6)
        position = rng.randrange(len(datagram))
        if kind == 0:
            datagram[position] = rng.randrange(256)
        elif kind == 1:
            datagram[position] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del datagram[position : position + rng.randrange(1, 9)]
        elif kind == 3:
            datagram[position:position] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 4:
            datagram += rng.choice(datagrams)
        else:  # a length or number field: all ones, or zero
            datagram[position : position + 3] = rng.choice((b"\xff\xff\xff", b"\x00\x00\x00"))
        if not datagram:
            datagram += b"\x16"
    return bytes(datagram)


@pytest.mark.parametrize("steps", STATES)
@pytest.mark.parametrize("seed", range(6))
def test_mutated_datagrams_at_each_state(steps, seed):
    rng = random.Random(seed * 100 + steps)
    material = at_state(100, seed)
    datagrams = material.client_events.sent + material.server_events.sent
    couple = at_state(steps, seed)
    datagrams += couple.client_events.sent + couple.server_events.sent
    for turn in range(250):
        if couple.client.handshake_count == couple.client.session_count == 0:
            couple.client.connect(SERVER, SENSOR, couple.now)
            datagrams.append(couple.client_events.sent[-1])
        couple.client.receive(mutated(rng, datagrams), SERVER, couple.now)
        couple.server.receive(mutated(rng, datagrams), ("192.0.2.1", 50000 + turn % 7), couple.now)
        couple.now += rng.random() * 0.1
        couple.client.handle_timeout(couple.now)
        couple.server.handle_timeout(couple.now)
        assert couple.server.handshake_count <= 4
        assert couple.server.session_count <= 4
    assert couple.server_events.data == []
    # A well-behaved client is served.
    couple.filter = lambda source, target, datagram: [datagram]
    good, events = couple.add(("192.0.2.1", 4711))
    good.connect(SERVER, SENSOR, couple.now)
    couple.run(until=5.0)
    assert len(events.established) == 1
