"""The whole endpoint, over real sockets on loopback (the design, section 4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.processes import free_ports

from securecoap import Code, Context, Message, ObservableResource, Resource, Site
from securecoap.errors import (
    CoapError,
    ConfigurationError,
    CredentialsFault,
    CredentialsMissing,
    RequestFailed,
    RequestTimeout,
    Unreachable,
    UriError,
)
from tests.loopback import real
from tests.transports.test_udp import usable_group

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ["coap://127.0.0.1:0"]


class Echo(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=b"hello")

    def render_post(self, request: Message) -> Message:
        return Message(payload=request.payload, content_format=request.options.content_format)

    render_put = render_fetch = render_patch = render_ipatch = render_post

    def render_delete(self, request: Message) -> Message:
        return Message()


class Door(ObservableResource):
    state = b"open"

    def render_get(self, request: Message) -> Message:
        return Message(payload=self.state)

    def set(self, state: bytes) -> None:
        self.state = state
        self.changed()


class Back(Resource):
    """Asks the one who asks."""

    context: Context

    async def render_get(self, request: Message) -> Message:
        question = Message(Code.GET, uri_path=("hello",))
        question.remote = request.remote
        answer = await self.context.request(question).response
        return Message(payload=b"you said " + answer.payload)


class Forever(Resource):
    async def render_get(self, request: Message) -> Message:
        await asyncio.Event().wait()
        raise AssertionError


def site() -> Site:
    tree = Site()
    tree.add("/hello", Echo())
    tree.add("/door", Door())
    tree.add("/forever", Forever())
    return tree


@real
async def test_every_method() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server, Context.client() as client:
        (base,) = server.endpoints
        assert base.startswith("coap://127.0.0.1:")
        assert not base.endswith(":0")
        uri = base + "/hello"
        codes = [
            (await client.get(uri)).code,
            (await client.post(uri, b"x")).code,
            (await client.put(uri, b"x")).code,
            (await client.delete(uri)).code,
            (await client.fetch(uri, b"x")).code,
            (await client.patch(uri, b"x")).code,
            (await client.ipatch(uri, b"x")).code,
        ]
        assert codes == [
            Code.CONTENT,
            Code.CHANGED,
            Code.CHANGED,
            Code.DELETED,
            Code.CONTENT,
            Code.CHANGED,
            Code.CHANGED,
        ]
        answer = await client.post(uri, b"{}", content_format=50, timeout=5)
        assert (answer.payload, answer.options.content_format) == (b"{}", 50)
        assert answer.remote.authenticated_claims == ()
        assert (await client.put(uri, bytes(70_000), confirmable=True)).payload == bytes(70_000)
        assert (await client.get(base + "/nothing")).code == Code.NOT_FOUND
        await client.ping(base)


@real
async def test_observing() -> None:
    tree = Site()
    door = Door()
    tree.add("/door", door)
    async with Context.server(tree, bind=LOOPBACK) as server, Context.client() as client:
        seen = []
        async for notification in client.observe(server.endpoints[0] + "/door", timeout=5):
            seen.append(notification.payload)
            if len(seen) == 3:
                break
            door.set(b"%d" % len(seen))
        assert seen == [b"open", b"1", b"2"]
        async for notification in client.observe(server.endpoints[0] + "/nothing"):
            assert notification.code == Code.NOT_FOUND  # one error, and the end


@real
async def test_an_observation_outlives_its_dtls_session() -> None:
    """The server ends it with the session; the client registers over a new one (RFC 7252 section 9.1.2)."""
    key = b"sixteen byte key"
    tree = Site()
    door = Door()
    tree.add("/door", door)
    known = {":device": {"dtls": {"client-identity": b"device", "psk": key}}, "coaps://*": ":device"}
    ours = {"coaps://*": {"dtls": {"client-identity": b"device", "psk": key}}}
    async with (
        Context.server(tree, bind=["coaps://127.0.0.1:0"], credentials=known) as server,
        Context.client(ours) as client,
    ):
        observation = client.observe(server.endpoints[0] + "/door", timeout=5)
        assert (await anext(observation)).payload == b"open"
        for number in (b"1", b"2"):
            (before,) = door.observations._places
            interface: Any = server._stacks[0].manager.interface
            interface.renew_sessions(lambda _: None)
            interface.renew_sessions(lambda credential: credential)
            assert door.observation_count == 0
            door.state = number  # nobody is there to be told
            async with asyncio.timeout(10):
                assert (await anext(observation)).payload == number
            (after,) = door.observations._places
            assert before is not after
        await observation.aclose()


@real
async def test_roles_are_reversed_on_one_socket() -> None:
    tree, back = Site(), Back()
    tree.add("/back", back)
    async with Context.server(tree, bind=LOOPBACK) as server, Context.client(site=site()) as client:
        back.context = server
        answer = await client.get(server.endpoints[0] + "/back", timeout=5)
        assert answer.payload == b"you said hello"


@real
async def test_several_binds() -> None:
    async with Context.server(site(), bind=[*LOOPBACK, "coap://127.0.0.2:0"]) as server, Context.client() as client:
        assert len(set(server.endpoints)) == 2
        for endpoint in server.endpoints:
            assert (await client.get(endpoint + "/hello")).payload == b"hello"


@real
async def test_a_bind_that_fails_leaves_nothing_open() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server:
        other = Context.server(site(), bind=[*LOOPBACK, server.endpoints[0]])
        with pytest.raises(Unreachable):
            await other.start()
        await other.shutdown()


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("coap+tcp://127.0.0.1", "serve"),
        ("coap://name.example", "address"),
        ("coap://0.0.0.0", "machine only"),
        ("coap://192.0.2.1", "machine"),
    ],
)
def test_binds_that_are_refused(bind: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Context.server(site(), bind=[bind])
    if bind == "coap://0.0.0.0":
        Context.server(site(), bind=[bind], insecure=True)


@real
async def test_time_limits_and_cancellation() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server, Context.client() as client:
        uri = server.endpoints[0] + "/forever"
        with pytest.raises(RequestTimeout, match=r"0\.01 s"):
            await client.get(uri, timeout=0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.get(uri)
        with pytest.raises(RequestTimeout):
            await anext(client.observe(uri, timeout=0.01))
        task = asyncio.create_task(client.get(uri))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(server.endpoints[0] + "/hello")).payload == b"hello"


@real
async def test_an_endpoint_that_is_gone() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server:
        (gone,) = server.endpoints
    async with Context.client() as client:
        for call in (client.get(gone + "/hello", timeout=5), client.ping(gone, timeout=5)):
            with pytest.raises(Unreachable):
                await call


@real
async def test_what_cannot_be_asked() -> None:
    async with Context.client() as client:
        for uri in ("http://127.0.0.1/", "coap://[::1", "coap://127.0.0.1/#fragment"):
            with pytest.raises((UriError, ConfigurationError)):
                await client.get(uri)
        with pytest.raises(ConfigurationError):
            client.request(Message(Code.CONTENT, uri="coap://127.0.0.1/"))
        with pytest.raises(ConfigurationError, match=r"coap\+tcp"):
            await client.ping("coap+tcp://127.0.0.1/")
        with pytest.raises(TypeError):
            await client.get("coap://127.0.0.1/", no_such_option=1)
    with pytest.raises(ConfigurationError):
        await client.get("coap://127.0.0.1/")
    with pytest.raises(ConfigurationError):
        await Context.client().serve_forever()
    with pytest.raises(ConfigurationError):
        await Context.client().ping("coap://127.0.0.1/")


@real
async def test_a_remote_of_another_context() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server, Context.client() as one, Context.client() as two:
        answer = await one.get(server.endpoints[0] + "/hello")
        question = Message(Code.GET, uri_path=("hello",))
        question.remote = answer.remote
        assert (await one.request(question).response).payload == b"hello"
        with pytest.raises(RequestFailed, match="belongs to no endpoint"):
            await two.request(question).response


@real
async def test_shutdown_ends_what_is_under_way() -> None:
    async with Context.server(site(), bind=LOOPBACK) as server:
        async with Context.client() as client:
            waiting = client.request(Message(Code.GET, uri=server.endpoints[0] + "/forever"))
            observing = client.request(Message(Code.GET, uri=server.endpoints[0] + "/door", observe=0))
            await observing.response
        with pytest.raises(asyncio.CancelledError):
            await waiting.response
        assert observing.observation is not None
        with pytest.raises(StopAsyncIteration):
            await anext(observing.observation)
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        assert not forever.done()
        await server.shutdown()
        await forever


@real
async def test_a_request_during_shutdown_opens_no_socket() -> None:
    failures: list[Exception] = []
    started = asyncio.Event()

    class Late(Resource):
        async def render_get(self, request: Message) -> Message:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                for call in (server.get, server.ping):
                    try:
                        await call("coap://127.0.0.1:9/late", timeout=5)
                    except CoapError as error:
                        failures.append(error)
            raise AssertionError

    tree = Site()
    tree.add("/late", Late())
    async with Context.server(tree, bind=LOOPBACK) as server, Context.client() as client:
        waiting = client.request(Message(Code.GET, uri=server.endpoints[0] + "/late"))
        await started.wait()
        await server.shutdown()
        waiting.cancel()
    assert [type(failure) for failure in failures] == [ConfigurationError] * 2
    assert server._stacks == []


@real
async def test_a_request_to_a_group_and_its_responses() -> None:
    literal = usable_group(4)
    async with (
        Context.server(site(), bind=[f"coap://{literal}:0"], insecure=True) as member,
        Context.client() as client,
    ):
        port = member.endpoints[0].rpartition(":")[2]
        responses = client.ask_group(f"coap://{literal}:{port}/hello", timeout=30)
        async for response in responses:
            assert response.payload == b"hello"
            assert not response.remote.is_multicast
            break
        await responses.aclose()
        with pytest.raises(ConfigurationError, match="multicast address"):
            await anext(client.ask_group("coap://127.0.0.1/hello"))


# With credentials.

SECRET = {"hex": "0102030405060708090a0b0c0d0e0f10"}
SERVER = {
    ":device": {"oscore": {"secret": SECRET, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "02"}}},
    "coap://*/hello": {"unprotected": True},
}


def device(base: str, identifier: str = "02") -> dict[str, Any]:
    entry = {"oscore": {"secret": SECRET, "sender-id": {"hex": identifier}, "recipient-id": {"hex": "01"}}}
    return {base + "/*": entry}


class WhoAmI(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=" ".join(request.remote.authenticated_claims).encode())


@real
async def test_oscore_end_to_end(tmp_path: Path) -> None:
    tree = site()
    tree.add("/whoami", WhoAmI())
    async with Context.server(tree, bind=LOOPBACK, credentials=SERVER, state=tmp_path / "server") as server:
        (base,) = server.endpoints
        async with Context.client(device(base), state=tmp_path / "client") as client:
            answer = await client.get(base + "/whoami", timeout=5)
            assert answer.payload == b":device"
            assert answer.remote.security == "oscore"
            assert (await client.put(base + "/hello", bytes(5000), timeout=5)).payload == bytes(5000)
            door = client.observe(base + "/door", timeout=5)
            assert (await anext(door)).payload == b"open"
            await door.aclose()
        async with Context.client() as stranger:
            assert (await stranger.get(base + "/whoami")).code == Code.UNAUTHORIZED
            assert (await stranger.get(base + "/hello")).payload == b"hello"
            assert (await stranger.get(base + "/door", uri_host="elsewhere.example")).code == Code.NOT_FOUND


@real
async def test_never_plaintext_where_a_credential_was_meant(tmp_path: Path) -> None:
    async with Context.server(site(), bind=LOOPBACK) as server:
        (base,) = server.endpoints
        seen = []
        handle = server._server.handle  # type: ignore[union-attr]
        server._server.handle = lambda incoming: (seen.append(incoming), handle(incoming))  # type: ignore[union-attr, method-assign]
        credentials = {base + "/hello": {"dtls": {"psk": SECRET, "client-identity": {"ascii": "me"}}}}
        async with Context.client(credentials, state=tmp_path) as client:
            with pytest.raises(CredentialsMissing):
                await client.get(base + "/hello")
            with pytest.raises(CredentialsMissing):
                await client.get(base + "/other")  # another path of an authority that has a credential
        assert seen == []


@real
@pytest.mark.parametrize(
    "options", [{"uri_host": "elsewhere.example"}, {"uri_port": 9}, {"proxy_scheme": "coap", "uri_host": "target"}]
)
async def test_options_do_not_lead_around_the_credential_of_where_it_goes(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    async with Context.server(site(), bind=LOOPBACK) as server:
        (base,) = server.endpoints
        async with Context.client(device(base), state=tmp_path) as client:
            with pytest.raises(CredentialsMissing):
                await client.get(base + "/hello", timeout=5, **options)


@real
async def test_policy_takes_the_port_that_was_bound_and_not_the_one_that_the_peer_names(tmp_path: Path) -> None:
    port = free_ports()
    for opened, code in ((port, Code.CONTENT), (port + 1, Code.UNAUTHORIZED)):
        credentials = {":device": SERVER[":device"], f"coap://*:{opened}/hello": {"unprotected": True}}
        bind = f"coap://127.0.0.1:{port}"
        async with (
            Context.server(site(), bind=[bind], credentials=credentials, state=tmp_path),
            Context.client() as client,
        ):
            assert (await client.get(bind + "/hello")).code == code
            assert (await client.get(bind + "/hello", uri_port=port + 1)).code == code


@real
async def test_role_reversal_keeps_oscore_inside_of_its_dtls_session(tmp_path: Path) -> None:
    tree = site()
    back = Back()
    tree.add("/back", back)
    dtls = {"dtls": {"psk": SECRET, "client-identity": {"ascii": "me"}}}
    credentials = {**SERVER, ":me": dtls, "coaps://*/back": {"all-of": [":device", ":me"]}}
    # The plain socket comes first, and must not be taken for a message to an address over DTLS.
    binds = [*LOOPBACK, "coaps://127.0.0.1:0"]
    async with Context.server(tree, bind=binds, credentials=credentials, state=tmp_path / "server") as server:
        back.context = server
        base = server.endpoints[1]
        (oscore,) = device(base).values()
        both = {base + "/*": {"all-of": [oscore, dtls]}}
        async with Context.client(both, state=tmp_path / "client", site=site()) as client:
            answer = await client.get(base + "/back", timeout=5)
            assert answer.payload == b"you said hello"
            assert answer.remote.outer.security == "dtls"


@real
async def test_grants_are_remembered_for_proved_addresses_only(tmp_path: Path) -> None:
    seen = []

    class Seen(Resource):
        def render_get(self, request: Message) -> Message:
            seen.append(request.remote)
            return Message()

    tree = Site()
    tree.add("/hello", Seen())
    tree.add("/{name}", Seen())
    async with Context.server(tree, bind=LOOPBACK, credentials=SERVER, state=tmp_path / "server") as server:
        (base,) = server.endpoints
        async with Context.client() as stranger:
            await stranger.get(base + "/hello", timeout=5)
        async with Context.client(device(base), state=tmp_path / "client") as client:
            await client.get(base + "/hello", timeout=5)
            await client.get(base + "/" + 129 * "x", timeout=5)
    # 100,000 addresses that strangers make up, with paths that they make up, would be gigabytes.
    assert seen[0].grants is None
    assert list(seen[-1].grants) == [(("hello",), Code.GET)]


def test_faulty_credentials_stop_the_start() -> None:
    with pytest.raises(CredentialsFault) as caught:
        Context.client({"coap://a/*": ":nowhere", ":b": {"oscore": {}}})
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize("bind", [["coap://127.0.0.1", "coaps://127.0.0.1:0"], None])
def test_coaps_without_a_dtls_credential(tmp_path: Path, bind: list[str] | None) -> None:
    with pytest.raises(ConfigurationError, match="needs a credential for DTLS"):
        Context.server(site(), bind=bind, credentials=SERVER, state=tmp_path)


@pytest.mark.parametrize("code", [Code.GET, Code.DELETE])
def test_a_payload_that_the_method_does_not_have_is_not_sent(code: Code) -> None:
    """RFC 7252 section 5.5 (R008)."""

    async def scenario() -> None:
        async with Context.client() as client:
            with pytest.raises(ConfigurationError, match="no payload"):
                client.request(Message(code, b"body", uri="coap://[::1]/x"))

    asyncio.run(scenario())
