"""How the plugtest cases are run: on a perfect network, where every datagram is looked at, and on bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.simulation.endpoints import Pair

from .etsi import etsi_site

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PERFECT", "at_least_once", "etsi_pair", "on_networks", "site_resource"]

PERFECT: Mapping[str, Any] = {}
_LOSSY = {"loss": 0.1, "duplication": 0.2, "delay": (0.01, 1.5)}
_REORDERING = {"duplication": 0.3, "delay": (0.01, 1.5)}
_BAD = {f"lossy-{seed}": {"seed": seed, **_LOSSY} for seed in range(3)}
_UNORDERED = {f"unordered-{seed}": {"seed": seed, **_REORDERING} for seed in range(2)}

on_networks = pytest.mark.parametrize("network", [PERFECT, *_BAD.values()], ids=["perfect", *_BAD])
"""For what is Confirmable: everything arrives in the end."""

at_least_once = pytest.mark.parametrize("network", [PERFECT, *_UNORDERED.values()], ids=["perfect", *_UNORDERED])
"""For what is Non-confirmable: nothing is lost, but much comes twice, or late."""


def etsi_pair(network: Mapping[str, Any], **more: Any) -> Pair:
    """A client, and a server with the plugtest's resources."""
    return Pair(etsi_site(), **network, **more)


def site_resource(pair: Pair, *path: str) -> Any:
    """The resource of the server at a path."""
    found = pair.server.server.find(path)
    assert found is not None
    return found[0]
