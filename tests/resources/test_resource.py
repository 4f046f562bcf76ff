"""Handlers by method."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.errors import MethodNotAllowed, NotFound
from securecoap.resources import NoResponse, Resource
from securecoap.wire.codes import DEFAULT_RESPONSE_CODES, Code
from securecoap.wire.message import Message
from tests.resources.fakes import request, run

if TYPE_CHECKING:
    from securecoap.interfaces import DirectResource

METHODS = [Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.PATCH, Code.IPATCH]


def _echo_method(name: str) -> Any:
    def handler(self: Any, message: Message) -> Message:
        return Message(payload=name.encode())

    return handler


Everything: Any = type("Everything", (Resource,), {f"render_{m.name.lower()}": _echo_method(m.name) for m in METHODS})


class Plain(Resource):
    def render_get(self, message: Message) -> Message:
        return Message(payload=b"plain")


class Waiting(Resource):
    async def render_get(self, message: Message) -> Message:
        await asyncio.sleep(0)
        return Message(payload=b"waited")


@pytest.mark.parametrize("code", METHODS)
def test_each_method_has_its_handler(code: Code) -> None:
    answer = Everything().dispatch(request(code))
    assert answer.payload == code.name.encode()
    assert run(Everything().render(request(code))).payload == code.name.encode()


def test_every_method_with_a_handler_has_a_default_code() -> None:
    assert set(DEFAULT_RESPONSE_CODES) == set(METHODS) == set(Everything._handlers)


@pytest.mark.parametrize("code", [Code.POST, Code.IPATCH, 8, 31, None, 0, Code.CONTENT])
def test_no_handler_is_method_not_allowed(code: int | None) -> None:
    message = request()
    message.code = code
    with pytest.raises(MethodNotAllowed):
        Plain().dispatch(message)
    with pytest.raises(MethodNotAllowed):
        run(Plain().render(message))


def test_the_base_class_has_no_handler() -> None:
    with pytest.raises(MethodNotAllowed):
        Resource().dispatch(request())


def test_a_plain_handler_answers_at_once() -> None:
    answer = Plain().dispatch(request())
    assert isinstance(answer, Message)
    assert answer.payload == b"plain"


def test_an_async_handler_gives_a_coroutine() -> None:
    coroutine = Waiting().dispatch(request())
    assert isinstance(coroutine, Coroutine)
    assert asyncio.run(coroutine).payload == b"waited"
    assert asyncio.run(Waiting().render(request())).payload == b"waited"


def test_the_message_is_handed_on_as_it_is() -> None:
    shared = Message(payload=b"shared")

    class Shared(Resource):
        def render_get(self, message: Message) -> Message:
            return shared

        def render_post(self, message: Message) -> Message:
            return NoResponse

    assert Shared().dispatch(request()) is shared
    assert shared.code is None
    assert Shared().dispatch(request(Code.POST)) is NoResponse


def test_an_error_of_a_handler_passes() -> None:
    class Missing(Resource):
        def render_get(self, message: Message) -> Message:
            raise NotFound("gone")

    with pytest.raises(NotFound):
        Missing().dispatch(request())


def test_handlers_are_inherited_replaced_and_taken_away() -> None:
    class Mixin:
        def render_put(self, message: Message) -> Message:
            return Message(payload=b"mixin")

    class Child(Mixin, Everything):  # type: ignore[misc]  # made by type()
        render_delete = None

        def render_get(self, message: Message) -> Message:
            return Message(payload=b"child of " + super().render_get(message).payload)

    child = Child()
    assert child.dispatch(request(Code.GET)).payload == b"child of GET"
    assert child.dispatch(request(Code.PUT)).payload == b"mixin"
    assert child.dispatch(request(Code.POST)).payload == b"POST"
    with pytest.raises(MethodNotAllowed):
        child.dispatch(request(Code.DELETE))
    assert Everything().dispatch(request(Code.DELETE)).payload == b"DELETE"


def test_handlers_that_are_no_plain_functions() -> None:
    class Odd(Resource):
        @staticmethod
        def render_get(message: Message) -> Message:
            return Message(payload=b"static")

        @classmethod
        def render_put(cls, message: Message) -> Message:
            return Message(payload=cls.__name__.encode())

        def _named(self, name: bytes, message: Message) -> Message:
            return Message(payload=name)

        render_post = functools.partialmethod(_named, b"partial")

    class Inherited(Odd):
        pass

    resource: Any
    for resource in (Odd(), Inherited()):
        assert resource.dispatch(request(Code.GET)).payload == b"static"
        assert resource.dispatch(request(Code.PUT)).payload == type(resource).__name__.encode()
        assert resource.dispatch(request(Code.POST)).payload == b"partial"


class Overridden(Plain):
    async def render(self, message: Message) -> Message:
        if message.code == 9:
            return Message(Code.CONTENT, b"any")
        inner = await super().render(message)
        return Message(payload=b"around " + inner.payload)


def test_an_overridden_render_sees_every_method() -> None:
    assert run(Overridden().dispatch(request(9))).payload == b"any"
    assert run(Overridden().dispatch(request())).payload == b"around plain"
    with pytest.raises(MethodNotAllowed):
        run(Overridden().dispatch(request(Code.PUT)))


def test_a_child_of_an_overridden_render() -> None:
    class Child(Overridden):
        def render_get(self, message: Message) -> Message:
            return Message(payload=b"child")

    assert run(Child().dispatch(request())).payload == b"around child"


def test_blockwise_assembly_is_asked_for_only_where_it_is_overridden() -> None:
    class Blocks(Resource):
        assembles_bodies = False

    class Asked(Resource):
        async def needs_blockwise_assembly(self, message: Message) -> bool:
            return message.code == Code.PUT

    class ChildOfAsked(Asked):
        pass

    class AskedNoMore(Asked):
        assembles_bodies = True

    assert Plain.assembles_bodies is True
    assert run(Plain().needs_blockwise_assembly(request())) is True
    assert Blocks.assembles_bodies is False
    assert run(Blocks().needs_blockwise_assembly(request())) is False
    assert Asked.assembles_bodies is None
    assert ChildOfAsked.assembles_bodies is None
    assert AskedNoMore.assembles_bodies is True


def test_what_has_add_observation_is_observable() -> None:
    class Own(Resource):
        async def add_observation(self, message: Message, server_observation: Any) -> None: ...

    class NoMore(Own):
        is_observable = False

    assert not Plain.is_observable
    assert Own.is_observable
    assert not NoMore.is_observable


def test_it_fits_the_seam() -> None:
    resource: DirectResource = Plain()
    assert resource.assembles_bodies is True
    assert list(Plain().links()) == []
