"""Finding a context costs the same among two and among 100,000, and a message is tried with few: counted, not timed."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits
from securecoap.credentials import CredentialsMap, OscoreContext
from securecoap.events import Events
from securecoap.expiry import ExpiryWatch
from securecoap.oscore.context import SecurityContext
from securecoap.oscore.window import ReplayWindow
from securecoap.security_contexts import SecurityContexts

from .fakes import Address, End
from .test_layer import request_of
from .vectors import SALT, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 100_000


def credentials(count: int) -> CredentialsMap:
    return CredentialsMap.from_dict(
        {
            f":{number}": {"oscore": {
                "secret": number.to_bytes(16, "big"), "sender-id": b"", "recipient-id": number.to_bytes(4, "big"),
                **({"id-context": b"c"} if number % 2 else {}),
            }}
            for number in range(count)
        }
    )  # fmt: skip


def operations(run: Callable[[], Any]) -> int:
    """Lines of Python and calls, of Python or C: what it costs, whatever the machine."""
    count = 0

    def trace(_frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    sys.setprofile(profile)
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("kid", "kid_context"), [(2, None), (3, None), (3, b"c"), (3, b"d"), (1 << 20, None)])
def test_a_look_up_costs_the_same_among_very_many(kid: int, kid_context: bytes | None) -> None:
    now = time.time()
    few, many = small_and_large()
    value = kid.to_bytes(4, "big")
    found = many.find_oscore(value, kid_context, now)
    assert [one.label for one in found] == ([f":{kid}"] if kid < MANY and kid_context != b"d" else [])
    assert operations(lambda: many.find_oscore(value, kid_context, now)) == operations(
        lambda: few.find_oscore(value, kid_context, now)
    )


_maps: list[CredentialsMap] = []


def small_and_large() -> list[CredentialsMap]:
    if not _maps:
        _maps.extend((credentials(6), credentials(MANY)))
    return _maps


def opened(loaded: CredentialsMap) -> SecurityContexts:
    """With contexts as after opening; of those that are looked at."""
    expiry = ExpiryWatch(Events(time.monotonic), time.time)
    contexts = SecurityContexts(
        loaded, [], state=None, strict=False, is_server=True, limits=Limits(), expiry=expiry, wait=0.0
    )
    for credential in loaded.credentials()[:6]:
        assert isinstance(credential, OscoreContext)
        contexts._contexts[credential.key] = SecurityContext.derive(
            bytes(16), b"", b"", credential.recipient_id, id_context=credential.id_context
        )
    return contexts


def test_a_look_up_is_remembered_and_does_not_scan() -> None:
    """The table of opened contexts: one look-up in a dictionary, once it has been asked."""
    costs = []
    for contexts in map(opened, small_and_large()):
        find = partial(contexts.find, (2).to_bytes(4, "big"), None)
        assert len(find()) == 1
        costs.append(operations(find))
    assert costs[0] == costs[1] < 20


def test_what_was_found_is_not_looked_for_again() -> None:
    """With the same identifiers only: a kid context is part of the question."""
    server = End("C.1.2")
    (context,) = server.contexts.contexts
    server.contexts.found = {(context.recipient_id, None): [context], (context.recipient_id, b"other"): []}
    server.receive(request_of(1), Address("peer"))
    assert len(server.above.got) == 1
    assert server.contexts.lookups == []
    context.window = ReplayWindow()
    server.contexts.found = {(context.recipient_id, b"other"): [context]}
    server.receive(request_of(1), Address("peer"))
    assert len(server.above.got) == 2
    assert server.contexts.lookups == [(context.recipient_id, None)]


def test_decryption_attempts_are_few_however_many_share_a_kid() -> None:
    server = End("C.1.2")
    attempts = []

    class Aead:
        def decrypt(self, *_: Any) -> bytes:
            attempts.append(1)
            raise ValueError

    server.contexts.contexts[:] = [
        SecurityContext.derive(SECRET, SALT, b"\x01", b"", id_context=bytes((number,)), window=ReplayWindow())
        for number in range(200)
    ]
    for context in server.contexts.contexts:
        context.aead_recipient = Aead()
    server.receive(request_of(1), Address("peer"))
    assert len(attempts) == 16
    assert server.below.take().code == 0x80


def test_failures_look_the_same_and_cost_the_same() -> None:
    """A changed tag and a changed ciphertext: one answer, bit by bit, after the same work."""
    seen = set()
    for place in (-1, -9):
        server = End("C.1.2")
        wrong = bytearray.fromhex(request_of(1))
        wrong[place] ^= 1
        steps = operations(partial(server.receive, bytes(wrong), Address("peer")))
        answer = server.below.take()
        answer.mtype, answer.mid = 2, 1
        seen.add((steps, answer.encode()))
    assert len(seen) == 1
