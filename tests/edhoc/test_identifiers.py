"""Identifiers: none in use twice, none of a configured context, short ones first, all given back."""

from __future__ import annotations

import random

from securecoap.edhoc.identifiers import Identifiers
from securecoap.edhoc.messages import MAXIMUM_IDENTIFIER, encode_identifier

CONFIGURED = {b"\x00", b"\x17", b"\x37", b"\x01\x02"}


def test_none_is_given_out_twice_or_configured() -> None:
    identifiers = Identifiers(random.Random(1), CONFIGURED.__contains__)
    taken = [identifiers.take() for _ in range(5000)]
    assert len(set(taken)) == len(identifiers) == 5000
    assert CONFIGURED.isdisjoint(taken)
    assert all(len(one) <= MAXIMUM_IDENTIFIER for one in taken)
    # One byte in a message as long as there are such.
    assert all(len(encode_identifier(one)) == 1 for one in taken[:45])
    assert all(len(one) == 2 for one in taken[45:200])


def test_they_are_given_back() -> None:
    identifiers = Identifiers(random.Random(2), CONFIGURED.__contains__)
    for _ in range(200):
        taken = [identifiers.take() for _ in range(45)]
        assert all(len(one) == 1 for one in taken)
        for one in taken:
            identifiers.release(one)
            identifiers.release(one)
    assert len(identifiers) == 0


def test_it_is_not_that_of_the_other_side() -> None:
    identifiers = Identifiers(random.Random(3), lambda _: False)
    for value in (*range(0x18), *range(0x20, 0x38)):
        one = identifiers.take(other=bytes((value,)))
        assert one != bytes((value,))
        identifiers.release(one)


def test_a_crowded_length_leads_to_the_next() -> None:
    identifiers = Identifiers(random.Random(4), lambda one: len(one) < 4)
    assert {len(identifiers.take()) for _ in range(10)} == {4}
