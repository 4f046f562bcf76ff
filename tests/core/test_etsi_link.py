"""ETSI's plugtest cases for discovery, by their numbers (RFC 6690)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from securecoap.wire.codes import Code
from securecoap.wire.content_formats import LINK_FORMAT, TEXT
from securecoap.wire.link_format import Link, parse_links
from tests.simulation.clock import virtual

from .etsi import LINKS, SUB_LINKS
from .plugtest import etsi_pair, on_networks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulation.endpoints import Pair


async def discover(pair: Pair, *query: str) -> dict[str, Link]:
    response = await pair.client.get(".well-known/core", uri_query=query)
    assert (response.code, response.options.content_format) == (Code.CONTENT, LINK_FORMAT)
    return {link.target: link for link in parse_links(response.payload)}


@on_networks
@virtual
async def test_link_01_all_links(network: Mapping[str, Any]) -> None:
    async with etsi_pair(network) as pair:
        links = await discover(pair)
        assert {*LINKS, "/test", "/obs", "/path"} <= links.keys()
        for path, attributes in LINKS.items():
            assert dict(links[path].attributes) == {name: str(value) for name, value in attributes.items()}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("rt=Type1", {"/link1", "/link3"}, id="link_02"),
        pytest.param("rt=*", {"/link1", "/link2", "/link3", "/link4"}, id="link_03"),
        pytest.param("rt=Type2", {"/link1", "/link2"}, id="link_04"),
        pytest.param("if=If*", {"/link1", "/link2"}, id="link_05"),
        pytest.param("sz=*", {"/link3"}, id="link_06"),
        pytest.param("href=/link1", {"/link1"}, id="link_07"),
        pytest.param("href=/link*", {"/link1", "/link2", "/link3", "/link4"}, id="link_08"),
    ],
)
@on_networks
@virtual
async def test_link_02_to_08_filters(network: Mapping[str, Any], query: str, found: set[str]) -> None:
    async with etsi_pair(network) as pair:
        assert set(await discover(pair, query)) == found


@on_networks
@virtual
async def test_link_09_hierarchy(network: Mapping[str, Any]) -> None:
    """The list names a list, which names what lies below."""
    async with etsi_pair(network) as pair:
        links = await discover(pair)
        assert links["/path"].value("ct") == str(LINK_FORMAT)
        assert not set(SUB_LINKS) & set(links)
        response = await pair.client.get("path")
        assert (response.code, response.options.content_format) == (Code.CONTENT, LINK_FORMAT)
        below = parse_links(response.payload)
        assert tuple(link.target for link in below) == SUB_LINKS
        assert below[0].value("ct") == str(TEXT)
        leaf = await pair.client.get(below[0].target)
        assert (leaf.code, leaf.payload, leaf.options.content_format) == (Code.CONTENT, b"sub1", TEXT)
