"""tools/fuzz_oscore: whatever a peer sends, OSCORE gives a value or its one documented error.

    tools/fuzz_oscore                           a million inputs, a new seed
    tools/fuzz_oscore --count 10000 --seed 7    fewer, the same again

Inputs are random bytes, real messages with bytes changed, cut, doubled or put together anew, and what only somebody
with the keys could send: any plaintext under a right seal. They go to the parser of the option, to the look-up of
contexts, and as datagrams to a server (with known, void and retired windows, several contexts of one kid, and one that
is derived anew) and to a client that waits. It ends with 1 at the first exception that is not documented, or when a
handler was reached by what was not sealed for it, and prints the input.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from support.environment import ROOT, in_environment, make_environment, say

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET, SALT = bytes(range(16)), b"salt"
KIDS = (b"", b"\x02", b"\x03", b"\x04", b"\x05")


def main() -> int:
    """Fuzz, and say what was done."""
    parser = argparse.ArgumentParser(
        prog="tools/fuzz_oscore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    if not in_environment("securecoap"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "fuzz.oscore", *sys.argv[1:]])
    logging.disable(logging.CRITICAL)
    return asyncio.run(run(options.count, options.seed))


async def run(count: int, seed: int) -> int:
    """That many inputs."""
    fuzz = Fuzz(random.Random(seed))
    started = time.monotonic()
    say(f"seed {seed}, {count} inputs")
    for number in range(count):
        name, act = fuzz.draw()
        try:
            act()
        except Exception:  # noqa: BLE001  # whichever: it is what is looked for
            traceback.print_exc()
            say(f"input {number} of seed {seed} ({name}): {fuzz.last.hex()}")
            return 1
        if not number % 1000:
            await asyncio.sleep(0)  # timers and what was put off
    kinds = ", ".join(f"{one} {how_often}" for one, how_often in sorted(fuzz.outcomes.items()))
    say(f"seed {seed}: {count} inputs in {time.monotonic() - started:.0f} s: {kinds}: nothing undocumented")
    return 0


class Fuzz:
    """The endpoints under attack, and what is sent to them.

    Args:
        chance: of every choice.

    Attributes:
        last: the input under way.
        outcomes: how often each thing happened.
    """

    def __init__(self, chance: random.Random) -> None:
        from securecoap.config import Limits
        from securecoap.oscore.context import SecurityContext
        from securecoap.oscore.layer import OscoreLayer
        from securecoap.oscore.rederivation import Rederivation
        from securecoap.oscore.sender import Sender
        from securecoap.oscore.window import ReplayWindow

        self.chance = chance
        self.last = b""
        self.outcomes: Counter[str] = Counter()
        self.allowed = 0
        loop = asyncio.get_running_loop()
        limits = Limits(oscore_errors_per_second=1e9, echo_challenges_per_second=1e9)
        self.base = Rederivation(SECRET, SALT, b"\x01", KIDS[4], scheduler=loop, randomness=chance)

        def pair(kid: bytes, window: ReplayWindow, id_context: bytes | None = None) -> tuple[Any, Any]:
            ours = SecurityContext.derive(SECRET, SALT, kid, b"\x01", id_context=id_context)
            theirs = SecurityContext.derive(SECRET, SALT, b"\x01", kid, id_context=id_context, window=window)
            for context in (ours, theirs):
                context.sender = Sender(Numbers(), loop)
            return ours, theirs

        pairs = [
            pair(KIDS[0], ReplayWindow()), pair(KIDS[1], ReplayWindow(void=True)), pair(KIDS[2], ReplayWindow(4096)),
            pair(KIDS[0], ReplayWindow(), b"other"), pair(KIDS[3], ReplayWindow()),
        ]  # fmt: skip
        pairs[-1][1].retire()
        self.clients = [ours for ours, _ in pairs]
        self.contexts = [theirs for _, theirs in pairs]
        self.below, self.above = Below(), Above(self)
        below: Any = self.below  # stand-ins have what is asked of them here
        contexts: Any = self
        self.layer = OscoreLayer(below, contexts, loop, chance, limits)
        self.layer.above = self.above
        self.address: Any = Peer()
        self.found: dict[Any, Any] = {}
        self.kept: list[bytes] = [self.sealed(b"\x01\xb3abc")[0] for _ in range(8)]

    # A `ContextSource`.

    def find(self, kid: bytes, kid_context: bytes | None) -> list[Any]:
        """Every context with them."""
        current = () if self.base.current is None else (self.base.current,)
        return [
            one
            for one in (*self.contexts, *current)
            if one.recipient_id == kid and kid_context in (None, one.kid_context)
        ]

    def derivations(self, kid: bytes) -> list[Any]:
        """The one."""
        return [self.base] if kid == KIDS[4] else []

    async def for_request(self, _message: Any) -> Any:
        """Requests of its own are made here, not asked for."""
        return None

    def complete(self, _kid: bytes, _payload: bytes, _remote: Any) -> bytes:
        """There is no key exchange to complete."""
        from securecoap.oscore.agreement import AgreementRefused

        raise AgreementRefused("none is under way")

    # Inputs.

    def draw(self) -> tuple[str, Callable[[], None]]:
        """One of the kinds of input."""
        return self.chance.choice(
            (
                ("option", self.option), ("random", self.random_datagram), ("changed", self.changed),
                ("sealed", self.authentic), ("response", self.response), ("context", self.kid_context),
            )
        )  # fmt: skip

    def octets(self, longest: int) -> bytes:
        """Random ones, short more often than long."""
        return self.chance.randbytes(int(longest * self.chance.random() ** 3))

    def option(self) -> None:
        """The parser alone."""
        from securecoap.errors import OptionError
        from securecoap.oscore.option import decode_option, encode_option

        self.last = self.octets(300)
        try:
            decoded = decode_option(self.last)
        except OptionError:
            self.outcomes["options refused"] += 1
            return
        self.outcomes["options parsed"] += 1
        if len(self.last) <= 255 and decode_option(encode_option(*decoded)) != decoded:
            raise AssertionError("it is not read as it is written")

    def kid_context(self) -> None:
        """The kid contexts of appendix B.2."""
        from securecoap.oscore.rederivation import decode_kid_context, encode_kid_context

        self.last = self.octets(260)
        found = decode_kid_context(self.last)
        if found is not None and encode_kid_context(found) != self.last:
            raise AssertionError("two forms of one kid context")

    def random_datagram(self) -> None:
        """An option and a payload at random, in a message that is none otherwise."""
        self.deliver(self.message(self.octets(60), self.octets(80)), may_arrive=False)

    def message(self, option: bytes, payload: bytes, code: int = 2, token: bytes = b"tttt") -> bytes:
        """A datagram with an OSCORE option."""
        length = len(option)
        head = bytes((0x40 | len(token), code)) + self.chance.randbytes(2) + token
        value = bytes((0x90 | length,)) if length < 13 else bytes((0x9D, length - 13))
        return head + value + option + (b"\xff" + payload if payload else b"")

    def sealed(self, plaintext: bytes) -> tuple[bytes, Any]:
        """What only a client with the keys can make."""
        context = self.chance.choice(self.clients)
        number = self.chance.choice((0, 1, self.chance.randrange(300), self.chance.randrange(1 << 40), (1 << 40) - 1))
        partial_iv = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
        identifiers = context.outgoing(partial_iv)
        sealed = context.aead_sender.encrypt(identifiers.nonce, plaintext, identifiers.aad)
        return self.message(context.request_option(partial_iv), sealed), context

    def authentic(self) -> None:
        """Any plaintext under a right seal, and requests #1 of a client that has lost everything."""
        plaintext = self.chance.choice((b"\x01\xb3abc", bytes((self.chance.randrange(256),)) + self.octets(60)))
        if self.chance.random() < 0.1:
            peer = self.base_of_client()
            context = peer.derive(self.octets(60) or b"x")
            identifiers = context.outgoing(b"\x00")
            sealed = context.aead_sender.encrypt(identifiers.nonce, plaintext, identifiers.aad)
            self.deliver(self.message(context.request_option(b"\x00"), sealed), may_arrive=True)
            return
        datagram, _ = self.sealed(plaintext)
        self.kept[self.chance.randrange(len(self.kept))] = datagram
        self.deliver(datagram, may_arrive=True)

    def base_of_client(self) -> Any:
        """The other side of what is derived anew."""
        from securecoap.oscore.rederivation import Rederivation

        loop = asyncio.get_running_loop()
        return Rederivation(SECRET, SALT, KIDS[4], b"\x01", scheduler=loop, randomness=self.chance)

    def changed(self) -> None:
        """A real request with something wrong."""
        data = bytearray(self.chance.choice(self.kept))
        for _ in range(self.chance.randrange(1, 4)):
            at = self.chance.randrange(8, len(data))
            match self.chance.randrange(4):
                case 0:
                    data[at] ^= 1 << self.chance.randrange(8)
                case 1:
                    del data[at:]
                    data += self.octets(20)
                case 2:
                    data[at:at] = self.octets(8)
                case _:
                    other = self.chance.choice(self.kept)
                    data = data[:at] + other[min(at, len(other)) :]
            if len(data) < 9:
                break
        self.deliver(bytes(data), may_arrive=bytes(data) in self.kept or len(data) > 8)

    def response(self) -> None:
        """Anything for a client that waits."""
        from securecoap.oscore.address import OscoreAddress
        from securecoap.wire.codes import Code
        from securecoap.wire.message import Message
        from securecoap.wire.options import Options

        context = self.chance.choice((*self.clients, self.base_of_client().for_request()))
        request = Message.inner(Code.GET, Options(), b"", OscoreAddress(context, self.address), b"rrrr")
        if self.chance.random() < 0.3:
            request.options.observe = 0
        cancel = self.layer.send_message(request)
        for _ in range(self.chance.randrange(1, 4)):
            sealed = self.octets(60)
            option = self.chance.choice((b"", b"\x01\x05", self.octets(40)))
            if self.chance.random() < 0.6:  # under the right keys
                plaintext = bytes((self.chance.choice((0x45, 0x81, self.chance.randrange(256))),)) + self.octets(40)
                partial_iv = bytes((self.chance.randrange(256),))
                option = b"\x01" + partial_iv
                expected = self.layer._expected.get(self.address, {}).get(b"rrrr")  # noqa: SLF001  # its AAD
                identifiers = getattr(expected, "_identifiers", None)
                if identifiers is not None:
                    nonce = context.recipient_nonce(partial_iv[0])
                    sealed = context.aead_recipient.encrypt(nonce, plaintext, identifiers.aad)
            self.deliver(self.message(option, sealed, 0x44, b"rrrr"), may_arrive=True)
        if cancel is not None:
            cancel()

    def deliver(self, data: bytes, *, may_arrive: bool) -> None:
        """What the message layer does with a datagram."""
        from securecoap.errors import FormatError
        from securecoap.interfaces import ResponseSlot
        from securecoap.wire.message import Message

        self.last = data
        try:
            message = Message.decode(data, self.address)
        except FormatError:
            self.outcomes["no messages"] += 1
            return
        if message.options.oscore is None:
            self.outcomes["plain"] += 1
            return
        arrived = self.above.count
        if (message.code or 0) < 64:
            slot = ResponseSlot()
            slot.fate = None
            message.exchange = slot
        self.layer.dispatch_message(message)
        if self.above.count > arrived:
            self.outcomes["handed up"] += 1
            if not may_arrive:
                raise AssertionError("what nobody sealed was handed up")
        answers, self.below.sent = self.below.sent, []
        for answer in answers:
            self.outcomes["answers under protection" if answer.options.oscore is not None else "errors"] += 1
            if answer.options.oscore is None and answer.payload:
                raise AssertionError("an error without protection that says something")


