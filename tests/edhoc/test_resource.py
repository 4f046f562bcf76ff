"""``/.well-known/edhoc`` and the tree in front of a site."""

from __future__ import annotations

import asyncio
import logging
from errno import ECONNREFUSED
from typing import TYPE_CHECKING, Any

import pytest

from securecoap.edhoc.resource import EDHOC_PATH, EdhocResource, EdhocTree
from securecoap.errors import Unreachable
from securecoap.events import Events
from securecoap.resources import Resource, Site
from securecoap.wire.codes import Code
from tests.simulation.clock import run, virtual

from . import material
from .stack import Agreed, edhoc_message, post_edhoc
from .vectors import TRACE_2

if TYPE_CHECKING:
    from securecoap.interfaces import Resource as AnyResource

MESSAGE_1 = b"\xf5" + TRACE_2["message_1_seq"]


class Always:
    """Exchanges that answer everything, and stand in for a responder."""

    is_crowded = False

    def message_1(self, data: bytes, remote: Any) -> bytes:
        return b"message_2"


def edhoc() -> EdhocResource:
    return EdhocResource(Always(), lambda _: b"echo", Events(lambda: 0.0))  # type: ignore[arg-type]  # a stand-in


def test_it_keeps_the_contract_of_a_resource() -> None:
    class Remote:
        is_multicast_locally = False
        security = "none"
        confirmed = True

    resource: AnyResource = edhoc()
    request = edhoc_message(MESSAGE_1)
    request.remote = Remote()
    assert run(resource.needs_blockwise_assembly(request))
    answer = run(resource.render(request))
    assert (answer.code, answer.payload, answer.options.content_format) == (Code.CHANGED, b"message_2", 64)


@pytest.mark.parametrize("root", ["site", "resource", "nothing"])
def test_everything_else_is_the_application_s(root: str) -> None:
    page = Resource()
    site = Site()
    site.add("/page", page)
    site.add("/.well-known/edhoc", Resource())  # ours is in front of it
    ours = edhoc()
    tree = EdhocTree({"site": site, "resource": page, "nothing": None}[root], ours)
    assert tree.find(EDHOC_PATH) == (ours, {})
    found = tree.find(("page",))
    assert (found is None) == (root == "nothing")
    if found is not None:
        assert found[0] is page
    elsewhere = tree.find(("elsewhere",))
    assert (elsewhere is not None) == (root == "resource")


@virtual
async def test_a_credential_of_ours_that_is_not_valid_is_not_shown() -> None:
    async with Agreed(server=material.server(beside={"not-after": "2001-01-01T00:00:00Z"})) as pair:
        assert (await post_edhoc(pair, MESSAGE_1)).code == Code.NOT_FOUND
        assert len(pair.responder.identifiers) == 0


@virtual
async def test_peers_of_another_identity_are_told_of() -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("securecoap.edhoc.endpoint")
    logger.addHandler(handler)
    try:
        other = {**material.CLIENT_SET, "peer-cred": material.ANYBODY}
        async with Agreed(server={**material.server(), ":other": {"edhoc-oscore": other}}):
            assert [record.args for record in records] == [(":other",)]
    finally:
        logger.removeHandler(handler)


@virtual
async def test_an_error_of_the_network_ends_a_handshake() -> None:
    async with Agreed() as pair:
        pair.network.drop = lambda sent: sent.destination == "server"
        waiting = [pair.client.ask(Code.POST, "who") for _ in range(3)]
        await asyncio.sleep(3)
        pair.client.manager.dispatch_error(ECONNREFUSED, pair.client.interface.address("server"))
        for request in waiting:
            with pytest.raises(Unreachable):
                await request.response
        assert len(pair.initiator.identifiers) == 0
