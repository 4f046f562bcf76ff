"""What a server offers: resources, their paths, and helpers for handlers (RFC 7252 section 5, RFC 7641, RFC 6690)."""

from __future__ import annotations

from securecoap.resources.conditional import (
    check_preconditions,
    etag_for,
    require_accept,
    require_content_format,
    validated,
)
from securecoap.resources.observable import ObservableResource, ObservationSet
from securecoap.resources.requirements import requires
from securecoap.resources.resource import Resource
from securecoap.resources.site import Site
from securecoap.resources.well_known import WellKnownCore
from securecoap.wire.message import NoResponse

__all__ = [
    "NoResponse",
    "ObservableResource",
    "ObservationSet",
    "Resource",
    "Site",
    "WellKnownCore",
    "check_preconditions",
    "etag_for",
    "require_accept",
    "require_content_format",
    "requires",
    "validated",
]
