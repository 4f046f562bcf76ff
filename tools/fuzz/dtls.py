# ruff: noqa: SLF001  # it looks into what it attacks, and uses its keys
"""DTLS endpoints among hostile peers, in memory and in virtual time: what may be sent, and what must hold.

Three kinds of hostility, in every mode (PSK, ECDHE_PSK, raw public keys, certificates) and at each state:

- datagrams of real handshakes, mutated, sent to both sides beside (and instead of) the true ones;
- a peer who keeps to the protocol but for some messages, and goes on consistently: its transcript has what it sent;
- a peer who has the keys and seals what it likes.

What must hold: nothing raises, the tables stay within their bounds, nobody gets in, and good clients are served.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuzz.mutation import mutate_body, mutate_datagram, mutate_plaintext
from securecoap.config import Limits
from securecoap.dtls.admission import Admitted
from securecoap.dtls.alerts import HandshakeFault
from securecoap.dtls.connection_id import CONNECTION_ID_LENGTH
from securecoap.dtls.handshake_client import ClientHandshake
from securecoap.dtls.handshake_server import ServerHandshake
from securecoap.dtls.messages import ClientHello, parse_fragments
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.records import SequenceExhausted, parse_records
from securecoap.dtls.suites import SUITES, KeyExchangeKind
from tests.dtls.material import Keys, certificate_pair, raw_pair
from tests.dtls.pair import CLIENT, SENSOR, SERVER, Couple, keys

__all__ = ["MODES", "Arena", "Tally"]

LIMITS: Final = Limits(dtls_handshakes=16, dtls_sessions=16, dtls_handshake_bytes=4096)
ECDHE_PSK: Final = tuple(suite for suite in SUITES.values() if suite.key_exchange is KeyExchangeKind.ECDHE_PSK)
MODES: Final = ("psk", "ecdhe-psk", "raw", "certificate")
MOST_STEPS: Final = 14
"""Datagrams of the longest of these handshakes; beyond them the session is there."""
STRANGERS: Final = 7


class Tally(Counter[str]):
    """What was done, and what came of it."""

    def line(self) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in self.items())


class Arena:
    """One seed's world: a server with every mode, clients, and hostile peers; ``tally`` counts."""

    def __init__(self, seed: int, tally: Tally) -> None:
        self.rng = Random(seed)
        self.tally = tally
        raw, raw_server = raw_pair()
        certified, certified_server = certificate_pair()
        self.keys = Keys(raw_server.own + certified_server.own, raw_server.raw, certified_server.certified)
        self.credentials: dict[str, Any] = {
            "psk": SENSOR, "ecdhe-psk": SENSOR, "raw": raw, "certificate": certified,
        }  # fmt: skip
        self.corpus: list[bytes] = []

    def parameters(self, mode: str) -> DtlsParameters:
        small = self.rng.choice((1232, 1232, 300))
        common = {"limits": LIMITS, "datagram_size": small, "asks_for_connection_id": self.rng.random() < 0.3}
        return DtlsParameters(**common, **({"suites": ECDHE_PSK} if mode == "ecdhe-psk" else {}))

    def couple(self, mode: str) -> Couple:
        return Couple(
            self.credentials[mode], lookup=keys(SENSOR), server_keys=self.keys, client_parameters=self.parameters(mode),
            server_parameters=self.parameters("any"), seed=self.rng.randrange(2**32),
        )  # fmt: skip

    # Mutated datagrams.

    def mutate(self, mode: str, count: int) -> None:
        """Stop a handshake of this mode at some state, and send mutated datagrams to both sides."""
        couple = self.couple(mode)
        if self.rng.random() < 0.4:  # what is stopped and mutated is a resumption then
            couple.connect()
            self.tally["resumptions"] += 1
        steps = self.rng.randrange(MOST_STEPS)
        delivered = 0

        def stop(_source: Any, _target: Any, datagram: bytes) -> list[bytes]:
            nonlocal delivered
            delivered += 1
            return [datagram] if delivered <= steps else []

        couple.filter = stop
        couple.connect(until=0.3)
        own = couple.client_events.sent + couple.server_events.sent
        self.corpus = (self.corpus + own)[-200:]
        held = len(couple.server_events.established)
        for turn in range(count):
            datagram = mutate_datagram(self.rng, self.rng.choice(own if turn % 3 else self.corpus), self.corpus)
            if self.rng.random() < 0.5:
                couple.client.receive(datagram, SERVER, couple.now)
            else:
                stranger = (CLIENT[0], CLIENT[1] + self.rng.choice((0, 0, 0, *range(STRANGERS))))
                couple.server.receive(datagram, stranger, couple.now)
            if self.rng.random() < 0.1:
                couple.now += self.rng.random()
                couple.client.handle_timeout(couple.now)
                couple.server.handle_timeout(couple.now)
            self._check(couple)
        self.tally["mutated datagrams"] += count
        self.tally["handshakes that went through all the same"] += len(couple.server_events.established) - held
        for session in (*couple.client_events.established, *couple.server_events.established):
            if not session.claims:
                raise AssertionError("somebody got in without a proof")
        if couple.server_events.data:
            raise AssertionError("bytes that nobody sent were taken for data")
        if self.rng.random() < 0.05:
            couple.filter = lambda _source, _target, datagram: [datagram]
            self.serve_a_good_client(couple)

    # Peers that lie in one message.

    def lie(self, mode: str) -> None:
        """A client, or a server, whose messages are mutated before its own transcript takes them."""
        couple = self.couple(mode)
        if self.rng.random() < 0.5:
            self._lying_client(couple, mode)
        else:
            self._lying_server(couple, mode)
        self._check(couple)

    def _lying_client(self, couple: Couple, mode: str) -> None:
        liar = LyingClient(self.rng, couple, self.credentials[mode], self.parameters(mode))
        couple.filter = lambda _source, _target, _datagram: []
        liar.start(couple.now)
        server, sent = couple.server, couple.server_events.sent
        for _ in range(12):
            out, liar.output = liar.output, []
            for datagram in out:
                self.tally["mutated datagrams"] += 1
                server.receive(datagram, CLIENT, couple.now)
            if not sent:
                break
            answers = sent[:]
            sent.clear()
            liar.take(answers, couple.now)
        self.tally["lying clients"] += 1
        if couple.server_events.established and liar.lied:
            self.tally["lies without consequence"] += 1
            if couple.server_events.established[0].claims != expected_claims(mode):
                raise AssertionError(f"a lying client got {couple.server_events.established[0].claims}")

    def _lying_server(self, couple: Couple, mode: str) -> None:
        couple.filter = lambda _source, _target, _datagram: []
        client, sent = couple.client, couple.client_events.sent
        client.connect(SERVER, self.credentials[mode], couple.now)
        record = parse_records(sent[-1])[0]
        message = parse_fragments(record.fragment(sent[-1]))[0]
        sent.clear()
        hello = ClientHello.parse(message.data)
        environment = couple.server._environment
        liar = LyingServer(self.rng, Admitted(hello, message, 0), environment, couple.now)
        try:
            liar.start(couple.now)
        except HandshakeFault:
            return
        for _ in range(12):
            out, liar.output = liar.output, []
            for datagram in out:
                self.tally["mutated datagrams"] += 1
                client.receive(datagram, SERVER, couple.now)
            if not sent:
                break
            answers = sent[:]
            sent.clear()
            liar.take(answers, couple.now)
        self.tally["lying servers"] += 1

    # Peers with keys.

    def seal(self, mode: str, count: int) -> None:
        """After a handshake both ends seal what no honest end would."""
        couple = self.couple(mode)
        couple.connect()
        for _ in range(count):
            if couple.client.session(SERVER) is None or couple.server.session(CLIENT) is None:
                break
            for session, other, source in (
                (couple.client_session, couple.server, CLIENT), (couple.server_session, couple.client, SERVER),
            ):  # fmt: skip
                content_type, plaintext = mutate_plaintext(self.rng, self.rng.choice((21, 22, 23)), b"\x14" + bytes(23))
                try:
                    record = seal_anything(session, content_type, plaintext)
                except SequenceExhausted:
                    continue
                other.receive(record, source, couple.now)
                other.receive(mutate_datagram(self.rng, record, [record]), source, couple.now)
                self.tally["mutated datagrams"] += 2
                self._check(couple)
                if not session.alive:
                    break
        couple.run(until=1.0)

    # Good clients, and bounds.

    def serve_a_good_client(self, couple: Couple) -> None:
        """Whatever happened to this server: a client that keeps to the protocol is served."""
        mode = self.rng.choice(MODES)
        address = ("198.51.100.1", self.rng.randrange(1024, 65536))
        good, events = couple.add(address, self.parameters(mode))
        good.connect(SERVER, self.credentials[mode], couple.now)
        couple.run(until=8.0)
        if len(events.established) != 1:
            raise AssertionError(f"a good client was not served: {events.failed}")
        couple.carry(address, SERVER, events.established[0].seal_application(b"good"))
        couple.run(until=1.0)
        if couple.server_events.data[-1][1] != b"good":
            raise AssertionError("the data of a good client did not arrive")
        couple.server_events.data.clear()
        self.tally["good clients served"] += 1

    def _check(self, couple: Couple) -> None:
        for endpoint in (couple.client, couple.server):
            if endpoint.handshake_count > LIMITS.dtls_handshakes + 1 or endpoint.session_count > LIMITS.dtls_sessions:
                raise AssertionError("a table is beyond its bound")
            for handshake in endpoint._handshakes:
                held = handshake._reassembly._held
                if held > LIMITS.dtls_handshake_bytes or len(handshake._early) > 4:
                    raise AssertionError("a handshake holds more than it may")


