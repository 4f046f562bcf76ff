"""The multicast addresses of "All CoAP Nodes" (RFC 7252 section 12.8)."""

from __future__ import annotations

from typing import Final

__all__ = ["ALL_COAP_NODES_IPV4", "ALL_COAP_NODES_LINK_LOCAL", "ALL_COAP_NODES_SITE_LOCAL"]

ALL_COAP_NODES_IPV4: Final = "224.0.1.187"
ALL_COAP_NODES_LINK_LOCAL: Final = "ff02::fd"
"""IPv6, this link; a URI names the interface, too: ``coap://[ff02::fd%25eth0]/``."""
ALL_COAP_NODES_SITE_LOCAL: Final = "ff05::fd"
"""IPv6, this site."""
