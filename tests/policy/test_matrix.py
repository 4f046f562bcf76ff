"""Every combination of scheme, credential, pattern and method, against the design's text (its section 6, Server).

Decisions are those of `Server.handle` with the policy of a `Keyring`, on addresses whose claims came from the look-ups
that the transports use. ``oracle.py`` says what they have to be, and ``credentials explain`` has to say the same.
"""

from __future__ import annotations

import random
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.credentials.explaining import explain
from securecoap.wire.uri import ParsedUri
from tests.simulation.clock import virtual

from . import oracle
from .fleet import ARRIVALS, BOUND, CLAIMS, DEVICES, HOST, METHODS, PORTS, STRANGERS, Address, Arrival, Bench, psk

if TYPE_CHECKING:
    from pathlib import Path

FORMS: dict[str, list[str]] = {
    "coap://gw.example/store/x": ["store", "x"],
    "coaps://gw.example/store/x": ["store", "x"],
    "coap*://gw.example/store/x": ["store", "x"],
    "coap*://*/store/x": ["store", "x"],
    "coap*://*/store/*": ["store", "x", "y"],
    "coap*://*/st*": ["store"],
    "coap*://*/s*e/x": ["store", "x"],
    "coap*://GW.Example./store/x": ["store", "x"],
    "coap*://*.example/store/x": ["store", "x"],
    "coap*://gw.example:5683/store/x": ["store", "x"],
    "coap*://gw.example:5684/store/x": ["store", "x"],
    "coap*://gw.example:*/store/x": ["store", "x"],
    "coap*://gw.example:9/store/x": ["store", "x"],
    "coap*://127.0.0.1/store/x": ["store", "x"],
    "coap*://else.example/store/x": ["store", "x"],
    "coaps://*": ["store"],
    "coap://gw*": ["store"],
    "coap*://*/": [],
    "coap*://*/caf%C3%A9/%2A": ["café", "*"],
    "coap*://*/.well-known/*": [".well-known", "core"],
    "coap+tcp://*/store/x": ["store", "x"],
    "*": ["store", "x"],
}
DEMANDS: dict[str, Any] = {
    **{label: label for label in DEVICES},
    "any": {"any-of": [":psk", ":oscore", ":rpks-old"]},
    "all": {"all-of": [":oscore", ":psk"]},
    "nested": {"any-of": [{"all-of": [":edhoc", ":x509"]}, ":rpk"]},
    "own": psk("own"),
    "open": {"unprotected": True},
    "ended": {"unprotected": True, "not-after": "2001-01-01T00:00:00Z"},
}
FEW = (":psk", ":oscore", "all", "own", "open")
LIMITS: tuple[tuple[str, ...], ...] = ((), ("PUT", "FETCH"))


def entry(demand: str, methods: tuple[str, ...]) -> Any:
    value = DEMANDS[demand]
    if not methods:
        return value
    return {**({"any-of": [value]} if isinstance(value, str) else value), "methods": list(methods)}


def proved(arrival: Arrival) -> tuple[str, ...] | None:
    """What the design says of who comes in like this; ``None`` where a credential has expired."""
    claims: tuple[str, ...] = ()
    for label in arrival.labels:
        if label.endswith("-old"):
            return None
        claims += CLAIMS[label]
    return claims


def compare(bench: Bench, arrival: Arrival, path: list[str], method: str, host: str | None) -> str:
    """Ask, and hold the answer against the oracle and the explanation; gives the answer."""
    claims = proved(arrival)
    remote = bench.address(arrival)
    named = BOUND if host is None else host
    if claims is None:
        assert remote is None
        wanted = oracle.UNAUTHORIZED
    else:
        assert remote is not None
        assert remote.authenticated_claims == claims
        wanted = oracle.decide(
            bench.now, scheme=arrival.scheme, host=named, port=PORTS[arrival.scheme], path=path, method=method,
            claims=claims, strangers=STRANGERS,
        )  # fmt: skip
        more = () if host is None else ((3, host.encode()),)
        given = bench.ask(remote, path, method, *more)
        assert given == wanted, f"{method} {arrival} {path} {host}"
        assert bench.ask(remote, path, method, *more) == wanted  # as remembered, too
    assert bench.ring.credentials is not None
    uri = ParsedUri(arrival.scheme, named, PORTS[arrival.scheme], tuple(path))
    found = explain(bench.ring.credentials, uri, METHODS[method], arrival.labels, time.time())
    words = {0: "allowed", 0x81: "4.01", 0x83: "4.03"}
    assert words[found.decision] == wanted, f"explain {method} {arrival} {path} {host}: {found.reasons}"
    return wanted


