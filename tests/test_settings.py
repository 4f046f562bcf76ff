"""What an endpoint is told: one class for each role, whose fields are the arguments of its constructor."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from securecoap import Context, Limits, Site
from securecoap.settings import ClientSettings, ServerSettings, takes


@pytest.mark.parametrize(("name", "kind"), [("client", ClientSettings), ("server", ServerSettings)])
def test_the_constructors_take_what_the_settings_have(name: str, kind: type) -> None:
    signature = inspect.signature(getattr(Context, name))
    assert set(signature.parameters) == {one.name for one in fields(kind)}
    for one in fields(kind):
        assert one.name in kind.__doc__ + kind.__mro__[1].__doc__  # type: ignore[operator]  # the classes have docstrings


def test_the_fixed_order_of_positional_arguments() -> None:
    """The design, section 4."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for constructor, names in ((Context.client, ["credentials"]), (Context.server, ["site", "bind", "credentials"])):
        parameters = inspect.signature(constructor).parameters.values()
        assert [one.name for one in parameters if one.kind is positional] == names


def test_settings_are_frozen_and_show_no_key() -> None:
    secret = {"coap://h/*": {"oscore": {"secret": {"hex": "c0ffee"}}}}
    settings = ClientSettings(secret, limits=Limits(peers=7))
    with pytest.raises(FrozenInstanceError):
        settings.engine = "other"  # type: ignore[misc]  # that is the point
    assert "c0ffee" not in repr(settings) + repr(ServerSettings(Site(), credentials=secret))
    assert settings.limits.peers == 7


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="bogus"):
        Context.client(bogus=1)  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError, match="site"):
        Context.server()  # type: ignore[call-arg]  # as above


def test_a_constructor_of_anything() -> None:
    class Thing:
        def __init__(self, settings: ClientSettings) -> None:
            self.settings = settings

        @classmethod
        @takes(ClientSettings)
        def make(cls, settings: ClientSettings) -> Thing:
            return cls(settings)

    arguments: dict[str, Any] = {"engine": "x", "state_wait": 1.5}
    assert Thing.make(None, **arguments).settings == ClientSettings(engine="x", state_wait=1.5)