def expected_claims(mode: str) -> tuple[str, ...]:
    """What the server calls a client of each mode."""
    return {"raw": (":sensor-19",), "certificate": ("san:sensor-19.example",)}.get(mode, SENSOR.claims)


def seal_anything(session: Any, content_type: int, plaintext: bytes) -> bytes:
    """A record with any content type, sealed with a session's keys."""
    write = session.write
    try:
        record: bytes = write.seal(content_type, plaintext)
    except KeyError:  # a content type that has no header here
        record = write.seal(23, plaintext)
        record = bytes((content_type,)) + record[1:]
    return record


class _Liar:
    """Mixed into a handshake: now and then a message has another body than the protocol wants."""

    rng: Random
    lied: bool

    def _message(self, message_type: int, body: bytes, writer: Any = None) -> Any:
        if self.rng.random() < 0.3:
            changed = mutate_body(self.rng, message_type, body)
            self.lied = self.lied or changed != body
            body = changed
        return super()._message(message_type, body, writer)  # type: ignore[misc]  # of the handshake that it is mixed into

    def take(self: Any, datagrams: list[bytes], now: float) -> None:
        """Read what the honest side says, as far as it makes sense to the liar."""
        for datagram in datagrams:
            for record in parse_records(datagram, CONNECTION_ID_LENGTH):
                try:
                    if record.epoch:
                        self.receive_protected(record, datagram, now)
                    elif record.content_type == 22:
                        self.receive_plaintext(record.fragment(datagram), now)
                except HandshakeFault:
                    return


class LyingClient(_Liar, ClientHandshake):
    """A client that lies."""

    def __init__(self, rng: Random, couple: Couple, credential: Any, parameters: DtlsParameters) -> None:
        self.rng, self.lied = rng, False
        environment = dataclasses.replace(couple.client._environment, parameters=parameters)
        super().__init__(SERVER, credential, environment, couple.now)


class LyingServer(_Liar, ServerHandshake):
    """A server that lies."""

    def __init__(self, rng: Random, admitted: Admitted, environment: Any, now: float) -> None:
        self.rng, self.lied = rng, False
        super().__init__(CLIENT, admitted, environment, now, beside_session=False)
