"""Names in certificates, so that equal ones are equal strings; and which of them an authority asks for.

RFC 7252 section 9.1.3.3: DNS names, IP addresses and CoAP URIs of SubjectAltName; a wildcard stands for nothing. Must
not know certificates.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from securecoap.errors import UriError
from securecoap.wire.uri import parse_uri

__all__ = ["has_authority", "is_address", "normal_name"]

_SCHEMES: Final = ("coap", "coaps")


def normal_name(text: str) -> str:
    """A name as it is compared: addresses by value, DNS names in lower case, URIs as they are."""
    if "://" in text:
        return text
    try:
        return str(_address(text))
    except ValueError:
        return text.rstrip(".").lower()


def is_address(text: str) -> bool:
    """Whether `normal_name` takes a name for an IP address."""
    try:
        _address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> IPv4Address | IPv6Address:
    bare = text.strip("[]").partition("%")[0]
    if ":" not in bare and not bare[:1].isdecimal():  # nearly all names are told from addresses by this
        raise ValueError("no address")
    return ip_address(bare)


def has_authority(names: tuple[str, ...], host: str, port: int) -> bool:
    """Whether one of a certificate's names (as `normal_name` gives them) is for the authority of a request.

    A DNS name or address is for every port; a URI is for its own authority, and only with a scheme of CoAP.

    Args:
        names: those of the certificate.
        host: of the request's URI; an IPv6 address with or without brackets.
        port: of the request's URI.
    """
    wanted = normal_name(host)
    return wanted in names or any(_is_for(name, wanted, port) for name in names if "://" in name)


def _is_for(uri: str, host: str, port: int) -> bool:
    try:
        parsed = parse_uri(uri)
    except UriError:
        return False
    return parsed.scheme in _SCHEMES and normal_name(parsed.host) == host and parsed.port == port
