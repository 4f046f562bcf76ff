"""Contexts of credentials, over real sockets on loopback: those that are derived anew after each loss (appendix B.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Context, Message, Resource, Site
from securecoap.credentials import CredentialsMap
from securecoap.errors import ConfigurationError, CredentialsFault, UnprotectedResponse
from securecoap.wire.codes import Code

if TYPE_CHECKING:
    from pathlib import Path

SERVER = {
    "secret": {"hex": "0102030405060708090a0b0c0d0e0f10"}, "sender-id": {"hex": "01"}, "recipient-id": {"hex": "12"},
    "rederive": True,
}  # fmt: skip
CLIENT = SERVER | {"sender-id": SERVER["recipient-id"], "recipient-id": SERVER["sender-id"]}


class Counter(Resource):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[bytes, tuple[str, ...]]] = []

    def render_post(self, request: Message) -> Message:
        self.got.append((request.payload, request.remote.authenticated_claims))
        return Message(Code.CHANGED, request.payload)


def server(counter: Counter, state: Path, bind: str = "coap://127.0.0.1:0", **change: Any) -> Context:
    site = Site()
    site.add("/x", counter)
    return Context.server(site, bind=[bind], credentials={":sensor": {"oscore": SERVER | change}}, state=state)


def client(endpoint: str, state: Path, **change: Any) -> Context:
    return Context.client({f"{endpoint}/*": {"oscore": CLIENT | change}}, state=state)


def test_both_sides_lose_their_contexts_and_go_on(tmp_path: Path) -> None:
    async def test() -> None:
        counter = Counter()
        async with server(counter, tmp_path / "server") as serving:
            (endpoint,) = serving.endpoints
            for payload in (b"1", b"2"):  # each client begins with nothing
                async with client(endpoint, tmp_path / "client") as asking:
                    assert (await asking.post(f"{endpoint}/x", payload)).payload == payload
        async with (
            server(counter, tmp_path / "server", endpoint) as serving,
            client(endpoint, tmp_path / "client") as asking,
        ):
            assert (await asking.post(f"{endpoint}/x", b"3")).payload == b"3"
            await serving.shutdown()
            async with server(counter, tmp_path / "server", endpoint):  # and a client that knows nothing of it
                assert (await asking.post(f"{endpoint}/x", b"4")).payload == b"4"
        assert counter.got == [(b"%d" % number, (":sensor",)) for number in range(1, 5)]

    asyncio.run(test())


def test_two_clients_of_a_process_share_what_is_derived(tmp_path: Path) -> None:
    async def test() -> None:
        counter = Counter()
        async with server(counter, tmp_path / "server") as serving:
            (endpoint,) = serving.endpoints
            async with client(endpoint, tmp_path / "client") as one, client(endpoint, tmp_path / "client") as two:
                for payload in (b"1", b"2", b"3"):
                    await asyncio.gather(*(each.post(f"{endpoint}/x", payload) for each in (one, two)))
                (derivation,) = [base for base, _ in one._keyring._contexts._derivations.values()]  # type: ignore[union-attr]
                assert derivation.generation == 1
            assert derivation.current is None
        assert len(counter.got) == 6

    asyncio.run(test())


def test_a_peer_that_does_not_derive_is_no_peer(tmp_path: Path) -> None:
    async def test() -> None:
        counter = Counter()
        async with server(counter, tmp_path / "server", rederive=False) as serving:
            (endpoint,) = serving.endpoints
            async with client(endpoint, tmp_path / "client") as asking:
                with pytest.raises(UnprotectedResponse):
                    await asking.post(f"{endpoint}/x", b"1")
        async with server(counter, tmp_path / "server") as serving:
            (endpoint,) = serving.endpoints
            async with client(endpoint, tmp_path / "other", rederive=False) as asking:
                with pytest.raises(UnprotectedResponse):
                    await asking.post(f"{endpoint}/x", b"1")
        assert counter.got == []

    asyncio.run(test())


def test_one_process_cannot_keep_a_context_and_derive_it_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with server(Counter(), tmp_path):
            with pytest.raises(ConfigurationError, match=r":sensor.*\(rederive\)"):
                await server(Counter(), tmp_path, rederive=False).start()

    asyncio.run(test())


def test_rederive_and_an_id_context_exclude_each_other() -> None:
    with pytest.raises(CredentialsFault, match=r"rederive.*without id-context"):
        CredentialsMap.from_dict({":a": {"oscore": SERVER | {"id-context": {"hex": "01"}}}})
