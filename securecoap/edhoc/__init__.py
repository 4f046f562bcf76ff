"""EDHOC (RFC 9528): keys for OSCORE, agreed on with public keys; over CoAP, and combined with OSCORE (RFC 9668).

The cryptography is lakers' (`engine`), around which this room holds what belongs to an endpoint: whom it knows, what it
remembers of strangers and for how long, identifiers, sessions and their end. Time and chance are handed in; only the
ephemeral keys come from lakers, which takes none.
"""
