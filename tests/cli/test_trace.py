"""What ``-v`` and ``-vv`` show of messages: against a real server, and of what a peer makes up."""

from __future__ import annotations

import re

import pytest

from securecoap.cli.trace import Trace
from securecoap.interfaces import EndpointAddress
from securecoap.wire.codes import Code
from securecoap.wire.message import ACK, CON, Message

PSK = "70d634576ed8c60fac270a44780f754a"
SECRET = "816e561b1b290b51ae25368f4ac8a9a6"
SALT = "64fcb9f4fe984759"


class Peer(EndpointAddress):
    hostinfo = "[2001:db8::1]"


@pytest.fixture
def shown(capsys):
    """What a tracer wrote since the last time, without times."""

    def lines():
        err = capsys.readouterr().err
        return [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in err.splitlines()]

    return lines


@pytest.fixture
def device(secure, write):
    return write(
        {
            f"{secure.coaps}/*": {"dtls": {"client-identity": {"ascii": "sensor-17"}, "psk": {"hex": PSK}}},
            f"{secure.coap}/*": {
                "oscore": {
                    "secret": {"hex": SECRET},
                    "salt": {"hex": SALT},
                    "sender-id": {"hex": "12"},
                    "recipient-id": {"hex": "01"},
                }
            },
        }
    )


def traced(err):
    return [line.partition(" ")[2] for line in err.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]


def message(**given):
    made = Message(**{"code": Code.GET, **given})
    made.remote, made.mtype, made.mid, made.token = Peer(), CON, 7, b"\x01\x02"
    return made


# Against a server


def test_a_plain_exchange(demo, run):
    outcome = run("put", f"{demo.coap}/store/traced?a=1&b", "--payload", "x y", "--content-format", "json", "-v")
    sent, received = traced(outcome.err)
    assert re.fullmatch(
        rf"> {re.escape(demo.coap)} CON PUT, MID \d+, token [0-9a-f]+, Uri-Path store/traced, "
        r'Content-Format application/json, Uri-Query a=1&b, 3 bytes "x y", unprotected',
        sent,
    )
    assert re.match(rf"< {re.escape(demo.coap)} ACK 2\.0[14] \w+, MID \d+, token [0-9a-f]+, ", received)
    assert received.endswith(", unprotected")
    assert outcome.out == b""


def test_without_v_there_is_nothing(demo, run):
    assert run("get", f"{demo.coap}/hello").err == ""


def test_blocks(demo, run):
    err = run("get", f"{demo.coap}/large", "-v", "-o", "/dev/null").err
    assert "Block2 63 of 1024 bytes, 1024 bytes" in err
    assert "Block2 0 and more of 1024 bytes" in err


def test_dtls(secure, device, run):
    outcome = run("get", f"{secure.coaps}/whoami", "--credentials", device, "-v")
    lines = traced(outcome.err)
    assert lines[0].endswith("Uri-Path whoami, DTLS TLS_PSK_WITH_AES_128_CCM_8 identity 'sensor-17'")
    assert not any("ClientHello" in line for line in lines)
    assert PSK not in outcome.err


def test_a_handshake(secure, device, run):
    outcome = run("get", f"{secure.coaps}/whoami", "--credentials", device, "-vv")
    names = [re.sub(r"coaps://\S+ ", "", line) for line in traced(outcome.err)]
    assert names[:4] == [
        "> DTLS ClientHello",
        "< DTLS HelloVerifyRequest",
        "> DTLS ClientHello",
        "< DTLS ServerHello, ServerHelloDone",
    ]
    assert re.match("> DTLS ClientKeyExchange, ChangeCipherSpec, (Finished|[0-9]+ sealed)", names[4])
    assert PSK not in outcome.err


def test_oscore(secure, device, run):
    outcome = run("get", f"{secure.coap}/whoami", "--credentials", device, "-v")
    sent, received = traced(outcome.err)[-2:]
    assert re.search(r"CON POST, MID .* bytes encrypted, OSCORE kid 12 partial IV [0-9a-f]+, no DTLS$", sent)
    assert re.search(r"ACK 2.04 Changed, MID .* bytes encrypted, OSCORE nonce of the request, no DTLS$", received)
    assert "whoami" not in outcome.err


