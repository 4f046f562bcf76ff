"""Keys that change by the clock, drawn or shared."""

from __future__ import annotations

import random

import pytest

from securecoap.dtls.cookie import CookieJar
from securecoap.dtls.parameters import DtlsParameters
from securecoap.dtls.rotation import RotatingKeys
from securecoap.dtls.tickets import TicketKeys

from .pair import CLIENT, SERVER, Couple, keys
from .test_resumption import ABBREVIATED, RESUMING, SENSOR, connect_again


def drawn(now: float = 0.0) -> RotatingKeys[bytes]:
    return RotatingKeys(bytes, random.Random(1).randbytes, 100.0, now)


def shared(now: float, secret: bytes = b"a secret of all of us", label: bytes = b"x") -> RotatingKeys[bytes]:
    return RotatingKeys(bytes, random.Random(now).randbytes, 100.0, now, shared=secret, label=label)


def test_the_predecessor_is_the_key_before():
    known = drawn()
    first = known.current
    assert known.previous is None
    known.rotate(99.9)
    assert known.current == first
    known.rotate(150.0)
    assert known.previous == first
    second = known.current
    known.rotate(199.9)
    assert known.current == second
    known.rotate(200.0)
    assert known.previous == second


def test_after_a_long_pause_there_is_no_predecessor():
    known = drawn()
    first = known.current
    known.rotate(250.0)
    assert known.previous is None
    assert known.current != first


def test_who_shares_a_secret_has_the_same_keys_whenever_it_began():
    early, late = shared(1010.0), shared(1399.0)
    early.rotate(1399.0)
    assert (early.current, early.previous) == (late.current, late.previous)
    for now in (1400.0, 1405.0, 1500.0, 9999.0):
        early.rotate(now)
        late.rotate(now)
        assert (early.current, early.previous) == (late.current, late.previous)
        assert early.current != early.previous


def test_another_secret_or_use_has_other_keys():
    assert shared(0.0).current != shared(0.0, b"another secret here").current
    assert shared(0.0).current != shared(0.0, label=b"y").current


def test_cookies_and_tickets_of_one_process_are_good_with_the_others():
    secret = b"a secret of all of us"
    jars = [CookieJar(random.Random(seed).randbytes, 60.0, 7.0 * seed, secret) for seed in (1, 2)]
    cookie = jars[0].demand(b"", "peer", b"hello", 20.0)
    assert cookie is not None
    assert jars[1].demand(cookie, "peer", b"hello", 21.0) is None
    tickets = [TicketKeys(random.Random(seed).randbytes, 60.0, 7.0 * seed, secret) for seed in (1, 2)]
    assert tickets[1].open(tickets[0].seal(b"state", 20.0), 21.0) == b"state"


def test_a_client_resumes_with_another_process():
    parameters = DtlsParameters(connection_ids=False, shared_secret=b"a secret of all of us")
    couple = Couple(client_parameters=RESUMING, server_parameters=parameters)
    couple.connect()
    couple.server, couple.server_events = couple.add(SERVER, parameters, keys(SENSOR))
    assert connect_again(couple) == ABBREVIATED
    assert couple.server.session(CLIENT).claims == SENSOR.claims


def test_a_short_secret_is_refused_and_none_is_shown():
    with pytest.raises(ValueError, match="16 bytes"):
        DtlsParameters(shared_secret=b"short")
    assert "secret of all" not in repr(DtlsParameters(shared_secret=b"a secret of all of us"))
