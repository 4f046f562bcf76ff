"""Handshake messages there and back, and hostile ones (RFC 5246 section 7.4, RFC 4279, RFC 5746)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securecoap.dtls.alerts import Alert, HandshakeFault, alert_name, encode_alert, parse_alert
from securecoap.dtls.extensions import Extension, check_content
from securecoap.dtls.messages import (
    DTLS_1_2,
    ClientHello,
    Fragment,
    HelloVerifyRequest,
    ServerHello,
    encode_handshake,
    parse_fragments,
    parse_psk_key_exchange,
    split_cookie,
)
from securecoap.dtls.reader import vector

EXTENSIONS = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=5)
HELLOS = st.builds(
    ClientHello,
    st.integers(0, 0xFFFF),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=32),
    st.binary(max_size=255),
    st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=30).map(tuple),
    st.binary(min_size=1, max_size=3),
    EXTENSIONS,
)
PARSERS = [
    ClientHello.parse,
    ServerHello.parse,
    HelloVerifyRequest.parse,
    parse_psk_key_exchange,
    parse_psk_key_exchange,
    split_cookie,
]


@given(HELLOS)
def test_client_hello_there_and_back(hello):
    assert ClientHello.parse(hello.encode()) == hello


@given(HELLOS)
def test_a_cookie_is_bound_to_all_but_itself_and_the_extensions(hello):
    cookie, parameters, _ = split_cookie(hello.encode())
    assert cookie == hello.cookie
    assert split_cookie(hello._replace(cookie=b"other", extensions={}).encode())[:2] == (b"other", parameters)
    for change in (
        {"version": hello.version ^ 1},
        {"random": bytes(31) + bytes((hello.random[31] ^ 1,))},
        {"session_id": hello.session_id + b"s" if len(hello.session_id) < 32 else b""},
        {"cipher_suites": (*hello.cipher_suites, 1)},
        {"compression_methods": hello.compression_methods + b"\x02"},
    ):
        assert split_cookie(hello._replace(**change).encode())[1] != parameters


@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=32), st.integers(0, 0xFFFF), st.integers(0, 255), EXTENSIONS
)
def test_server_hello_there_and_back(random, session_id, suite, compression, extensions):
    hello = ServerHello(DTLS_1_2, random, session_id, suite, compression, extensions)
    assert ServerHello.parse(hello.encode()) == hello


@given(st.binary(max_size=255))
def test_hello_verify_request_there_and_back(cookie):
    request = HelloVerifyRequest(cookie)
    assert request.encode()[:2] == b"\xfe\xff"  # RFC 6347 section 4.2.1: whatever will be negotiated
    assert HelloVerifyRequest.parse(request.encode()) == request


@pytest.mark.parametrize("identity", [b"", b"sensor-17", b"\x00\xff" * 64, bytes(0xFFFF)])
def test_identities_are_any_bytes(identity):
    assert parse_psk_key_exchange(vector(identity, 2)) == identity


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_a_value_or_one_fault(parse, data):
    with suppress(HandshakeFault):
        parse(data)


@given(HELLOS, st.data())
def test_a_cut_client_hello_is_one_fault_or_has_no_extensions(hello, data):
    body = hello.encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    try:
        parsed = ClientHello.parse(body[:cut])
    except HandshakeFault:
        return
    assert parsed.extensions == {}


@given(st.binary(max_size=120))
def test_any_bytes_are_fragments_inside_them(payload):
    for fragment in parse_fragments(payload):
        assert fragment.offset + len(fragment.data) <= fragment.message_length


def test_a_record_may_have_several_messages():
    messages = encode_handshake(14, 3, b"") + encode_handshake(20, 4, bytes(12))
    assert parse_fragments(messages) == [
        Fragment(14, 0, 3, 0, b"", messages[:12]),
        Fragment(20, 12, 4, 0, bytes(12), messages[12:36]),
    ]


def test_an_extension_twice_is_a_fault():
    body = ClientHello(DTLS_1_2, bytes(32), cipher_suites=(1,)).encode() + bytes.fromhex("0008 0017 0000 0017 0000")
    with pytest.raises(HandshakeFault) as caught:
        ClientHello.parse(body)
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER


def test_renegotiated_connection_has_to_be_empty():
    check_content({Extension.RENEGOTIATION_INFO: b"\x00", Extension.EXTENDED_MASTER_SECRET: b"", 4711: b"any"})
    with pytest.raises(HandshakeFault) as caught:
        check_content({Extension.RENEGOTIATION_INFO: b"\x0c" + bytes(12)})
    assert caught.value.alert is Alert.HANDSHAKE_FAILURE
    with pytest.raises(HandshakeFault):
        check_content({Extension.EXTENDED_MASTER_SECRET: b"x"})


def test_alerts():
    assert parse_alert(encode_alert(2, Alert.DECRYPT_ERROR)) == (True, 51)
    assert parse_alert(b"\x01\x00") == (True, 0)
    assert parse_alert(b"\x01\x64") == (False, 100)
    for bad in (b"", b"\x02", b"\x03\x00", b"\x02\x00\x00"):
        assert parse_alert(bad) is None
    assert alert_name(51) == "decrypt_error"
    assert alert_name(99) == "alert 99"
