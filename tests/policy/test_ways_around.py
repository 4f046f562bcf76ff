"""What a peer may write to get around a pattern: none of it reaches what is closed (the design, section 6, Server).

Requests are datagrams here, and go through the whole stack of a server: what the lower layers refuse needs no policy.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.config import Limits
from securecoap.keyring import Keyring
from securecoap.oscore.sender import Sender
from securecoap.resources import ObservableResource, Site
from securecoap.wire import numbers
from securecoap.wire.codes import Code, dotted
from securecoap.wire.message import CON, Message, encode_message
from securecoap.wire.option_bytes import encode_options
from tests.oscore import vectors
from tests.oscore.fakes import Contexts, Numbers
from tests.simulation.clock import settle, virtual
from tests.simulation.endpoints import Pair
from tests.simulation.network import SimulatedAddress

from .fleet import DEVICES

if TYPE_CHECKING:
    from pathlib import Path

HOST, PORT, PATH, QUERY = numbers.URI_HOST, numbers.URI_PORT, numbers.URI_PATH, numbers.URI_QUERY
SECRET, PUBLIC = b"secret", b"public"
NAMES = ("gw.example", "pub.example", "::1", "fe80::1")
PATTERNS: dict[str, Any] = {
    "*": {"unprotected": True},
    "coap*://*/secret*": ":psk",
    "coap*://*/deep/secret": ":psk",
    "coap*://*/caf%C3%A9": ":psk",
    "coap*://gw.example:*/vhost": ":psk",
    "coap*://[::1]:*/literal": ":psk",
    "coap*://gw.example:7777/ported": {"unprotected": True},
    "coap*://*/read": {"any-of": [":oscore"], "methods": ["PUT"]},
    "coap*://*/written": {"any-of": [":psk"], "methods": ["PUT", "POST", "DELETE"]},
}


class Closed(ObservableResource):
    """Says who was let in, and to what."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.bodies: list[bytes] = []

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.word * 200)

    def render_put(self, request: Message) -> Message:
        self.bodies.append(request.payload)
        return Message(payload=self.word)

    render_post = render_delete = render_fetch = render_patch = render_ipatch = render_put


class Bench(Pair):
    """A server with these patterns, for a peer that has proved nothing."""

    def __init__(
        self, directory: Path, patterns: dict[str, Any] = PATTERNS, contexts: tuple[Any, Any] = (None, None)
    ) -> None:
        self.ring = Keyring(
            {**DEVICES, **patterns}, state=directory, strict_state=False, names=NAMES, bound=("127.0.0.1",),
            limits=Limits(), wait=1.0,
        )  # fmt: skip
        assert self.ring.access is not None
        self.secret, self.public = Closed(SECRET), Closed(PUBLIC)
        site, below = Site(), Site()
        for one in ("/secret", "/secret/{name}", "/café", "/vhost", "/literal", "/ported"):
            site.add(one, self.secret)
        below.add("/secret", self.secret)
        site.add("/deep", below)
        site.add("/open", self.public)
        site.add("/read", self.public)
        site.add("/written", self.public)
        authorize, is_own_name = self.ring.access.authorize, self.ring.access.is_own_name
        super().__init__(
            site,
            client_options={"contexts": contexts[0]},
            server_options={"contexts": contexts[1], "authorize": authorize, "is_own_name": is_own_name},
        )
        self._mid = 0

    async def send(self, *options: tuple[int, bytes], code: int = 1, payload: bytes = b"") -> Message:
        """What a datagram with these options is answered."""
        self._mid += 1
        token = self._mid.to_bytes(2, "big")
        pairs = sorted(options, key=lambda pair: pair[0])
        datagram = encode_message(CON, code, self._mid, token, encode_options(pairs), payload)
        self.network.inject("stranger", "server", datagram)
        await settle()
        return self.network.between("server", "stranger")[-1].message


def path(*segments: str | bytes) -> list[tuple[int, bytes]]:
    return [(PATH, one.encode() if isinstance(one, str) else one) for one in segments]


