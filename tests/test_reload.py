"""Other credentials for an endpoint that runs: what ends, what goes on, and that nothing happens by halves."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from securecoap import Code, Context, CredentialsMap, Message, ObservableResource, Resource, Site
from securecoap.errors import (
    CoapError,
    ConfigurationError,
    ContextInUse,
    CredentialsFault,
    CredentialsMissing,
    HandshakeFailed,
    SessionEnded,
    UnprotectedResponse,
)
from securecoap.state import SqliteStateStore
from tests.loopback import real

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

BINDS = ["coaps://127.0.0.1:0", "coap://127.0.0.1:0"]


def psk(name: str, key: int = 1, **more: Any) -> dict[str, Any]:
    return {"dtls": {"client-identity": {"ascii": name}, "psk": {"hex": f"{key:032x}"}}, **more}


def oscore(server: bool, number: int, key: int = 1, **more: Any) -> dict[str, Any]:
    ours, theirs = ("01", f"{number:02x}") if server else (f"{number:02x}", "01")
    content = {
        "secret": {"hex": f"{key:032x}"}, "salt": {"hex": f"{number:02x}"},
        "sender-id": {"hex": ours}, "recipient-id": {"hex": theirs},
    }  # fmt: skip
    return {"oscore": content, **more}


DEVICES: dict[str, Any] = {
    ":a": psk("a"),
    ":b": psk("b", 2),
    ":c": oscore(True, 0x12, 3),
    ":d": oscore(True, 0x13, 4),
}
CLIENTS = {
    "a": {"coaps://*": psk("a")},
    "b": {"coaps://*": psk("b", 2)},
    "c": {"coap://*": oscore(False, 0x12, 3)},
    "d": {"coap://*": oscore(False, 0x13, 4)},
}


class Door(ObservableResource):
    state = b"0"

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.state)


class WhoAmI(Resource):
    """Who asks, and a number for each remote object: the same session has the same."""

    def __init__(self) -> None:
        self.remotes: list[Any] = []
        self.working = self.cancelled = 0
        self.bodies: list[bytes] = []

    def render_get(self, request: Message) -> Message:
        if not any(request.remote is one for one in self.remotes):
            self.remotes.append(request.remote)
        return Message(payload=json.dumps(request.remote.authenticated_claims).encode())

    def render_put(self, request: Message) -> Message:
        self.bodies.append(request.payload)
        return Message()

    async def render_post(self, request: Message) -> Message:
        self.working += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop work until something is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0)


class Bench:
    """A server with four devices, two over DTLS and two with OSCORE."""

    def __init__(self, directory: Path, devices: dict[str, Any] | None = None, binds: list[str] = BINDS) -> None:
        self.directory = directory
        self.door = Door()
        self.whoami = WhoAmI()
        site = self.site = Site()
        site.add("/door", self.door)
        site.add("/whoami", self.whoami)
        self.server = Context.server(
            site, bind=binds, credentials=DEVICES if devices is None else devices, state=directory / "server"
        )
        self.clients: list[Context] = []
        self.observations: list[Any] = []

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for observation in self.observations:
            await observation.aclose()
        for client in self.clients:
            await client.shutdown()
        await self.server.shutdown()

    async def client(self, name: str | dict[str, Any]) -> Context:
        credentials = CLIENTS[name] if isinstance(name, str) else name
        client = Context.client(credentials, state=self.directory / f"client-{len(self.clients)}")
        await client.start()
        self.clients.append(client)
        return client

    def uri(self, client: Context, path: str) -> str:
        assert client.credentials is not None
        (pattern,) = client.credentials.entries
        scheme = pattern.partition(":")[0]
        return next(one for one in self.server.endpoints if one.startswith(scheme + ":")) + path

    async def ask(self, client: Context, method: str = "get", **more: Any) -> Message:
        answer: Message = await getattr(client, method)(self.uri(client, "/whoami"), timeout=5, **more)
        return answer

    async def observe(self, client: Context) -> AsyncGenerator[Message, None]:
        observation = client.observe(self.uri(client, "/door"), timeout=5)
        self.observations.append(observation)
        assert (await anext(observation)).payload == self.door.state
        return observation

    def change(self, state: bytes) -> None:
        self.door.state = state
        self.door.changed()


def without(*labels: str) -> dict[str, Any]:
    return {label: entry for label, entry in DEVICES.items() if label not in labels}


@real
async def test_what_is_gone_ends_at_once_and_nothing_else(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        clients = {name: await bench.client(name) for name in "abcd"}
        observations = {name: await bench.observe(client) for name, client in clients.items()}
        posts = {name: asyncio.ensure_future(bench.ask(client, "post")) for name, client in clients.items()}
        await until(lambda: bench.whoami.working == 4)
        remotes = dict.fromkeys("abcd")
        for name, client in clients.items():
            remotes[name] = (await bench.ask(client)).remote
        assert bench.door.observation_count == 4
        await bench.server.reload(without(":a", ":c"))
        assert bench.door.observation_count == 2
        await asyncio.sleep(0)
        assert bench.whoami.cancelled == 2
        with pytest.raises(SessionEnded):
            await posts["a"]
        with pytest.raises(HandshakeFailed):
            await bench.ask(clients["a"])
        with pytest.raises(UnprotectedResponse):
            await bench.ask(clients["c"])
        bench.change(b"1")
        for name in "bd":
            assert (await anext(observations[name])).payload == b"1"
            answer = await bench.ask(clients[name])
            assert answer.remote is remotes[name]
            assert not posts[name].done()
        for post in posts.values():
            post.cancel()
        await asyncio.gather(*posts.values(), return_exceptions=True)
        for observation in observations.values():
            await observation.aclose()


@real
async def test_a_broken_map_changes_nothing_and_names_every_fault(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        before = bench.server.credentials
        client = await bench.client("a")
        remote = (await bench.ask(client)).remote
        broken = {**without(":a"), ":x": {"dtls": {"psk": {"hex": "xyz"}}}, "coap://*": ":nobody"}
        with pytest.raises(CredentialsFault) as caught:
            await bench.server.reload(broken)
        assert ":x" in str(caught.value)
        assert ":nobody" in str(caught.value)
        with pytest.raises(ConfigurationError, match="needs a credential for DTLS"):
            await bench.server.reload(without(":a", ":b"))
        assert bench.server.credentials is before
        assert (await bench.ask(client)).remote is remote
        assert (await bench.ask(await bench.client("c"))).code == Code.CONTENT


@real
async def test_state_that_cannot_be_had_changes_nothing(tmp_path: Path) -> None:
    async with Bench(tmp_path, without(":a", ":d")) as bench:
        client = await bench.client("b")
        remote = (await bench.ask(client)).remote

        async def refuse(*_: object, **__: object) -> list[Any]:
            raise ContextInUse(":d is in use")

        original = SqliteStateStore.open_many
        SqliteStateStore.open_many = refuse  # type: ignore[method-assign]  # a lock that another process has
        try:
            with pytest.raises(ContextInUse):
                await bench.server.reload({**without(":b", ":d"), ":d": DEVICES[":d"]})
        finally:
            SqliteStateStore.open_many = original  # type: ignore[method-assign]  # as above
        assert (await bench.ask(client)).remote is remote
        with pytest.raises(HandshakeFailed):
            await bench.ask(await bench.client("a"))


@real
async def test_what_is_added_works_at_once(tmp_path: Path) -> None:
    async with Bench(tmp_path, {":b": DEVICES[":b"]}) as bench:
        a, c = await bench.client("a"), await bench.client("c")
        with pytest.raises(HandshakeFailed):
            await bench.ask(a)
        await bench.server.reload(DEVICES)
        assert json.loads((await bench.ask(a)).payload) == [":a"]
        assert json.loads((await bench.ask(c)).payload) == [":c"]
        await bench.server.reload(without(":c"))
        with pytest.raises(UnprotectedResponse):
            await bench.ask(c)
        await bench.server.reload(DEVICES)  # its numbers and its window are where they were
        assert json.loads((await bench.ask(c)).payload) == [":c"]


@real
async def test_new_claims_in_the_session_that_is_there(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        clients = [await bench.client(name) for name in "ac"]
        for client in clients:
            await bench.observe(client)
            assert len(json.loads((await bench.ask(client)).payload)) == 1
        now = {**DEVICES, ":a": psk("a", claims=["admin"]), ":c": oscore(True, 0x12, 3, claims=["admin"])}
        await bench.server.reload(now)
        for client, label in zip(clients, (":a", ":c"), strict=True):
            assert json.loads((await bench.ask(client)).payload) == [label, "admin"]
        assert len(bench.whoami.remotes) == 2
        await bench.server.reload(without(":a", ":c"))
        assert bench.door.observation_count == 0
        assert bench.server._server._observations._of == {}  # type: ignore[union-attr]  # it is running


@real
async def test_another_key_under_the_same_label_is_another_credential(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        a, c = await bench.client("a"), await bench.client("c")
        for client in (a, c):
            await bench.observe(client)
        await bench.server.reload({**DEVICES, ":a": psk("a", 99), ":c": oscore(True, 0x12, 99)})
        assert bench.door.observation_count == 0
        with pytest.raises(HandshakeFailed):
            await bench.ask(a)
        with pytest.raises(UnprotectedResponse):
            await bench.ask(c)


@real
async def test_the_same_key_under_another_label_begins_anew_but_for_its_window(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        c = await bench.client("c")
        await bench.observe(c)
        (context,) = bench.server._keyring.find(b"\x12", None)
        highest = context.window.highest
        await bench.server.reload({**without(":c"), ":new": DEVICES[":c"]})
        assert bench.door.observation_count == 0
        (now,) = bench.server._keyring.find(b"\x12", None)
        assert now is context
        assert not now.retired
        assert now.window.highest == highest
        assert json.loads((await bench.ask(c)).payload) == [":new"]


@real
async def test_the_policy_is_asked_again_about_what_is_under_way(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        clients = {name: await bench.client(name) for name in "abcd"}
        observations = {name: await bench.observe(client) for name, client in clients.items()}
        posts = {name: asyncio.ensure_future(bench.ask(client, "post")) for name, client in clients.items()}
        await until(lambda: bench.whoami.working == 4)
        rules = {"coap*://*/door": {"any-of": [":a", ":c"]}, "coap*://*/whoami": {"any-of": [":b", ":d"]}}
        await bench.server.reload({**DEVICES, **rules})
        assert bench.door.observation_count == 2
        for name in "ac":
            assert (await posts[name]).code == Code.FORBIDDEN
            assert (await bench.ask(clients[name])).code == Code.FORBIDDEN
        for name in "bd":
            assert not posts[name].done()
            assert (await anext(observations[name])).code == Code.FORBIDDEN
            with pytest.raises(StopAsyncIteration):
                await anext(observations[name])
        bench.change(b"1")
        for name in "ac":
            assert (await anext(observations[name])).payload == b"1"
            await observations[name].aclose()
        for post in posts.values():
            post.cancel()
        await asyncio.gather(*posts.values(), return_exceptions=True)


@real
async def test_a_body_that_is_put_together_is_given_up(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        client = await bench.client("a")
        server = bench.server._server
        assert server is not None
        progress: list[int] = []

        async def parts() -> AsyncIterator[bytes]:
            for number in range(64):
                if number == 32:
                    rules = {"coap*://*/whoami": ":b"}
                    await bench.server.reload({**DEVICES, **rules})
                    assert len(server.assemblies) == 0
                progress.append(number)
                yield bytes(1024)

        answer = await client.upload(bench.uri(client, "/whoami"), parts(), timeout=5)
        assert answer.code == Code.FORBIDDEN
        assert bench.whoami.bodies == []


@real
async def test_a_credential_that_is_over_by_now_ends_what_goes_on_with_it(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        clients = [await bench.client(name) for name in "ac"]
        for client in clients:
            await bench.observe(client)
        past = {"not-after": "2020-01-01T00:00:00Z"}
        await bench.server.reload({**DEVICES, ":a": {**DEVICES[":a"], **past}, ":c": {**DEVICES[":c"], **past}})
        assert bench.door.observation_count == 0
        later = {"not-after": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))}
        await bench.server.reload({**DEVICES, ":a": {**DEVICES[":a"], **later}, ":c": {**DEVICES[":c"], **later}})
        for observation in bench.observations:
            await observation.aclose()
        for client in clients:
            await bench.observe(client)
        assert bench.door.observation_count == 2
        await bench.server.reload(DEVICES)
        assert bench.door.observation_count == 2


def raw_keys(*peers: tuple[str, str]) -> dict[str, Any]:
    return {
        ":keys": {"dtls-rpk": {"private-key": OWN, "peer-keys": {label: {"base64": key} for label, key in peers}}},
        ":b": DEVICES[":b"],
    }


def raw_pair() -> tuple[dict[str, str], str]:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"ascii": pem}, b64encode(der).decode()


OWN, OWN_PUBLIC = raw_pair()


@real
async def test_one_more_raw_public_key_interrupts_nobody(tmp_path: Path) -> None:
    (first, first_public), (_, second_public) = raw_pair(), raw_pair()
    ours = {"coaps://*": {"dtls-rpk": {"private-key": first, "peer-keys": [{"base64": OWN_PUBLIC}]}}}
    async with Bench(tmp_path, raw_keys((":x", first_public))) as bench:
        client = await bench.client(ours)
        remote = (await bench.ask(client)).remote
        await bench.observe(client)
        await bench.server.reload(raw_keys((":x", first_public), (":y", second_public)))
        assert (await bench.ask(client)).remote is remote
        assert bench.door.observation_count == 1
        await bench.server.reload(raw_keys((":renamed", first_public)))
        assert bench.door.observation_count == 0


@real
async def test_a_client_has_other_credentials(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        client = await bench.client({"coaps://*": psk("a"), "coap://*": oscore(False, 0x12, 3)})
        uris = [uri + "/whoami" for uri in bench.server.endpoints]
        before = [(await client.get(uri, timeout=5)).remote for uri in uris]
        await client.reload({"coaps://*": psk("a"), "coap://*": oscore(False, 0x12, 3), ":more": psk("z")})
        assert [(await client.get(uri, timeout=5)).remote for uri in uris] == before
        await client.reload({"coaps://*": psk("b", 2), "coap://*": oscore(False, 0x13, 4)})
        answers = [json.loads((await client.get(uri, timeout=5)).payload) for uri in uris]
        assert answers == [[":b"], [":d"]]
        await client.reload({"coaps://other.example/*": psk("b", 2)})
        for uri in uris[:1]:
            with pytest.raises(CredentialsMissing):
                await client.get(uri, timeout=5)


@real
async def test_who_has_none_gets_none(tmp_path: Path) -> None:
    async with Context.client() as client:
        with pytest.raises(ConfigurationError):
            await client.reload(DEVICES)
    with pytest.raises(ConfigurationError):
        await Context.client(CLIENTS["a"]).reload(CLIENTS["b"])


@real
async def test_while_it_ends_nothing_is_replaced(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        reload = asyncio.ensure_future(bench.server.reload({**DEVICES, ":e": oscore(True, 0x14, 5)}))
        await asyncio.sleep(0)
        await bench.server.drain(1)
        with pytest.raises(ConfigurationError, match="about to end"):
            await reload
        assert bench.server.credentials is not None
        assert ":e" not in bench.server.credentials.entries


@real
async def test_a_handshake_that_ends_after_its_credential_is_gone(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        client = await bench.client("a")
        keyring = bench.server._keyring
        find, seen = keyring.find_psk, asyncio.Event()
        interface: Any = bench.server._stacks[0].manager.interface

        def late(identity: bytes) -> Any:
            found = find(identity)
            interface._store._find_psk = find
            seen.set()

            async def answer() -> Any:
                await bench.server.reload(without(":a"))
                return found

            return answer()

        interface._store._find_psk = late
        with pytest.raises(CoapError):
            await bench.ask(client)
        assert seen.is_set()
        assert list(interface._engine.sessions()) == []


@real
async def test_two_endpoints_of_a_process_do_not_have_each_others_claims(tmp_path: Path) -> None:
    async with Bench(tmp_path) as one, Bench(tmp_path) as other:
        await one.server.reload(DEVICES)
        with pytest.raises(ConfigurationError, match="other claims"):
            await one.server.reload({**DEVICES, ":c": oscore(True, 0x12, 3, claims=["admin"])})
        client = await one.client("c")
        assert json.loads((await one.ask(client)).payload) == [":c"]
        await one.server.reload(without(":c"))
        assert json.loads((await other.ask(await other.client(CLIENTS["d"]))).payload) == [":d"]
        (context,) = other.server._keyring.find(b"\x12", None)
        assert not context.retired


@real
async def test_nobody_notices_reloads_who_is_not_meant(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    path.write_text(json.dumps(DEVICES))
    async with Bench(tmp_path) as bench:
        clients = [await bench.client(name) for name in "abcd"]
        remotes = [(await bench.ask(client)).remote for client in clients]
        asked, is_over = [0] * 4, False

        async def load(place: int) -> None:
            while not is_over:
                answer = await bench.ask(clients[place])
                assert answer.remote is remotes[place]
                assert json.loads(answer.payload) == [f":{'abcd'[place]}"]
                asked[place] += 1

        tasks = [asyncio.ensure_future(load(place)) for place in range(4)]
        for number in range(20):
            before = min(asked)
            path.write_text(json.dumps({**DEVICES, f":new{number}": psk(f"new{number}", 100 + number)}))
            await bench.server.reload(path)
            await until(lambda: min(asked) > before or any(task.done() for task in tasks))  # noqa: B023  # called here
        is_over = True
        await asyncio.gather(*tasks)
        assert min(asked) >= 20
        assert isinstance(bench.server.credentials, CredentialsMap)
        assert ":new19" in bench.server.credentials.entries


@real
async def test_resources_ask_again_for_the_claims_that_they_require(tmp_path: Path) -> None:
    """The devices stay, one has lost a claim: what it has from a resource that requires it ends, and nothing else."""

    class Guarded(Door):
        requires = "reader"

    guarded = Guarded()

    def devices(*claims: str) -> dict[str, Any]:
        return {
            **DEVICES, ":a": psk("a", claims=["reader"]), ":b": psk("b", 2, claims=list(claims)),
            ":c": oscore(True, 0x12, 3, claims=["reader"]), ":d": oscore(True, 0x13, 4, claims=list(claims)),
        }  # fmt: skip

    async with Bench(tmp_path, devices("reader")) as bench:
        bench.site.add("/guarded", guarded)
        clients = {name: await bench.client(name) for name in "abcd"}
        observations = {}
        for name, client in clients.items():
            observations[name] = client.observe(bench.uri(client, "/guarded"), timeout=5)
            bench.observations.append(observations[name])
            assert (await anext(observations[name])).payload == b"0"
        assert guarded.observation_count == 4
        await bench.server.reload(devices())
        assert guarded.observation_count == 2
        for name in "bd":
            assert (await anext(observations[name])).code == Code.FORBIDDEN
            assert (await bench.ask(clients[name])).code == Code.CONTENT
        guarded.state = b"1"
        guarded.changed()
        for name in "ac":
            assert (await anext(observations[name])).payload == b"1"
