"""Where a shell is on a server: a URI that others are relative to, and the resources that are known around it.

Knows what servers said about themselves (RFC 6690); asks nobody and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from securecoap.errors import UriError
from securecoap.wire.content_formats import LINK_FORMAT
from securecoap.wire.link_format import parse_links
from securecoap.wire.uri import compose_uri, parse_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securecoap.wire.link_format import Link

__all__ = ["Place"]

_SCHEMES: Final = ("coap://", "coaps://")


class Place:
    """A position in the resources of a server.

    Args:
        uri: where to begin, or ``None``: then only whole URIs mean something.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._uri: str | None = None
        self._ends_with_slash = False
        self._known: dict[str, dict[str, Link]] = {}
        self._listed: dict[str, dict[str, dict[str, Link]]] = {}
        if uri is not None:
            self.go(uri)

    @property
    def uri(self) -> str | None:
        """The URI of the place, to be shown: without a slash at its end; ``None`` before there is one."""
        return self._uri

    def resolve(self, reference: str = "") -> str:
        """The whole URI that a reference means here: a path, ``..``, ``?query``, or a URI.

        Raises:
            UriError: it means none.
        """
        if "://" in reference:
            parse_uri(reference)
            return reference
        if self._uri is None:
            raise UriError("there is no server yet: 'cd coap://HOST' goes to one, or write a whole URI")
        if not reference or reference.startswith("?"):
            uri = self._as_listed(self._uri, slash=self._ends_with_slash) + reference
        else:
            # A name with a colon is no scheme here: who means another server writes ://
            uri = resolve_uri(self._uri + "/", reference if reference.startswith("/") else f"./{reference}")
            if reference.rpartition("/")[2] in {".", ".."}:
                uri = uri.rstrip("/")
                uri = self._as_listed(uri, slash=self._ends_with_slash and uri == self._uri)
        parse_uri(uri)
        return uri

    def go(self, reference: str) -> None:
        """Be there from now on.

        Raises:
            UriError: it means no URI, or one with a query.
        """
        parts = parse_uri(self.resolve(reference))
        if parts.query:
            raise UriError("a place has no query; write it with the request")
        path = parts.path[:-1] if parts.path and not parts.path[-1] else parts.path
        self._uri = compose_uri(parts.scheme, parts.host, parts.port, path).rstrip("/")
        self._ends_with_slash = len(path) < len(parts.path)

    def _as_listed(self, uri: str, *, slash: bool) -> str:
        """A place as a resource: ``/a`` and ``/a/`` are two (RFC 3986 section 6.2.4), and the server says which it has.

        Args:
            uri: without a slash at its end.
            slash: whether it has one where the server does not say.
        """
        known = self._resources(self.server(uri))
        forms = sorted((uri, uri + "/"), reverse=slash)
        return next((form for form in forms if form in known), forms[0])

    # What is known.

    def server(self, reference: str = "") -> str:
        """The URI of the server that a reference leads to, without a path.

        Raises:
            UriError: it leads to none.
        """
        parts = parse_uri(self.resolve(reference))
        return compose_uri(parts.scheme, parts.host, parts.port).rstrip("/")

    def learn(self, server: str, document: bytes) -> int:
        """Remember what a server said about itself; links that lead elsewhere are left out.

        Returns:
            How many resources it has.

        Raises:
            FormatError: it is not in link format.
        """
        self._known[server] = known = self._links(server, server + "/", document)
        return len(known)

    def learn_directory(self, directory: str, document: bytes) -> None:
        """Remember what a resource that lists others has said; links to other servers are left out.

        Args:
            directory: one that `directories` gave.
            document: its links.

        Raises:
            FormatError: it is not in link format.
        """
        server = self.server(directory)
        self._listed.setdefault(server, {})[directory] = self._links(server, directory, document)

    def _links(self, server: str, base: str, document: bytes) -> dict[str, Link]:
        found: dict[str, Link] = {}
        for link in parse_links(document):
            try:
                uri = resolve_uri(base, link.target)
                if self.server(uri) == server:
                    found[str(parse_uri(uri))] = link
            except UriError:
                continue
        return found

    def directories(self, reference: str = "") -> Iterator[tuple[str, bool]]:
        """The resources on the way to a place, and at it, that list others: URI, and whether it has said which.

        Outermost first; what one says may lead to the next, so each is to be asked before the next is taken.
        """
        parts = parse_uri(self.resolve(reference))
        path = tuple(segment for segment in parts.path if segment)
        server = self.server(reference)
        for length in range(len(path) + 1):
            uri = compose_uri(parts.scheme, parts.host, parts.port, path[:length]).rstrip("/")
            known = self._resources(server)
            for form in (uri + "/", uri):
                if form in known and _lists(known[form]):
                    yield form, form in self._listed.get(server, {})
                    break

    def _resources(self, server: str) -> dict[str, Link]:
        """Everything that is known of a server."""
        found = dict(self._known.get(server, ()))
        for listed in self._listed.get(server, {}).values():
            found |= listed
        return found

    def learn_nothing(self, server: str) -> None:
        """A server did not say what it has; it is not asked again for what is only a help."""
        self._known.setdefault(server, {})

    def is_known(self, server: str) -> bool:
        """Whether a server was asked."""
        return server in self._known

    def below(self, reference: str = "") -> list[tuple[str, Link]]:
        """The known resources at and below a place: what is written to reach each from there, and its link."""
        here = self.resolve(reference).rstrip("/")
        found = []
        for uri, link in self._resources(self.server(reference)).items():
            if uri.rstrip("/") == here or uri.startswith(here + "/"):
                found.append((uri[len(here) + 1 :] or ".", link))
        return sorted(found, key=lambda one: one[0])

    def candidates(self, begun: str, *, places_only: bool = False) -> list[tuple[str, str]]:
        """How a reference that was begun may go on: texts that begin as it does, a segment further, and their titles.

        Args:
            begun: what is there of it.
            places_only: whether only what has something below it is meant.
        """
        head = begun[: begun.rfind("/") + 1]
        try:
            base = self.resolve(head).rstrip("/") + "/"
            known = self._resources(self.server(head))
        except UriError:
            return [(scheme, "") for scheme in _SCHEMES if scheme.startswith(begun)]
        found: dict[str, str] = {}
        for uri, link in known.items():
            if not uri.startswith(base):
                continue
            name, slash, _ = uri[len(base) :].partition("/")
            if slash:
                found.setdefault(f"{head}{name}/", "")
            elif name and not places_only:
                found[head + name] = _title(link)
        return sorted((text, title) for text, title in found.items() if text.startswith(begun))


def _lists(link: Link) -> bool:
    """Whether a resource is a list of others: in link format (RFC 6690)."""
    return str(LINK_FORMAT) in (dict(link.attributes).get("ct") or "").split()


def _title(link: Link) -> str:
    values = dict(link.attributes)
    return values.get("title") or values.get("rt") or ""
