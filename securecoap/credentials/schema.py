"""The format as a JSON Schema (draft 2020-12), made of the tables that the parsers have.

For editors and other programs. A table says which members there are, which there must be, and what each takes; here
stands what a person is told of them, and the rules that concern several. A parser or member of which nothing is known
here is an error, so that nothing can be forgotten. Must not know files.
"""

from __future__ import annotations

import json
from typing import Any, Final

from securecoap.credentials import edhoc, kinds
from securecoap.credentials.algorithms import (
    AEAD_ALGORITHMS,
    DEFAULT_ALGORITHM,
    DEFAULT_HASH,
    HASH_NAMES,
    parse_algorithm,
    parse_hash,
)
from securecoap.credentials.algorithms import DEFAULT_WINDOW as WINDOW
from securecoap.credentials.entries import BESIDE, GROUPS, METHODS
from securecoap.credentials.kinds import KINDS, TABLES
from securecoap.credentials.values import (
    FORMS,
    ListOf,
    Octets,
    Parser,
    Whole,
    parse_bool,
    parse_octets,
    parse_path,
    parse_text,
)
from securecoap.wire.uri import DEFAULT_PORTS

__all__ = ["schema", "schema_text"]

Json = dict[str, Any]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final[Json] = {"type": "string", "minLength": 1}
_OBJECT: Final[Json] = {"type": "object", "minProperties": 1}
_OCTETS: Final[Json] = {"$ref": "#/$defs/bytes"}
_LABEL: Final[Json] = {"$ref": "#/$defs/label"}
_ANYBODY: Final[Json] = {
    "type": "object", "properties": {"unauthenticated": {"const": True}}, "required": ["unauthenticated"],
    "additionalProperties": False,
}  # fmt: skip

_FORM: Final[dict[str, Json]] = {
    "hex": {
        "description": "Hexadecimal digits; blanks, - and : between them mean nothing.",
        "type": "string",
        "pattern": r"^([-:\s]*[0-9a-fA-F][-:\s]*[0-9a-fA-F])*[-:\s]*$",
        "examples": ["0102030405060708090a0b0c0d0e0f10"],
    },
    "ascii": {"description": "The characters themselves.", "type": "string", "pattern": r"^[\u0000-\u007f]*$"},
    "base64": {
        "description": "RFC 4648 section 4, with padding.",
        "type": "string",
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    },
    "file": {
        **_TEXT,
        "description": "The whole content of a file, relative to this one.",
        "examples": ["keys/device.key.pem"],
    },
    "env": {
        **_TEXT,
        "description": "The value of an environment variable.",
        "pattern": "^[^=]+$",
        "examples": ["DEVICE_PSK"],
    },
    "command": {
        "description": "What a program writes to its standard output, in this file's directory: program and arguments.",
        "type": "array",
        "prefixItems": [_TEXT],
        "items": {"type": "string"},
        "minItems": 1,
        "examples": [["pass", "show", "coap/device"]],
    },
}

_PARTY: Final[Json] = {
    "oneOf": [
        _ANYBODY,
        {
            "description": "A CWT Claims Set, by the name of COSE's header parameter for one.",
            "type": "object", "properties": {"14": _OBJECT}, "required": ["14"], "additionalProperties": False,
        },
    ]
}  # fmt: skip
_PARSED: Final[dict[Parser, Json]] = {
    parse_octets: _OCTETS,
    parse_bool: {"type": "boolean"},
    parse_text: _TEXT,
    parse_path: _TEXT,
    parse_algorithm: {"enum": list(AEAD_ALGORITHMS)},
    parse_hash: {"enum": list(HASH_NAMES)},
    kinds.parse_peer_keys: {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": _OCTETS},
            {**_OBJECT, "propertyNames": _LABEL, "additionalProperties": _OCTETS},
        ]
    },
    edhoc.parse_party: _PARTY,
    edhoc.parse_style: {"enum": list(edhoc.STYLES)},
    edhoc.parse_private: _OBJECT,
    edhoc.parse_private_file: _TEXT,
}
"""What each parser takes, as far as it can be said here."""