@pytest.mark.parametrize("form", FORMS)
@virtual
async def test_every_pattern(form: str, tmp_path: Path) -> None:
    answers = set()
    for demand, methods in product(FEW, LIMITS):
        bench = Bench({form: entry(demand, methods)}, tmp_path)
        for arrival, method in product(ARRIVALS, METHODS):
            answers.add(compare(bench, arrival, FORMS[form], method, None))
        for arrival in ARRIVALS:
            answers.add(compare(bench, arrival, FORMS[form], "PUT", HOST))
            for path in (["store"], ["store", "x", ""], ["else"], [".well-known", "edhoc"]):
                answers.add(compare(bench, arrival, path, "PUT", None))
    assert answers == {"allowed", "4.01", "4.03"}


@pytest.mark.parametrize("demand", DEMANDS)
@virtual
async def test_every_demand(demand: str, tmp_path: Path) -> None:
    for form, methods in product(("coap*://*/store/x", "coaps://gw.example/store/x"), LIMITS):
        bench = Bench({form: entry(demand, methods)}, tmp_path)
        for arrival, method in product(ARRIVALS, METHODS):
            compare(bench, arrival, ["store", "x"], method, HOST)


@pytest.mark.parametrize("form", FORMS)
@virtual
async def test_a_credential_under_the_pattern(form: str, tmp_path: Path) -> None:
    """Its peer has the pattern for a label, and is nobody where the pattern is for another host."""
    bench = Bench({form: {**psk("own"), "claims": ["mine"]}}, tmp_path)
    claims = bench.session_claims(":own")
    assert claims == (None if "else.example" in form else (form, "mine"))
    assert bench.ring.credentials is not None
    for method, path in product(METHODS, (FORMS[form], ["else"])):
        uri = ParsedUri("coaps", HOST, PORTS["coaps"], tuple(path))
        found = explain(bench.ring.credentials, uri, METHODS[method], (form,), time.time())
        if claims is None:
            assert found.decision == 0x81
            continue
        wanted = oracle.decide(
            bench.now, scheme="coaps", host=HOST, port=PORTS["coaps"], path=path, method=method, claims=claims
        )
        assert bench.ask(Address("coaps", claims), path, method, (3, HOST.encode())) == wanted
        assert (found.decision == 0) is (wanted == "allowed")


@pytest.mark.parametrize("seed", range(30))
@virtual
async def test_several_patterns(seed: int, tmp_path: Path) -> None:
    """Which of them decides: path, authority, scheme, order, and what methods take out."""
    chance = random.Random(seed)
    patterns: dict[str, Any] = {}
    for _ in range(chance.randint(2, 6)):
        limit = tuple(chance.sample(list(METHODS), chance.choice((1, 6)))) if chance.random() < 0.4 else ()
        scheme, authority = chance.choice(("coap", "coaps", "coap*")), chance.choice(("*", HOST, "*.example", BOUND))
        below = chance.choice(("*", "a/*", "a*", "*b", "a/b", "a/*b", "*/b", "a/b*", ""))
        demand = chance.choice(sorted(DEMANDS.keys() - {"own"}))
        patterns[f"{scheme}://{authority}/{below}"] = entry(demand, limit)
    bench = Bench(patterns, tmp_path)
    paths = [[], [""], ["a"], ["b"], ["a", ""], ["a", "b"], ["ab"], ["a", "cb"], ["a", "b", "c"], ["a/b"], ["c"]]
    for arrival, path in product(ARRIVALS, paths):
        compare(bench, arrival, path, chance.choice(list(METHODS)), chance.choice((None, HOST)))
