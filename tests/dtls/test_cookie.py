"""Cookies are bound to address, hello and time (RFC 6347 section 4.2.1)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from securecoap.dtls.cookie import CookieJar

PEER = ("192.0.2.1", 5684)


def jar(now: float = 0.0) -> CookieJar:
    return CookieJar(random.Random(1).randbytes, 60.0, now)


def make(cookies: CookieJar, peer: object, parameters: bytes, now: float) -> bytes:
    demanded = cookies.demand(b"", peer, parameters, now)
    assert demanded is not None
    return demanded


def check(cookies: CookieJar, cookie: bytes, peer: object, parameters: bytes, now: float) -> bool:
    return cookies.demand(cookie, peer, parameters, now) is None


def test_cookie_is_for_one_address_and_one_hello():
    cookies = jar()
    cookie = make(cookies, PEER, b"hello", 0.0)
    assert check(cookies, cookie, PEER, b"hello", 1.0)
    assert not check(cookies, cookie, ("192.0.2.1", 5685), b"hello", 1.0)
    assert not check(cookies, cookie, PEER, b"hellO", 1.0)
    assert not check(jar(), b"", PEER, b"hello", 1.0)


def test_equal_addresses_are_equal_whoever_made_them():
    """What the system gives for each datagram is another object, and maybe no interned string."""
    cookies = jar()
    again = (b"192.0.2.1".decode(), int("5684"))
    assert check(cookies, make(cookies, PEER, b"hello", 0.0), again, b"hello", 1.0)
    local = (again, bytes(20))
    assert check(cookies, make(cookies, (PEER, bytes(20)), b"hello", 0.0), local, b"hello", 1.0)


def test_cookie_outlives_one_change_of_the_key_and_not_two():
    cookies = jar()
    cookie = make(cookies, PEER, b"hello", 59.0)
    assert check(cookies, cookie, PEER, b"hello", 61.0)
    assert check(cookies, cookie, PEER, b"hello", 119.0)
    assert not check(cookies, cookie, PEER, b"hello", 122.0)


def test_after_a_long_pause_no_old_key_is_left():
    cookies = jar()
    cookie = make(cookies, PEER, b"hello", 0.0)
    assert not check(cookies, cookie, PEER, b"hello", 200.0)


@given(st.binary(max_size=40))
def test_guesses_fail(cookie):
    assert not check(jar(), cookie, PEER, b"hello", 0.0)
