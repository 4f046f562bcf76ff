"""DTLS among hostile peers, in each mode and state; `tools/fuzz_dtls` is the same for longer."""

from __future__ import annotations

import pytest
from fuzz.dtls import MODES, Arena, Tally
from fuzz.half_open import half_open
from fuzz.mutation import mutate_datagram
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_mutated_datagrams_at_each_state(mode, seed):
    Arena(seed, Tally()).mutate(mode, 25)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_peers_that_lie_in_their_own_transcript(mode, seed):
    Arena(seed, Tally()).lie(mode)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_peers_with_keys_that_seal_what_they_like(mode, seed):
    Arena(seed, Tally()).seal(mode, 8)


def test_half_open_handshakes():
    tally = Tally()
    half_open(0, 1000, tally, lambda _: None)
    assert tally["half-open handshakes"] == 1000
    assert tally["good clients served"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_good_client_is_served_after_all_that(mode):
    for seed in range(3):
        arena = Arena(seed, Tally())
        couple = arena.couple(mode)
        for turn in range(100):
            datagram = mutate_datagram(arena.rng, arena.rng.randbytes(1 + turn), [b"\x16"])
            couple.server.receive(datagram, ("192.0.2.9", turn), couple.now)
        arena.serve_a_good_client(couple)
        assert arena.tally["good clients served"] == 1