_KIND: Final[dict[str, str]] = {
    "dtls": "A pre-shared key for DTLS (RFC 4279).",
    "dtls-rpk": "A raw public key for DTLS (RFC 7250).",
    "dtls-x509": "Certificates for DTLS (RFC 7252 section 9.1.3.3).",
    "oscore": "A security context of OSCORE (RFC 8613); ids are from the view of this file's owner.",
    "group-oscore": "A member of an OSCORE group. Not usable yet.",
    "edhoc-oscore": "Keys with which those of OSCORE are agreed on (EDHOC, RFC 9528).",
    "tlscert": "Certificates for coaps+tcp and coaps+ws. Not usable yet.",
}
_MEMBER: Final[dict[str, Json]] = {
    "psk": {"description": "The key: 16 bytes or more; up to 512 are possible."},
    "client-identity": {
        "description": "The PSK identity that the client shows: 1 to 256 bytes.",
        "examples": [{"ascii": "sensor-17"}],
    },
    "identity-hint": {"description": "What the server sends for the client to choose a key by; few clients want one."},
    "private-key": {"description": "Our private key, without passphrase: PEM or DER, or for EDHOC a COSE key."},
    "private-key-file": {"description": "A file with our private COSE key, relative to this one."},
    "public-key": {"description": "The public key of private-key; checked if it is there."},
    "peer-keys": {"description": "The public keys of peers: a list, or an object that gives each a label of its own."},
    "certificate": {"description": "Our certificate chain, our own certificate first: PEM or DER."},
    "ca": {"description": "Who may certify peers."},
    "peer-names": {
        "description": "Names, addresses or URIs of which a peer's certificate must have one.",
        "examples": [["sensor-17.example"]],
    },
    "secret": {"description": "The master secret: 16 bytes or more."},
    "salt": {"description": "The master salt.", "default": {"hex": ""}},
    "sender-id": {"description": "The id of this file's owner; the peer's recipient-id.", "examples": [{"hex": "01"}]},
    "recipient-id": {"description": "The id of the peer; its sender-id.", "examples": [{"hex": "12"}]},
    "id-context": {"description": "The ID Context: up to 240 bytes."},
    "group-id": {"description": "The ID Context that all members of the group share."},
    "algorithm": {"description": "The AEAD, by COSE's name or number.", "default": DEFAULT_ALGORITHM.name},
    "kdf-hashfun": {"description": "The hash function of HKDF.", "default": DEFAULT_HASH},
    "window": {"description": "The size of the replay window.", "default": WINDOW},
    "echo": {"description": "Challenge the first request after a start (RFC 8613 B.1.2).", "default": True},
    "rederive": {"description": "Derive a new context after each loss of state (RFC 8613 B.2).", "default": False},
    "suite": {"description": "The cipher suite; 2 is the one that can be used.", "default": edhoc.SUITE},
    "method": {"description": "The authentication method; 3 is the one that can be used.", "default": edhoc.METHOD},
    "own-cred": {"description": "Who we are."},
    "own-cred-style": {"description": "Whether own-cred is sent by its kid or whole."},
    "peer-cred": {"description": "Who the peer is."},
    "use-combined-edhoc": {"description": "Send message_3 with the first request (RFC 9668).", "default": True},
    "certfile": {"description": "A file with certificates, relative to this one."},
}
_BASEDIR: Final[Json] = {
    "description": "A directory in aiocoap's form, which has all of the context and its state.",
    "type": "object", "properties": {"basedir": _TEXT}, "required": ["basedir"], "additionalProperties": False,
}  # fmt: skip
_RULES: Final[dict[str, Json]] = {
    "dtls-x509": {
        "dependentRequired": {"certificate": ["private-key"], "private-key": ["certificate"]},
        "anyOf": [{"required": ["certificate"]}, {"required": ["ca"]}],
    },
    "oscore": {"not": {"properties": {"rederive": {"const": True}}, "required": ["rederive", "id-context"]}},
    "edhoc-oscore": {
        "dependentRequired": {
            "own-cred": ["own-cred-style"], "own-cred-style": ["own-cred"], "private-key": ["own-cred"],
            "private-key-file": ["own-cred"],
        },
        "not": {"required": ["private-key", "private-key-file"]},
        "anyOf": [{"required": ["own-cred"]}, {"required": ["peer-cred"]}],
        "if": {"properties": {"own-cred": _ANYBODY}, "required": ["own-cred"]},
        "then": {
            "properties": {"own-cred-style": {"const": "by-value"}, "private-key": False, "private-key-file": False}
        },
        "else": {
            "if": {"required": ["own-cred"]},
            "then": {"anyOf": [{"required": ["private-key"]}, {"required": ["private-key-file"]}]},
        },
    },
}  # fmt: skip
"""What concerns several members of a kind."""

