"""Site: resources by their paths (RFC 7252 section 5.8 and 6, RFC 6690 for what it tells of itself).

Paths are sequences of decoded segments, as in the Uri-Path options: nothing is percent-encoded here, ``a/b`` within one
segment is another path than ``a``, ``b``, and any character is just a character. Access policy and requests are the
server's; a site only finds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from securecoap.resources.requirements import Demand, Place
from securecoap.resources.well_known import WELL_KNOWN_CORE, WellKnownCore
from securecoap.wire.content_formats import content_format_number
from securecoap.wire.link_format import Link, write_links
from securecoap.wire.uri import compose_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from securecoap.interfaces import Resource, ResourceTree
    from securecoap.resources.requirements import Claims
    from securecoap.resources.resource import AttributeValue, LinkAttributes

__all__ = ["Site"]

Found: TypeAlias = "tuple[Resource, Mapping[str, str]]"

_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})
_TEMPLATE: Final = re.compile(r"\{([^\W\d]\w*)\}")
_LONGEST_SEGMENT: Final = 255  # bytes (RFC 7252 section 5.10)


class _Template(NamedTuple):
    """A segment that stands for any, under a name."""

    name: str


_Pattern: TypeAlias = tuple[str | _Template, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What stands at a pattern: a resource, or a tree for everything below."""

    resource: Resource | None
    tree: ResourceTree | None
    attributes: LinkAttributes
    names: tuple[tuple[int, str], ...]
    """Where in a path the values of the pattern's templates are."""
    is_listed: bool
    place: Place | None
    """What guards it, if something is required there."""

    def parameters(self, path: tuple[str, ...]) -> Mapping[str, str]:
        return {name: path[index] for index, name in self.names} if self.names else _NO_PARAMETERS

    def found(self, resource: Resource, parameters: Mapping[str, str]) -> Found:
        return (resource if self.place is None else self.place.guard(resource)), parameters


@dataclass(slots=True)
class _Node:
    """One place in the tree of segments."""

    entry: _Entry | None = None
    literals: dict[str, _Node] = field(default_factory=dict)
    template: _Node | None = None

    @property
    def is_empty(self) -> bool:
        return self.entry is None and self.template is None and not self.literals