@pytest.mark.parametrize(
    ("code", "options"),
    [
        # Nothing but the path counts of what a peer writes.
        ("4.01", path("secret")),
        ("4.01", [*path("secret"), (QUERY, b"open"), (QUERY, b"/open")]),
        ("4.01", [*path("secret"), (PORT, b"\x16\x34")]),
        ("4.01", [*path("secret"), (PORT, b"\x01")]),
        ("4.01", [*path("secret"), (PORT, b"")]),
        ("4.01", [*path("secret"), (numbers.ACCEPT, b"(")]),
        ("4.01", path("secret", "x")),
        ("4.01", path("secret", "")),
        ("4.01", path("secret", "/open")),
        ("4.01", path("secret", "x", "y", "z")),
        ("4.01", path("secretly")),
        ("4.01", path("deep", "secret")),
        # A port that is not bound is nobody's, whatever Uri-Port says.
        ("4.01", path("ported")),
        ("4.01", [(HOST, b"gw.example"), (PORT, b"\x1e\x61"), *path("ported")]),
        # Names: our own, however they are written, and nobody else's.
        ("4.01", [(HOST, b"gw.example"), *path("secret")]),
        ("4.01", [(HOST, b"GW.EXAMPLE"), *path("secret")]),
        ("4.01", [(HOST, b"gw.example."), *path("secret")]),
        ("4.01", [(HOST, b"pub.example"), *path("secret")]),
        ("4.01", [(HOST, b"localhost"), *path("secret")]),
        ("4.01", [(HOST, b"127.0.0.1"), *path("secret")]),
        ("4.01", [(HOST, b"127.1"), *path("secret")]),
        ("4.01", [(HOST, b"0x7f.0.0.1"), *path("secret")]),
        ("4.01", [(HOST, b"::ffff:127.0.0.1"), *path("secret")]),
        ("4.04", [(HOST, b"else.example"), *path("secret")]),
        ("4.04", [(HOST, b"gw.example:5683"), *path("secret")]),
        ("4.04", [(HOST, b"gw.example/open"), *path("secret")]),
        ("4.04", [(HOST, b"gw%2Eexample"), *path("secret")]),
        ("4.04", [(HOST, b"*"), *path("secret")]),
        ("4.04", [(HOST, b" gw.example"), *path("secret")]),
        ("4.04", [(HOST, b"gw.example\x00"), *path("secret")]),
        ("4.04", [(HOST, b"gw.example.."), *path("secret")]),
        ("4.04", [(HOST, b"0.0.0.0"), *path("secret")]),
        ("4.04", [(HOST, b"::"), *path("secret")]),
        ("4.02", [(HOST, b""), *path("secret")]),
        ("4.02", [(HOST, b"pub.example"), (HOST, b"gw.example"), *path("secret")]),
        ("4.02", [(HOST, b"\xff"), *path("secret")]),
        ("4.02", [(HOST, b"x" * 256), *path("secret")]),
        # A path that is closed at one of our names is not open at the others, nor at none.
        ("4.01", path("vhost")),
        ("4.01", [(HOST, b"gw.example"), *path("vhost")]),
        ("4.01", [(HOST, b"gW.example."), *path("vhost")]),
        ("4.01", [(HOST, b"pub.example"), *path("vhost")]),
        ("4.01", [(HOST, b"::1"), *path("literal")]),
        ("4.01", [(HOST, b"[::1]"), *path("literal")]),
        ("4.01", [(HOST, b"0:0:0:0:0:0:0:1"), *path("literal")]),
        ("4.01", [(HOST, b"0000::0001"), *path("literal")]),
        ("4.01", [(HOST, b"::1%lo"), *path("literal")]),
        ("4.01", [(HOST, b"FE80::1"), *path("literal")]),
        ("4.04", [(HOST, b"fe80::1%9"), *path("literal")]),
        ("4.04", [(HOST, b"::2"), *path("literal")]),
        # Proxies: there is none here, whatever the rest says.
        ("5.05", [(numbers.PROXY_URI, b"coap://gw.example/open")]),
        ("5.05", [(numbers.PROXY_URI, b"coap://gw.example/open"), *path("secret")]),
        ("5.05", [(numbers.PROXY_URI, b"coap://gw.example/secret"), *path("open")]),
        ("5.05", [(numbers.PROXY_URI, b"\xc3"[:0] + b"x"), *path("secret")]),
        ("5.05", [(HOST, b"gw.example"), (numbers.PROXY_SCHEME, b"coaps"), *path("secret")]),
        ("5.05", [(HOST, b"else.example"), (numbers.PROXY_SCHEME, b"coap"), *path("open")]),
        # Paths that are others for whoever routes, and so for the policy.
        ("4.04", path("SECRET")),
        ("4.04", path("%73ecret")),
        ("4.04", path("", "secret")),
        ("4.04", path("open", "secret")),
        ("4.04", path("/secret")),
        ("4.04", path("deep/secret")),
        ("4.04", path("open/../secret")),
        ("4.04", path("deep", "", "secret")),
        ("4.04", path("deep", "secret ")),
        ("4.04", path("cafe\u0301")),
        ("4.04", path("\uff53ecret")),
        ("4.01", path("café")),
        ("4.01", path("secret" + "x" * 249)),
        ("4.04", path(*["x"] * 100)),
        # What is no path at all.
        ("4.02", path(".", "secret")),
        ("4.02", path("open", "..", "secret")),
        ("4.02", path("secret", "..", "open")),
        ("4.02", path(b"secret\xff")),
        ("4.02", path(b"\xffsecret")),
        ("4.02", path(b"\xc1\xb3ecret")),
        ("4.02", path(b"open", b"\xed\xa0\x80")),
        ("4.02", path("secret" + "x" * 250)),
        ("4.02", [(numbers.URI_PATH_ABBREV, b"\x01")]),
        ("4.02", [(2049 | 1, b"x"), *path("secret")]),
    ],
    ids=str,
)  # fmt: skip
@virtual
async def test_what_is_closed_stays_closed(code: str, options: list[tuple[int, bytes]], tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        for method in range(1, 8):
            answer = await bench.send(*options, code=method, payload=b"x" if method != 1 else b"")
            assert dotted(answer.code or 0) == code, method
            assert SECRET not in answer.payload
            assert not bench.secret.bodies


@virtual
async def test_a_limit_to_methods_is_one_to_methods(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        answers = [dotted((await bench.send(*path("written"), code=code)).code or 0) for code in range(1, 9)]
        assert answers == ["2.05", "4.01", "4.01", "4.01", "2.05", "2.04", "2.04", "4.05"]


@virtual
async def test_a_method_that_nobody_knows_is_refused_before_it_is_unknown(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        for code in range(8, 32):
            assert dotted((await bench.send(*path("secret"), code=code)).code or 0) == "4.01"


@virtual
async def test_what_is_listed_is_not_open(tmp_path: Path) -> None:
    """Discovery says which paths there are; a pattern closes it, with a query too."""
    core = path(".well-known", "core")
    async with Bench(tmp_path) as bench:
        listed = await bench.send(*core)
        assert b"</secret>" in listed.payload
        assert (await bench.send(*path("secret"))).code == Code.UNAUTHORIZED
    async with Bench(tmp_path, {"coap*://*/.well-known/core": ":psk", "*": {"unprotected": True}}) as bench:
        for query in ([], [(QUERY, b"href=/open")], [(QUERY, b"rt=*")]):
            answer = await bench.send(*core, *query)
            assert (answer.code, answer.payload) == (Code.UNAUTHORIZED, b"")
        assert (await bench.send(*path(".well-known", "core", ""))).code == Code.NOT_FOUND


@virtual
async def test_blocks_and_observations_end_with_the_policy_that_let_them_in(tmp_path: Path) -> None:
    """The blocks of a body, those of a large answer, and notifications: each asks the policy of its own moment."""
    closed = {**DEVICES, "*": {"unprotected": True}, "coap*://*/open": ":psk"}
    async with Bench(tmp_path) as bench:
        assert bench.ring.access is not None
        observed = await bench.send((numbers.OBSERVE, b""), *path("open"))
        assert observed.options.observe is not None
        first = await bench.send((numbers.BLOCK1, b"\x08"), *path("open"), code=3, payload=bytes(16))
        assert first.code == Code.CONTINUE
        part = await bench.send((numbers.BLOCK2, b"\x01"), *path("open"))
        assert (part.code, part.options.block2 is not None) == (Code.CONTENT, True)
        # Another path does not go on with the body, and its last block is asked for itself.
        other = await bench.send((numbers.BLOCK1, b"\x10"), *path("secret"), code=3, payload=b"x")
        assert other.code == Code.UNAUTHORIZED

        bench.ring.access.use(bench.ring.read(closed).policy)
        bench.server.server.review(bench.server.tokens.incoming())
        await settle()
        ended = bench.network.between("server", "stranger")[-1].message
        assert (ended.code, ended.token) == (Code.UNAUTHORIZED, observed.token)
        bench.public.changed()
        await asyncio.sleep(1)
        assert bench.network.between("server", "stranger")[-1].message.token == observed.token
        for options, code in (((numbers.BLOCK1, b"\x10"), 3), ((numbers.BLOCK2, b"\x11"), 1)):
            answer = await bench.send(options, *path("open"), code=code, payload=b"x" if code == 3 else b"")
            assert (answer.code, answer.payload) == (Code.UNAUTHORIZED, b"")
        assert bench.public.bodies == []


@virtual
async def test_a_grant_is_for_what_was_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an address may remember is for one path, one method and one policy, and never for a name it chose."""
    claims: tuple[str, ...] = (":psk",)
    async with Bench(tmp_path) as bench:
        remote = bench.server.interface.address("stranger")
        monkeypatch.setattr(SimulatedAddress, "authenticated_claims", claims, raising=False)
        remote.confirmed = True
        for _ in range(2):
            assert (await bench.send(*path("secret"))).code == Code.CONTENT
            assert (await bench.send((HOST, b"else.example"), *path("secret"))).code == Code.NOT_FOUND
            assert (await bench.send((HOST, b"pub.example"), *path("vhost"))).code == Code.FORBIDDEN
            assert (await bench.send((HOST, b"gw.example"), *path("literal"))).code == Code.FORBIDDEN
            assert (await bench.send((HOST, b"gw.example"), *path("vhost"))).code == Code.CONTENT
            assert (await bench.send(*path("vhost"))).code == Code.FORBIDDEN
            assert (await bench.send(*path("read"))).code == Code.CONTENT
            assert (await bench.send(*path("read"), code=3)).code == Code.FORBIDDEN
        assert remote.grants
        assert bench.ring.access is not None
        bench.ring.access.use(bench.ring.read({**DEVICES, **PATTERNS, "coap*://*/secret*": ":oscore"}).policy)
        assert (await bench.send(*path("secret"))).code == Code.FORBIDDEN


class Protected(Bench):
    """The same for a peer with OSCORE, whose context has these claims; outer options may be added on the way."""

    def __init__(self, directory: Path, claims: tuple[str, ...]) -> None:
        ours, theirs = vectors.context("C.1.1"), vectors.context("C.1.2")
        for context in (ours, theirs):
            context.sender = Sender(Numbers(), asyncio.get_running_loop())
        theirs.claims = claims
        client = Contexts(ours)
        client.client = ours
        super().__init__(directory, contexts=(client, Contexts(theirs)))
        self.added: list[tuple[int, bytes]] = []
        self._deliver = self.server.interface.deliver
        self.server.interface.deliver = self._tampered  # type: ignore[method-assign]  # somebody on the way

    def _tampered(self, data: bytes, source: str, destination: str) -> bool | None:
        message = Message.decode(data)
        options = encode_options(sorted((*message.options.pairs, *self.added), key=lambda pair: pair[0]))
        mtype, mid = data[0] >> 4 & 3, int.from_bytes(data[2:4], "big")
        return self._deliver(
            encode_message(mtype, data[1], mid, message.token, options, message.payload), source, destination
        )


@pytest.mark.parametrize(("claims", "code"), [((":psk",), "2.05"), ((":oscore",), "4.03"), ((), "4.01")])
@virtual
async def test_outside_of_oscore_nothing_opens(claims: tuple[str, ...], code: str, tmp_path: Path) -> None:
    """Path and method are those inside; a name from outside is asked for as ever, and may only take away."""
    async with Protected(tmp_path, claims) as bench:
        for added, expected in [
            ([], code),
            (path("open"), code),
            ([(QUERY, b"x")], code),
            ([(PORT, b"\x01")], code),
            ([(HOST, b"gw.example")], code),
            ([(HOST, b"else.example")], "4.04"),
            ([(numbers.PROXY_SCHEME, b"coap"), (HOST, b"gw.example")], "5.05"),
            ([(numbers.PROXY_URI, b"coap://gw.example/open")], "5.05"),
        ]:
            bench.added = added
            answer = await bench.client.get("secret")
            assert dotted(answer.code or 0) == expected, added
            assert answer.remote.security == "oscore"