_CLAIM: Final[Json] = {"type": "string", "minLength": 1, "pattern": "^[^:]"}
_DATE: Final[Json] = {"type": "string", "format": "date-time", "examples": ["2030-12-31T23:59:59Z"]}
_BESIDE: Final[dict[str, Json]] = {
    "claims": {
        "description": "What a peer that proves this credential may claim, besides its labels.",
        "type": "array", "items": _CLAIM, "examples": [["reader"]],
    },
    "methods": {
        "description": "For URI patterns only: the methods for which it is there at all.",
        "type": "array", "minItems": 1, "items": {"enum": list(METHODS)},
    },
    "not-before": {**_DATE, "description": "When it begins."},
    "not-after": {**_DATE, "description": "When it has ended."},
}  # fmt: skip
_GROUP: Final = {"any-of": "One of these.", "all-of": "All of these: OSCORE over DTLS."}
_EXAMPLE: Final[Json] = {
    ":sensor-17": {"dtls": {"client-identity": {"ascii": "sensor-17"}, "psk": {"file": "keys/sensor-17.psk"}}},
    "coap*://*/store/*": ":sensor-17",
    "coap*://*/hello": {"unprotected": True},
}


def schema() -> Json:
    """The schema, as it is to be written in JSON."""
    return {
        "$schema": _DIALECT,
        "title": "Credentials of securecoap",
        "description": "Which key protects what, who a peer is, and what it may do. See docs/credentials.md.",
        "type": "object",
        "properties": {"$schema": {"description": "Where this schema is.", "type": "string"}},
        "patternProperties": {
            "^:.+": _named("A label: a peer, or a group of them.", "member"),
            rf"^(\*|({_schemes()})://[^?#@]+)$": _named(
                "A URI pattern: what a request there is protected with (client), or has to prove (server).", "entry"
            ),
        },
        "additionalProperties": False,
        "examples": [_EXAMPLE],
        "$defs": {
            "label": {"description": "The name of an entry that begins with a colon.", **_TEXT, "pattern": "^:.+"},
            "bytes": {
                "description": "A byte value, in one of the ways to write one.",
                "oneOf": [_one(form, _FORM[form]) for form in FORMS],
            },
            "entry": _entry(BESIDE),
            "member": _entry(tuple(name for name in BESIDE if name != "methods")),
            "group": {"type": "array", "minItems": 1, "items": {"anyOf": [_LABEL, {"$ref": "#/$defs/member"}]}},
            **{kind: _kind(kind) for kind in KINDS},
        },
    }


def schema_text() -> str:
    """The file ``credentials/schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=True) + "\n"


def _schemes() -> str:
    """Schemes of patterns: those that there are, or something with a star."""
    return "|".join(scheme.replace("+", r"\+") for scheme in DEFAULT_PORTS) + r"|[a-z+]*\*[a-z+*]*"


def _named(text: str, kind: str) -> Json:
    deleted = {"description": "Deletes the entry of an earlier file.", "type": "null"}
    return {"description": text, "anyOf": [deleted, _LABEL, {"$ref": f"#/$defs/{kind}"}]}


def _one(name: str, value: Json) -> Json:
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


def _entry(beside: tuple[str, ...]) -> Json:
    properties: Json = {kind: {"$ref": f"#/$defs/{kind}"} for kind in KINDS}
    properties |= {kind: {"description": _GROUP[kind], "$ref": "#/$defs/group"} for kind in GROUPS}
    properties["unprotected"] = {"description": "No security is asked for.", "const": True}
    alternatives = [{"required": [kind]} for kind in properties]
    return {
        "type": "object",
        "properties": properties | {name: _BESIDE[name] for name in beside},
        "additionalProperties": False,
        "oneOf": alternatives,
    }


def _kind(kind: str) -> Json:
    parsers, required = TABLES[kind]
    made = {
        "description": _KIND[kind],
        "type": "object",
        "properties": {name: {**_MEMBER[name], **_taken(parser)} for name, parser in parsers.items()},
        "required": list(required),
        "additionalProperties": False,
        **_RULES.get(kind, {}),
    }
    return {"oneOf": [_BASEDIR, made]} if kind == "oscore" else made


def _taken(parser: Parser) -> Json:
    """What a parser takes."""
    if isinstance(parser, Whole):
        return {"type": "integer", "minimum": parser.lowest, "maximum": parser.highest}
    if isinstance(parser, ListOf):
        return {"type": "array", "minItems": 1, "items": _taken(parser.item)}
    return _OCTETS if isinstance(parser, Octets) else _PARSED[parser]