class Site:
    """The resources of a server, by path; a `ResourceTree`.

    ``/a/b`` has the segments ``a`` and ``b``; ``/`` has none. ``/a/`` has an empty last segment and is another path
    than ``/a`` (RFC 7252 section 6.4). ``{name}`` as a whole segment is a template: it stands for any one segment that
    is not empty, and the handler finds its value in ``request.parameters["name"]``. Where several patterns fit, the
    first segment in which they differ decides: literal, then template, then nested site. A path that one of this
    site's own patterns has without any template is that resource's in any case.

    A site that serves requests itself, and is not nested in another, has ``/.well-known/core`` unless a resource was
    added there. A look-up of a path without templates is one dictionary access, however many resources there are.
    """

    def __init__(self) -> None:
        self._root = _Node()
        self._entries: dict[_Pattern, _Entry] = {}  # in the order in which they were added
        self._exact: dict[tuple[str, ...], Found] = {}
        self._well_known: Found = (WellKnownCore(self.links), _NO_PARAMETERS)

    def add(
        self,
        path: str | tuple[str, ...],
        resource: Resource | ResourceTree,
        *,
        rt: AttributeValue = None,
        if_: AttributeValue = None,
        ct: AttributeValue = None,
        sz: AttributeValue = None,
        title: AttributeValue = None,
        osc: bool = False,
        attributes: LinkAttributes | None = None,
        is_listed: bool = True,
        requires: Claims | None = None,
    ) -> None:
        """Put a resource at a path, or a nested site (or another tree) at everything below a path.

        Args:
            path: ``"/temperature"``, ``"/store/{name}"``; or the segments as a tuple, all of them literal.
            resource: a `Resource`, or an object with ``find(path)``: it gets the segments behind ``path``, and what its
                own templates match is added to what those of ``path`` do.
            rt, if_, ct, sz, title: link attributes of the same names (RFC 6690 section 3, RFC 7252 section 7.2.1); they
                count before those of the resource. ``obs`` is said of observable resources by itself.
            osc: say that the resource wants OSCORE (RFC 8613 section 9).
            attributes: any other link attributes.
            is_listed: whether ``/.well-known/core`` shows it.
            requires: claims that requests for it (or for everything in the tree) have to prove, beside what the policy
                and the resource itself ask for; see `securecoap.requires`.

        Raises:
            ValueError: the path does not begin with a slash, cannot be asked for, has one name twice, or is taken; a
                link attribute cannot be written, or is said of a tree; ``requires`` is no expression of claims.
            TypeError: neither a resource nor a tree (a class, perhaps).
        """
        pattern = _parse_pattern(path)
        is_tree = hasattr(resource, "find")
        if isinstance(resource, type) or not (is_tree or hasattr(resource, "render")):
            raise TypeError(f"a site takes resources and sites, not {resource!r}")
        if isinstance(resource, Site) and resource._has(self):  # noqa: SLF001  # the same class
            raise ValueError("a site cannot be nested in itself")
        given: dict[str, AttributeValue] = {"rt": rt, "if": if_, "ct": ct, "sz": sz, "title": title, "osc": osc or None}
        said = {name: value for name, value in (*given.items(), *(attributes or {}).items()) if value is not None}
        if said and is_tree:
            raise ValueError("link attributes are said of resources, not of a tree")
        if "requires" in getattr(resource, "__dict__", ()):
            raise ValueError("'requires' is said in a resource's class, or to add(); in an object it means nothing")
        place = None if requires is None else Place(Demand(requires))
        write_links([Link.create("/", said)])  # faults show here, not when a client asks
        names = tuple((index, segment.name) for index, segment in enumerate(pattern) if isinstance(segment, _Template))
        node = self._root
        if (found := self._node(pattern)) is not None and found.entry is not None:
            raise ValueError(f"the path {path!r} is taken")
        for segment in pattern:
            if isinstance(segment, _Template):
                node.template = node.template or _Node()
                node = node.template
            else:
                node = node.literals.setdefault(segment, _Node())
        entry = _Entry(
            None if is_tree else resource,  # type: ignore[arg-type]  # it has render()
            resource if is_tree else None,  # type: ignore[arg-type]  # it has find()
            said, names, is_listed, place,
        )  # fmt: skip
        node.entry = self._entries[pattern] = entry
        if entry.resource is not None and not names:
            self._exact[pattern] = entry.found(entry.resource, _NO_PARAMETERS)  # type: ignore[index]  # no templates: all str

    def remove(self, path: str | tuple[str, ...]) -> None:
        """Take away what was added at exactly that path.

        Observers of a resource are not told; `ObservableResource.end_observations` does that.

        Args:
            path: as for `add`; templates have to have the same names.

        Raises:
            KeyError: nothing was added there.
        """
        pattern = _parse_pattern(path)
        if self._entries.pop(pattern, None) is None:
            raise KeyError(path)
        self._exact.pop(pattern, None)  # type: ignore[arg-type]  # with templates it is not there
        trail = [self._root]
        for segment in pattern:
            child = trail[-1].template if isinstance(segment, _Template) else trail[-1].literals[segment]
            assert child is not None  # the entry was below it
            trail.append(child)
        trail[-1].entry = None
        for segment, parent, child in zip(reversed(pattern), trail[-2::-1], trail[:0:-1], strict=True):
            if not child.is_empty:
                break
            if isinstance(segment, _Template):
                parent.template = None
            else:
                del parent.literals[segment]

    def find(self, path: tuple[str, ...]) -> tuple[Resource, Mapping[str, str]] | None:
        """The resource that serves a path, and what its templates stand for (an empty, shared mapping for none).

        Args:
            path: the values of the Uri-Path options; ``("",)`` is not ``()``, though their URIs are equal.
        """
        found = self._exact.get(path)
        if found is not None:
            return found
        found = self._walk(self._root, path, 0)
        if path == WELL_KNOWN_CORE and (found is None or found[1]):
            return self._well_known  # a literal path: it wins over templates
        return found

    def links(self) -> tuple[Link, ...]:
        """What ``/.well-known/core`` lists: each resource, in the order of `add`, and those of nested sites.

        Of another tree it lists the root, if that has ``link_attributes``: a path that ends with a slash.
        """
        return tuple(self._links(()))

    def resources(self) -> Iterator[tuple[str, Resource | ResourceTree]]:
        """Each resource with the path at which it was added, templates in braces, and those of nested sites.

        Another tree stands for itself: it has resources of its own, of which nothing is known here.
        """
        for pattern, entry in self._entries.items():
            path = "".join(f"/{{{part.name}}}" if isinstance(part, _Template) else f"/{part}" for part in pattern)
            if entry.resource is not None:
                yield path, entry.resource
            elif isinstance(entry.tree, Site):
                for below, resource in entry.tree.resources():
                    yield path + below, resource
            elif entry.tree is not None:
                yield path, entry.tree

    def _match(self, path: tuple[str, ...]) -> Found | None:
        """As `find`, for a nested site."""
        return self._exact.get(path) or self._walk(self._root, path, 0)

    def _walk(self, node: _Node, path: tuple[str, ...], index: int) -> Found | None:
        entry = node.entry
        if index < len(path):
            segment = path[index]
            child = node.literals.get(segment)
            if child is not None and (found := self._walk(child, path, index + 1)) is not None:
                return found
            if node.template is not None and segment:
                found = self._walk(node.template, path, index + 1)
                if found is not None:
                    return found
        elif entry is not None and entry.resource is not None:
            return entry.found(entry.resource, entry.parameters(path))
        if entry is None or entry.tree is None:
            return None
        tree, rest = entry.tree, path[index:]
        found = tree._match(rest) if isinstance(tree, Site) else tree.find(rest)  # noqa: SLF001  # the same class
        if found is None or not (entry.names or entry.place):
            return found
        return entry.found(found[0], {**entry.parameters(path), **found[1]})

    def _node(self, pattern: _Pattern) -> _Node | None:
        """The place of a pattern, whatever its templates are called."""
        node: _Node | None = self._root
        for segment in pattern:
            if node is None:
                return None
            node = node.template if isinstance(segment, _Template) else node.literals.get(segment)
        return node

    def _has(self, site: Site) -> bool:
        return site is self or any(
            isinstance(entry.tree, Site) and entry.tree._has(site)  # noqa: SLF001  # the same class
            for entry in self._entries.values()
        )

    def _links(self, prefix: _Pattern) -> Iterator[Link]:
        for pattern, entry in self._entries.items():
            if not entry.is_listed:
                continue
            whole = prefix + pattern
            if isinstance(entry.tree, Site):
                yield from entry.tree._links(whole)  # noqa: SLF001  # the same class
            elif entry.tree is not None and hasattr(entry.tree, "link_attributes"):
                yield from _links_of(entry.tree, (*whole, "") if whole else (), entry.attributes)
            elif entry.resource is not None:
                yield from _links_of(entry.resource, whole, entry.attributes)