def test_what_oscore_protects(secure, device, run):
    outcome = run("get", f"{secure.coap}/whoami", "--credentials", device, "-vv")
    sent, _, _, received = traced(outcome.err)[-4:]
    assert re.match(r"> inside: \S+ GET, token [0-9a-f]+, Uri-Path whoami, OSCORE from 12 to 01$", sent)
    assert re.match(
        r"< inside: \S+ 2.05 Content, .*Content-Format application/json, .* OSCORE from 01 to 12$", received
    )
    assert not re.search(f"{SECRET}|{SALT}", outcome.err)


def test_a_reader_that_has_gone_holds_nothing_up(demo, run, monkeypatch):
    class Gone:
        def write(self, _):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("securecoap.cli.trace.sys.stderr", Gone())
    Trace(deep=True).sent(message())


# What a peer makes up


def test_nothing_of_a_peer_moves_the_cursor(shown):
    tracer = Trace(deep=True)
    tracer.received(message(code=Code.CONTENT, payload=b"\x1b[2J\n\x9b", location_path=("a\x1b[2J\n",)))
    tracer.malformed(b"\x1b[2J", Peer())
    tracer.failed(OSError("\x1b[2J\nx"), Peer())
    lines = shown()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([(6, b"\x00\x10")], "Observe 16"),
        ([(17, b"\x3c")], "Accept application/cbor"),
        ([(12, b"\xff\xfe")], "Content-Format 65534"),
        ([(23, b"\x0e")], "Block2 0 and more of 1024 bytes"),
        ([(27, b"\x16")], "Block1 1 of 1024 bytes"),
        ([(23, b"\x00\x00\x00\x0e")], "Block2 14"),
        ([(5, b"")], "If-None-Match"),
        ([(3, b"h\xff")], r"Uri-Host h\xff"),
        ([(65001, b"\x01\x02")], "option 65001 0102"),
        ([(9, b"\x09\x05\x12")], "OSCORE kid 12 partial IV 05, no DTLS"),
        ([(9, b"\x19\x05\x02\xaa\xbb")], "OSCORE kid empty kid context aabb partial IV 05, no DTLS"),
        ([(9, b"\xff")], "OSCORE with an option that does not decode, no DTLS"),
    ],
)
def test_options(shown, options, text):
    received = Message.decode(Message.decode(_encoded(options)).encode(), Peer())
    Trace(deep=False).received(received)
    assert text in shown()[0]


def _encoded(options):
    """A datagram with these options, whatever they are worth."""
    from securecoap.wire.message import encode_message
    from securecoap.wire.options import Options

    return encode_message(ACK, Code.CONTENT, 7, b"\x01", Options.received(tuple(options)).encode(), b"")


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"", "DTLS nothing"),
        (b"\x16", "DTLS nothing"),
        (b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28", "DTLS alert handshake_failure"),
        (b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\xfa", "DTLS alert 250"),
        (b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x02\x28", "DTLS an alert (sealed)"),
        (b"\x16\xfe\xfd" + bytes(8) + b"\x00\x01\x63", "DTLS a handshake message"),
        (b"\x16\xfe\xfd" + bytes(8) + b"\x00\x00", "DTLS a handshake message"),
        (b"\x19\xfe\xfd" + bytes(20), "DTLS 23 sealed bytes"),
        (b"\x63\xfe\xfd" + bytes(8) + b"\xff\xff", "DTLS content type 99"),
    ],
)
def test_records(shown, datagram, text):
    Trace(deep=True).handshake(datagram, ("::1", 5684, 0, 0), is_sent=False)
    assert shown() == [f"< coaps://[::1] {text}"]
    Trace(deep=False).handshake(datagram, ("::1", 5684, 0, 0), is_sent=False)
    assert shown() == []


def test_long_payloads_are_cut(shown):
    Trace(deep=False).sent(message(code=Code.PUT, payload=b"a" * 1000))
    Trace(deep=False).sent(message(code=Code.PUT, payload=b"\xff" * 1000))
    text, binary = shown()
    assert f'1000 bytes "{"a" * 48}"…' in text
    assert f"1000 bytes {'ff' * 24}" in binary
