"""Secure CoAP for Python: client and server over DTLS and OSCORE, credentials in one JSON file.

The names here are the public ones, with those of `securecoap.errors`; the rest may change. Each is imported when it is
first used (PEP 562): a command line that only parses a file does not wait for cryptography and asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securecoap.config import Limits, TransportParameters
    from securecoap.context import Context
    from securecoap.core.bodies import BodySink, BodySource
    from securecoap.credentials.map import CredentialsMap
    from securecoap.errors import CoapError
    from securecoap.resources import (
        NoResponse,
        ObservableResource,
        Resource,
        Site,
        check_preconditions,
        etag_for,
        require_accept,
        require_content_format,
        requires,
        validated,
    )
    from securecoap.resources.files import Files
    from securecoap.wire.block import Block
    from securecoap.wire.codes import Code
    from securecoap.wire.groups import ALL_COAP_NODES_IPV4, ALL_COAP_NODES_LINK_LOCAL, ALL_COAP_NODES_SITE_LOCAL
    from securecoap.wire.message import Message
    from securecoap.wire.problem_details import ProblemDetails, problem_details

__version__ = "0.1.0"

__all__ = [
    "ALL_COAP_NODES_IPV4",
    "ALL_COAP_NODES_LINK_LOCAL",
    "ALL_COAP_NODES_SITE_LOCAL",
    "Block",
    "BodySink",
    "BodySource",
    "CoapError",
    "Code",
    "Context",
    "CredentialsMap",
    "Files",
    "Limits",
    "Message",
    "NoResponse",
    "ObservableResource",
    "ProblemDetails",
    "Resource",
    "Site",
    "TransportParameters",
    "__version__",
    "check_preconditions",
    "etag_for",
    "problem_details",
    "require_accept",
    "require_content_format",
    "requires",
    "validated",
]

_HOMES = {
    "ALL_COAP_NODES_IPV4": "wire.groups",
    "ALL_COAP_NODES_LINK_LOCAL": "wire.groups",
    "ALL_COAP_NODES_SITE_LOCAL": "wire.groups",
    "Block": "wire.block",
    "BodySink": "core.bodies",
    "BodySource": "core.bodies",
    "CoapError": "errors",
    "Code": "wire.codes",
    "Context": "context",
    "CredentialsMap": "credentials.map",
    "Files": "resources.files",
    "Limits": "config",
    "Message": "wire.message",
    "NoResponse": "wire.message",
    "ObservableResource": "resources",
    "ProblemDetails": "wire.problem_details",
    "Resource": "resources",
    "Site": "resources",
    "TransportParameters": "config",
    "check_preconditions": "resources",
    "etag_for": "resources",
    "problem_details": "wire.problem_details",
    "require_accept": "resources",
    "require_content_format": "resources",
    "requires": "resources",
    "validated": "resources",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'securecoap' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"securecoap.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
