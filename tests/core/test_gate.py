"""What is asked again of requests that were let in; the other conditions are tested at the server and with Echo."""

from __future__ import annotations

from typing import Any

import pytest

from securecoap.core.gate import Gate
from securecoap.errors import Forbidden, Unauthorized
from securecoap.resources import Resource
from securecoap.wire.codes import Code
from securecoap.wire.message import Message

NO_ECHO: Any = None


class Guarded(Resource):
    requires = ":admin"

    def render_get(self, request: Message) -> Message:
        return Message()


def reviewed(find: Any, authorize: Any = lambda _: None) -> None:
    review = Gate(NO_ECHO, authorize).reviewer(find)
    assert review is not None
    review(Message(Code.GET, uri_path=("x",)))


def test_policy_and_resource_are_asked() -> None:
    def refuse(_: Message) -> None:
        raise Forbidden("the policy")

    reviewed(lambda _: (Resource(), {}))
    reviewed(lambda _: None)
    with pytest.raises(Forbidden, match="the policy"):
        reviewed(lambda _: (Resource(), {}), refuse)
    with pytest.raises(Unauthorized):
        reviewed(lambda _: (Guarded(), {}))


def test_without_a_policy_nothing_is_reviewed() -> None:
    assert Gate(NO_ECHO).reviewer(lambda _: None) is None
