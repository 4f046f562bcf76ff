"""Errors as responses: a text, or problem details (RFC 7252 section 5.5.2, RFC 9290)."""

from __future__ import annotations

import cbor2
import pytest

from securecoap.core.problems import error_message
from securecoap.errors import BadOption, BadRequest, Conflict, ErrorResponse, NotFound, RequestEntityTooLarge
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import JSON, PROBLEM_DETAILS
from securecoap.wire.message import Message
from securecoap.wire.problem_details import ProblemDetails, problem_details
from tests.simulation.clock import virtual
from tests.simulation.endpoints import Pair

from .helpers import site_of

PLAIN = Message(Code.GET)
READER = Message(Code.GET, accept=PROBLEM_DETAILS)


def test_a_text_for_those_who_do_not_ask() -> None:
    message = error_message(RequestEntityTooLarge("too much", size1=1024), Message(Code.PUT, accept=JSON))
    assert (message.code, message.payload, message.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, b"too much", 1024)
    assert message.options.content_format is None
    assert error_message(NotFound(), PLAIN).payload == b""


def test_problem_details_for_those_who_ask() -> None:
    """R190: the code that it says is the response's."""
    message = error_message(NotFound("no such sensor", max_age=5), READER)
    assert (message.code, message.options.content_format, message.options.max_age) == (Code.NOT_FOUND, 257, 5)
    assert cbor2.loads(message.payload) == {-1: "Not Found", -2: "no such sensor", -4: 0x84}
    assert cbor2.loads(error_message(NotFound(), READER).payload) == {-1: "Not Found", -4: 0x84}


def test_problem_details_that_a_handler_made_go_to_everybody() -> None:
    details = ProblemDetails(title="out of range", instance="/log/7", response_code=1, extensions={"tag:x,1:y": {0: 9}})
    for request in (PLAIN, READER, Message(Code.PUT, accept=JSON)):
        message = error_message(Conflict("9 is too much", details=details), request)
        found = problem_details(message)
        assert message.code == Code.CONFLICT
        assert found == ProblemDetails(
            "out of range", "9 is too much", "/log/7", Code.CONFLICT, extensions={"tag:x,1:y": {0: 9}}
        )
    own = error_message(Conflict("text", details=ProblemDetails(detail="detail")), PLAIN)
    assert problem_details(own) == ProblemDetails("Conflict", "detail", response_code=Code.CONFLICT)


def test_details_that_cannot_be_written_are_the_handlers_fault() -> None:
    with pytest.raises(ValueError, match="one thing"):
        BadRequest(details=ProblemDetails())
    with pytest.raises(TypeError, match="object"):
        BadOption(details=ProblemDetails(extensions={1: {1: object()}}))


def test_no_default_is_sent() -> None:
    """R043: Max-Age of 60 goes without saying, and so does the port of the scheme."""
    assert error_message(NotFound(max_age=60), PLAIN).options.pairs == ()
    assert error_message(NotFound(max_age=61), PLAIN).options.max_age == 61
    for uri in ("coap://h:5683/", "coaps://h:5684/", "coap://h:61616/"):
        assert Message(Code.GET, uri=uri).options.uri_port is None


def test_a_text_that_is_not_utf_8() -> None:
    """R044: what a person reads is UTF-8, whatever a handler puts into it."""
    broken = NotFound("file \udcff")
    assert error_message(broken, PLAIN).payload == b"file ?"
    assert problem_details(error_message(broken, READER)).detail == "file ?"  # type: ignore[union-attr]  # it has them


class Fails(Resource):
    def __init__(self, error: ErrorResponse) -> None:
        self.error = error

    def render_get(self, request: Message) -> Message:
        raise self.error

    async def render_fetch(self, request: Message) -> Message:
        raise self.error


@virtual
async def test_end_to_end() -> None:
    async with Pair(site_of(x=Fails(NotFound("gone")))) as pair:
        for call in (pair.client.get("x", accept=257), pair.client.ask(Code.FETCH, "x", accept=257).response):
            assert problem_details(await call) == ProblemDetails("Not Found", "gone", response_code=Code.NOT_FOUND)
        assert (await pair.client.get("x")).payload == b"gone"


@virtual
async def test_an_option_that_was_not_understood() -> None:
    """R192: 4.02 names it, in a way that a program reads."""
    async with Pair(site_of(x=Fails(NotFound()))) as pair:
        request = Message(Code.GET, accept=PROBLEM_DETAILS)
        request.scheme, request.unresolved_remote = "coap", "server"
        request.options.add(65001, b"")
        response = await pair.client.request(request).response
        assert response.code == Code.BAD_OPTION
        details = problem_details(response)
        assert details is not None
        assert details.unprocessed_options == (65001,)
        plain = Message(Code.GET)
        plain.scheme, plain.unresolved_remote = "coap", "server"
        plain.options.add(65001, b"")
        assert b"65001" in (await pair.client.request(plain).response).payload