def _links_of(resource: Resource | ResourceTree, pattern: _Pattern, attributes: LinkAttributes) -> Iterator[Link]:
    said: dict[str, AttributeValue] = {**getattr(resource, "link_attributes", _NO_PARAMETERS), **attributes}
    if produces := getattr(resource, "produces", ()):
        said.setdefault("ct", [content_format_number(one) for one in produces])
    if getattr(resource, "is_observable", hasattr(resource, "add_observation")):
        said.setdefault("obs", True)
    listed: Iterable[tuple[Mapping[str, str], LinkAttributes]] = ((_NO_PARAMETERS, _NO_PARAMETERS),)
    if any(isinstance(segment, _Template) for segment in pattern):
        links = getattr(resource, "links", None)
        listed = () if links is None else links()
    for parameters, own in listed:
        path = [parameters[segment.name] if isinstance(segment, _Template) else segment for segment in pattern]
        yield Link.create(_target(path), {**said, **own})


def _target(path: list[str]) -> str:
    target = compose_uri("coap", "x", path=path).removeprefix("coap://x")
    # An empty first segment would make the second one a host (RFC 3986 section 4.2).
    return "/." + target if target.startswith("//") else target


def _parse_pattern(path: str | tuple[str, ...]) -> _Pattern:
    if isinstance(path, tuple):
        pattern: _Pattern = path
    elif path == "/":
        pattern = ()
    elif not path.startswith("/"):
        raise ValueError(f"a path begins with a slash: {path!r}")
    else:
        pattern = tuple(_parse_segment(segment) for segment in path[1:].split("/"))
    names = [segment.name for segment in pattern if isinstance(segment, _Template)]
    if len(set(names)) < len(names):
        raise ValueError(f"a name stands twice in {path!r}")
    for segment in pattern:
        if isinstance(segment, str) and (segment in {".", ".."} or len(segment.encode()) > _LONGEST_SEGMENT):
            raise ValueError(f"no request can have a path with the segment {segment!r}")
    return pattern


def _parse_segment(segment: str) -> str | _Template:
    template = _TEMPLATE.fullmatch(segment)
    if template is not None:
        return _Template(template[1])
    if "{" in segment or "}" in segment:
        raise ValueError(
            f"a template is a whole segment, {{name}}: {segment!r} (a tuple of segments is taken literally)"
        )
    return segment
