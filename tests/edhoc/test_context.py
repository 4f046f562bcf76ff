"""The whole endpoint over real sockets: plain and over DTLS, requests in both directions, files of the samples."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from securecoap import Code, Context, Message, Resource, Site
from securecoap.errors import CredentialsMissing, HandshakeFailed, UnprotectedResponse
from tests.loopback import real

from . import material
from .vectors import TRACE_2

if TYPE_CHECKING:
    from pathlib import Path

DTLS = {"dtls": {"client-identity": {"ascii": "device-7"}, "psk": {"hex": "00112233445566778899aabbccddeeff"}}}


class Who(Resource):
    def render_get(self, request: Message) -> Message:
        return Message(payload=" ".join((request.remote.security, *request.remote.authenticated_claims)).encode())


class Back(Resource):
    """Asks the one who asks."""

    context: Context

    async def render_get(self, request: Message) -> Message:
        question = Message(Code.GET, uri_path=("who",))
        question.remote = request.remote
        return Message(payload=(await self.context.request(question).response).payload)


def contexts_in(directory: Path) -> int:
    """How many security contexts a state directory has."""
    with closing(sqlite3.connect(directory / "state.sqlite3")) as database:
        (number,) = database.execute("SELECT count(*) FROM contexts").fetchone()
    return int(number)


def site() -> Site:
    tree = Site()
    tree.add("/who", Who())
    tree.add("/back", Back())
    return tree


@real
async def test_requests_in_both_directions(tmp_path: Path) -> None:
    tree = site()
    async with Context.server(
        tree, bind=["coap://127.0.0.1:0"], credentials=material.server(), state=tmp_path / "server"
    ) as server:
        Back.context = server
        (base,) = server.endpoints
        async with Context.client(material.client(f"{base}/*"), state=tmp_path / "client", site=site()) as client:
            answers = await asyncio.gather(*(client.get(f"{base}/who") for _ in range(5)))
            assert {answer.payload for answer in answers} == {b"oscore :device"}
            # The device answers under the same keys, and knows the server by its pattern.
            assert (await client.get(f"{base}/back")).payload == f"oscore {base}/*".encode()
    # What was agreed on is not kept: the server writes when it has seen whom, the client nothing.
    assert contexts_in(tmp_path / "server") == 0
    assert not (tmp_path / "client").exists()


@real
async def test_oscore_over_dtls(tmp_path: Path) -> None:
    server_side: dict[str, Any] = {
        **material.server(), ":psk": DTLS, "coaps://*/who": {"all-of": [":psk", ":device"]},
    }  # fmt: skip
    async with Context.server(
        site(), bind=["coaps://127.0.0.1:0"], credentials=server_side, state=tmp_path / "server"
    ) as server:
        (base,) = server.endpoints
        both = {f"{base}/*": {"all-of": [DTLS, *material.client().values()]}}
        async with Context.client(both, state=tmp_path / "client") as client:
            answer = await client.get(f"{base}/who")
            assert answer.payload == b"oscore :device :psk"
        async with Context.client({f"{base}/*": DTLS}, state=tmp_path / "client") as client:
            assert (await client.get(f"{base}/who")).code == Code.FORBIDDEN


@real
async def test_a_server_without_edhoc_has_no_such_resource(tmp_path: Path) -> None:
    async with Context.server(
        site(), bind=["coap://127.0.0.1:0"], credentials={":psk": DTLS}, state=tmp_path / "server"
    ) as server:
        (base,) = server.endpoints
        async with Context.client(material.client(f"{base}/*"), state=tmp_path / "client") as client:
            with pytest.raises(HandshakeFailed, match="there is no EDHOC"):
                await client.get(f"{base}/who")


@real
async def test_without_lakers_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lakers", None)
    async with Context.client(material.client("coap://127.0.0.1:9/*"), state=tmp_path) as client:
        with pytest.raises(CredentialsMissing, match=r"securecoap\[edhoc\]"):
            await client.get("coap://127.0.0.1:9/who")


@real
async def test_a_server_without_lakers_says_so_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Context.client() as client:
        request = Message(Code.POST, b"\xf5" + TRACE_2["message_1_seq"], content_format=65)
        with monkeypatch.context() as without:
            without.setitem(__import__("sys").modules, "lakers", None)
            async with Context.server(
                site(), bind=["coap://127.0.0.1:0"], credentials=material.server(), state=tmp_path / "server"
            ) as server:
                (warning,) = (one.getMessage() for one in caplog.records if "lakers" in one.getMessage())
                assert "install securecoap[edhoc]; until then no peer can agree on keys" in warning
                caplog.clear()
                request.set_uri(f"{server.endpoints[0]}/.well-known/edhoc")
                assert (await client.request(request).response).code == Code.NOT_FOUND
    assert not caplog.records  # a stranger fills no log with it


@real
async def test_a_reload_changes_claims_and_ends_sessions(tmp_path: Path) -> None:
    other = {":other": DTLS}
    async with Context.server(
        site(), bind=["coap://127.0.0.1:0"], credentials=material.server(), state=tmp_path / "server"
    ) as server:
        (base,) = server.endpoints
        async with Context.client(material.client(f"{base}/*"), state=tmp_path / "client") as client:
            first = await client.get(f"{base}/who")
            await server.reload({**material.server(beside={"claims": ["reader"]}), **other})
            again = await client.get(f"{base}/who")
            assert again.payload == b"oscore :device reader"
            assert again.remote == first.remote
            await server.reload(other)
            with pytest.raises((CredentialsMissing, HandshakeFailed, UnprotectedResponse)):
                await client.get(f"{base}/who", timeout=5)
            await server.reload(material.server())
            assert (await client.get(f"{base}/who")).payload == b"oscore :device"


@real
async def test_edhoc_that_comes_with_a_reload(tmp_path: Path) -> None:
    async with Context.server(
        site(), bind=["coap://127.0.0.1:0"], credentials={":other": DTLS}, state=tmp_path / "server"
    ) as server:
        (base,) = server.endpoints
        async with Context.client(material.client(f"{base}/*"), state=tmp_path / "client") as client:
            with pytest.raises(HandshakeFailed):
                await client.get(f"{base}/who", timeout=5)
            await server.reload(material.server())
            assert (await client.get(f"{base}/who")).payload == b"oscore :device"
