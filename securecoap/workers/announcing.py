"""Changes of observable resources, told to all processes that serve one site (RFC 7641).

Each process has resources of its own, made by the same program. One and the same is known by the path at which it was
added; `Files` are known as a whole. A resource that was added later, or that stands in another tree, tells observers of
its own process only. What has changed is not told: a resource that several processes serve has its state elsewhere.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from securecoap.resources.files import Files
from securecoap.resources.observable import ObservableResource
from securecoap.resources.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Announcing"]


class Announcing:
    """The observable resources of a site, by their paths.

    Args:
        site: as it is now.
        announce: tells the other processes of a path.
    """

    def __init__(self, site: object, announce: Callable[[str], None]) -> None:
        self._by_path: dict[str, ObservableResource | Files] = {}
        for path, resource in site.resources() if isinstance(site, Site) else ():
            if isinstance(resource, (ObservableResource, Files)):
                self._by_path[path] = resource
                resource.announce = partial(announce, path)

    def announced(self, path: str) -> None:
        """Another process has told of a change."""
        resource = self._by_path.get(path)
        if resource is not None:
            resource.changed_elsewhere()