class Peer:
    """An address."""

    is_multicast = is_multicast_locally = False
    confirmed = False
    security = "none"
    scheme = "coap"
    hostinfo = "peer"
    local_host = local_port = None
    authenticated_claims: tuple[str, ...] = ()


class Numbers:
    """Sequence numbers without end."""

    def __init__(self) -> None:
        self.next = 0

    def next_number(self) -> int:
        """The next."""
        self.next = (self.next + 1) % (1 << 40)
        return self.next

    async def reserve(self) -> None:
        """There are always more."""


class Below:
    """Takes what goes out."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_message(self, message: Any) -> None:
        """Keep it, once encoded."""
        message.mtype, message.mid = 0, 1
        message.encode()
        if (message.code or 0) >= 64:
            self.sent.append(message)


class Above:
    """Takes what comes in, and answers each request."""

    def __init__(self, fuzz: Fuzz) -> None:
        self.fuzz = fuzz
        self.count = 0

    def dispatch_message(self, message: Any) -> bool:
        """Count; answer."""
        from securecoap.wire.message import Message
        from securecoap.wire.options import Options

        self.count += 1
        if (message.code or 0) < 64:
            response = Message.inner(0x45, Options(), b"answer", message.remote, message.token)
            response.exchange = message.exchange
            self.fuzz.layer.send_message(response)
        return True

    def dispatch_error(self, _error: Any, _remote: Any) -> None:
        """Nothing is kept here."""


if __name__ == "__main__":
    sys.exit(main())
