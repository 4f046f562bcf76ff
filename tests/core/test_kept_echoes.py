"""Echo values for the next request (RFC 9175 section 2.3): to their server, once."""

from __future__ import annotations

import pytest

from securecoap.config import Limits
from securecoap.core.kept_echoes import KeptEchoes
from securecoap.interfaces import EndpointAddress
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of


class Gives(Resource):
    """Gives an Echo value ahead with its second response, and with none after."""

    def __init__(self, body: bytes = b"") -> None:
        self.body = body
        self.echoes: list[bytes | None] = []

    def render_get(self, request: Message) -> Message:
        self.echoes.append(request.options.echo)
        response = Message(payload=self.body)
        if len(self.echoes) == 2:
            response.options.echo = b"ahead"
        return response

    render_post = render_get


@virtual
@pytest.mark.parametrize("body", [b"", bytes(1500)])
async def test_r165_a_value_of_another_response_is_in_the_next_request(body: bytes) -> None:
    gives = Gives(body)
    async with Pair(site_of(x=gives)) as pair:
        for _ in range(4):
            assert (await pair.client.get("x")).payload == body
        assert [echo for echo in gives.echoes if echo] == [b"ahead"]
        assert gives.echoes[2] == b"ahead"


@virtual
async def test_the_next_request_may_be_of_any_kind_and_what_the_application_says_holds() -> None:
    gives = Gives()
    async with Pair(site_of(x=gives)) as pair:
        await pair.client.get("x")
        await pair.client.get("x")
        assert (await pair.client.get("x", echo=b"mine")).code == Code.CONTENT
        assert (await pair.client.post("x", payload=b"x")).code == Code.CHANGED
        await pair.client.get("x")
    assert gives.echoes == [None, None, b"mine", b"ahead", None]


class Address(EndpointAddress):
    pass


def response(remote: EndpointAddress, echo: bytes | None, code: Code = Code.CONTENT) -> Message:
    made = Message(code, echo=echo)
    made.remote = remote
    return made


def test_values_go_back_where_they_came_from_and_once() -> None:
    kept = KeptEchoes(Limits())
    one, other = Address(), Address()
    kept.keep(response(one, b"1"))
    kept.keep(response(one, b"2"))
    kept.keep(response(other, None))
    kept.keep(response(other, b"3", Code.UNAUTHORIZED))
    assert kept.take(response(other, None)).options.echo is None
    question = response(one, None)
    taken = kept.take(question)
    assert (taken.options.echo, taken.remote) == (b"2", one)
    assert question.options.echo is None
    assert kept.take(question) is question


def test_values_are_bounded() -> None:
    kept = KeptEchoes(Limits(kept_echoes=2))
    remotes = [Address() for _ in range(3)]
    for remote in remotes:
        kept.keep(response(remote, b"x"))
    assert list(kept) == remotes[1:]
    nothing = KeptEchoes(Limits(kept_echoes=0))
    nothing.keep(response(remotes[0], b"x"))
    assert not nothing
