"""Half-open handshakes: strangers who send a good cookie and then nothing more (RFC 6347 section 4.2.1).

One server with every mode; each stranger has an address of his own. The oldest handshake goes where there are too many,
and good clients are served meanwhile.
"""

from __future__ import annotations

import resource
from random import Random
from typing import TYPE_CHECKING, Any, Final

from fuzz.dtls import LIMITS, MODES, SERVER, Arena, Tally
from securecoap.dtls.endpoint import Endpoint
from securecoap.dtls.messages import ClientHello, HandshakeType, encode_handshake
from securecoap.dtls.records import ContentType, parse_records, plaintext_record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["half_open"]

SERVE_EVERY: Final = 1000
WARM: Final = 2000
"""Handshakes before the memory is looked at for the first time."""
MOST_GROWTH: Final = 16 * 1024 * 1024


def half_open(seed: int, count: int, tally: Tally, report: Callable[[str], None]) -> None:
    """Begin ``count`` handshakes and complete none of them.

    Raises:
        AssertionError: a bound was not kept, or a good client was not served.
    """
    arena = Arena(seed, tally)
    rng = Random(seed)
    couple = arena.couple("psk")
    couple.filter = lambda source, _target, datagram: [datagram] if source[0] == "198.51.100.1" else []
    hellos = {mode: _hello(arena, mode) for mode in MODES}
    sent = couple.server_events.sent
    begun = at_first = 0
    for number in range(count):
        stranger = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + rng.randrange(64000))
        hello = hellos[rng.choice(MODES)]
        before = len(sent)
        couple.server.receive(_datagram(hello, 0), stranger, couple.now)
        cookie = parse_records(sent[before])[0].fragment(sent[before])[15:]
        couple.server.receive(_datagram(ClientHello(
            hello.version, rng.randbytes(32), b"", cookie, hello.cipher_suites, extensions=hello.extensions
        ), 1), stranger, couple.now)  # fmt: skip
        begun += couple.server.handshake_count > 0
        if couple.server.handshake_count > LIMITS.dtls_handshakes:
            raise AssertionError("there are more handshakes than may be")
        couple.now += 0.001
        sent.clear()
        if number % 50 == 0:
            couple.server.handle_timeout(couple.now)
            couple.server_events.failed.clear()
        if (number + 1) % SERVE_EVERY == 0:
            allow = couple.filter
            couple.filter = lambda source, target, datagram: (
                [datagram] if "198.51.100.1" in {source[0], target[0]} else []
            )
            arena.serve_a_good_client(couple)
            couple.filter = allow
            _forget_clients(couple)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if number < WARM:
                at_first = memory
            elif memory - at_first > MOST_GROWTH:
                raise AssertionError(f"{memory - at_first} bytes of memory more")
            report(f"half-open {number + 1:,}")
    tally["half-open handshakes"] += count


def _hello(arena: Arena, mode: str) -> ClientHello:
    couple = arena.couple(mode)
    couple.filter = lambda _source, _target, _datagram: []
    couple.client.connect(SERVER, arena.credentials[mode], couple.now)
    datagram = couple.client_events.sent[0]
    return ClientHello.parse(parse_records(datagram)[0].fragment(datagram)[12:])


def _datagram(hello: ClientHello, number: int) -> bytes:
    message = encode_handshake(HandshakeType.CLIENT_HELLO, number, hello.encode())
    return plaintext_record(ContentType.HANDSHAKE, number, message)


def _forget_clients(couple: Any) -> None:
    """The good clients are done: only the server has to bear what it was sent."""
    for address, endpoint in list(couple.endpoints.items()):
        if address[0] == "198.51.100.1":
            assert isinstance(endpoint, Endpoint)
            endpoint.shutdown()
            couple.run(until=0.1)
            del couple.endpoints[address], couple.recorders[address]
    couple.server_events.established.clear()
    couple.server_events.ended.clear()
    couple.server_events.failed.clear()
    couple.lines.clear()
