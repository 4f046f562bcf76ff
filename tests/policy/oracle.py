"""Section 6 of the design once more, written down from its text alone: what a server has to say to a request.

Nothing of the product is called: patterns are regular expressions here, and the file is the JSON that it is. Where the
product is clever (indexes, remembered decisions, grants), this is slow and plain.
"""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

ALLOWED, UNAUTHORIZED, FORBIDDEN = "allowed", "4.01", "4.03"
PORTS = {"coap": 5683, "coaps": 5684}
_END = "\U0010ffff"  # in front of each segment: no test has it in one
_OPEN = ([".well-known", "core"], [".well-known", "edhoc"])


def decide(
    file: dict[str, Any],
    *,
    scheme: str,
    host: str,
    port: int,
    path: list[str],
    method: str,
    claims: tuple[str, ...],
    strangers: frozenset[str] = frozenset(),
) -> str:
    """The answer to a request that is for one of the server's own names.

    Args:
        file: the content of the server's file. Every credential in it is valid now, or nobody has its claims.
        scheme, host, port, path, method: of the request.
        claims: what its sender has proved.
        strangers: claims that prove nothing.
    """
    refused = FORBIDDEN if claims else UNAUTHORIZED
    serves_edhoc = any("own-cred" in str(entry) for entry in file.values())
    if path == _OPEN[1] and serves_edhoc:
        return ALLOWED
    fitting = []
    for order, (name, entry) in enumerate(file.items()):
        if name.startswith(":"):
            continue
        methods = entry.get("methods") if isinstance(entry, dict) else None
        if _path_fits(name, path) and (methods is None or method in methods):
            fitting.append((*_literals(name), order, name))
    if not fitting:
        proved = bool(set(claims) - strangers)
        return ALLOWED if proved or path in _OPEN else refused
    deepest = max(one[0] for one in fitting)
    own = [one for one in fitting if one[0] == deepest and _origin_fits(one[-1], scheme, host, port)]
    if not own:
        return refused
    name = max(own)[-1]
    return ALLOWED if _satisfied(file, name, file[name], claims) else refused


def _satisfied(file: dict[str, Any], name: str, demand: Any, claims: tuple[str, ...]) -> bool:
    if isinstance(demand, str):
        target = file.get(demand)
        while isinstance(target, str):
            target = file[target]
        if target is not None and {"any-of", "all-of", "unprotected"} & target.keys():
            return _satisfied(file, name, target, claims)
        return demand in claims
    if "unprotected" in demand:
        return bool(demand["unprotected"])
    if "any-of" in demand:
        return any(_satisfied(file, name, one, claims) for one in demand["any-of"])
    if "all-of" in demand:
        return all(_satisfied(file, name, one, claims) for one in demand["all-of"])
    return name in claims


@cache
def _parts(pattern: str) -> tuple[str, str, str | None]:
    if pattern == "*":
        return "*", "*", None
    scheme, _, rest = pattern.partition("://")
    authority, slash, path = rest.partition("/")
    if not slash and authority.endswith("*"):
        return scheme, authority, None
    return scheme, authority, "/" + path


@cache
def _literals(pattern: str) -> tuple[int, int, int]:
    scheme, authority, path = _parts(pattern)
    return tuple(len(unquote(text or "").replace("*", "")) for text in (path, authority, scheme))  # type: ignore[return-value]  # three of them


def _glob(text: str, anything: str) -> str:
    return anything.join(re.escape(unquote(piece)) for piece in text.split("*"))


def _path_fits(pattern: str, path: list[str]) -> bool:
    wanted = _parts(pattern)[2]
    if wanted is None or wanted == "/*":
        return True
    segments = [] if wanted == "/" else wanted[1:].split("/")
    expression = "".join(re.escape(_END) + _glob(one, f"[^{_END}]*") for one in segments)
    if segments and segments[-1].endswith("*"):
        expression += ".*"
    return re.fullmatch(expression, "".join(_END + one for one in path), re.DOTALL) is not None


def _origin_fits(pattern: str, scheme: str, host: str, port: int) -> bool:
    schemes, authority, path = _parts(pattern)
    if re.fullmatch(_glob(schemes, ".*"), scheme) is None:
        return False
    if authority == "*":
        return True
    if path is None:
        authority = authority.removesuffix("*") + "*:*"
    name, wanted = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::([0-9]+|\*))?", authority).groups()  # type: ignore[union-attr]  # the tests' own patterns
    if wanted != "*" and port != int(wanted or PORTS[scheme]):
        return False
    if "*" in name:
        return re.fullmatch(_glob(name.lower(), ".*"), _plain(host)) is not None
    return _plain(name) == _plain(host)


@cache
def _plain(host: str) -> str:
    text = unquote(host).lower().strip("[]").rstrip(".")
    try:
        return str(ip_address(text))
    except ValueError:
        return text
