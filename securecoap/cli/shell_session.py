"""What ``securecoap shell`` does and keeps between its lines: one endpoint with its sessions, a place, and settings.

Knows no line, no signal and no terminal beyond what `output` prints.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final

from securecoap.cli import output as out
from securecoap.cli import session, status
from securecoap.cli.group import ask_all, is_group
from securecoap.cli.options import destination, message_options
from securecoap.cli.text import printable, tell
from securecoap.cli.transfers import Request, perform
from securecoap.cli.watching import watch
from securecoap.errors import CoapError, FormatError, UriError
from securecoap.wire.codes import Code
from securecoap.wire.content_formats import LINK_FORMAT
from securecoap.wire.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from securecoap.cli.options import Connection
    from securecoap.cli.place import Place
    from securecoap.context import Context
    from securecoap.wire.message import Message

__all__ = ["Session"]

_PATIENCE: Final = 5.0
"""Seconds that a completion may take."""


class Session:
    """See the module.

    Args:
        coap: the endpoint.
        place: where to begin.
        connection: the options of the shell.
        proxy: the forward-proxy for all requests, or ``None``.
        interactive: whether a person reads: each response is then described.

    Attributes:
        place: where the shell is.
        settings: what holds for all requests: what was written, and its value.
        has_ended: whether the shell is to be left.
    """

    SETTINGS: ClassVar = ("accept", "block-size", "content-format", "non", "timeout")

    def __init__(
        self, coap: Context, place: Place, connection: Connection, proxy: str | None, *, interactive: bool
    ) -> None:
        self.place = place
        self.settings: dict[str, tuple[str, Any]] = {}
        self.has_ended = False
        self._coap = coap
        self._proxy = proxy
        self._quiet = connection["quiet"]
        self._describes = (interactive and not self._quiet) or connection["verbose"] > 0
        self._limit = session.time_limit(connection)

    def print(self, text: str) -> None:
        """Write a line to stdout."""
        sys.stdout.buffer.write(printable(text).encode() + b"\n")
        sys.stdout.flush()

    def _setting(self, name: str, given: Any = None) -> Any:
        """What was given with a command, otherwise what was set."""
        return given or self.settings.get(name, ("", None))[1]

    def _arguments(self, body: bytes | Path, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a method of a `Context`."""
        options = message_options(
            self._setting("block-size", given.get("block_size")),
            body,
            accept=given["accept"] if given.get("accept") is not None else self._setting("accept"),
            content_format=self._content_format(body, given),
        )
        limit = self._setting("timeout")
        timeout = self._limit if limit is None else {"timeout": limit}
        return {"confirmable": not self._setting("non", given.get("non")), **options, **timeout}

    def _content_format(self, body: bytes | Path, given: dict[str, Any]) -> int | None:
        if (own := given.get("content_format")) is not None:
            return int(own)
        return self._setting("content-format") if body else None

    def request(
        self, method: str, path: str, *, body: bytes | Path = b"", output: str | None = None, **given: Any
    ) -> Coroutine[Any, Any, int]:
        """One request; the payload of its answer is followed by a newline where a program reads it."""
        where, via = destination(self.place.resolve(path), self._proxy)
        request = Request(
            method=method,
            uri=where,
            body=body,
            output=output,
            arguments={**self._arguments(body, given), **via},
            quiet=self._quiet,
            verbose=self._describes,
            end=b"\n",
        )
        return perform(self._coap, request)

    def observe(self, path: str, *, output: str | None = None, **given: Any) -> Coroutine[Any, Any, int]:
        """Print until it ends, or is cancelled."""
        where, via = destination(self.place.resolve(path), self._proxy)
        arguments = {**self._arguments(b"", given), **via}
        return watch(self._coap, where, arguments, output, verbose=self._describes, quiet=self._quiet)

    async def ping(self, path: str) -> int:
        """Ask whether the server is there."""
        limit = self._setting("timeout")
        await self._coap.ping(self.place.server(path), **(self._limit if limit is None else {"timeout": limit}))
        if self._describes:
            tell("it is there")
        return status.SUCCESS

    # What servers have.

    async def discover(self, path: str) -> int:
        """Ask a server what it has, remember it, and print it."""
        server = self.place.server(path)
        query = parse_uri(self.place.resolve(path)).query
        if self._proxy is None and is_group(server):
            return await self._discover_group(server, query)
        answer = await self._ask(server, self._arguments(b"", {"accept": None}), query)
        if status.of_code(answer.code) != status.SUCCESS:
            return out.write_answer(answer, quiet=self._quiet)
        try:
            if not query:
                self.place.learn(server, answer.payload)
        except FormatError as error:
            tell(f"{server} does not say in link format what it has: {error}")
            return status.FAILURE
        if self._describes:
            tell(out.describe(answer))
        return out.write_answer(answer, b"\n")

    async def _discover_group(self, server: str, query: tuple[str, ...]) -> int:
        arguments = self._arguments(b"", {"accept": None})
        arguments.pop("accept", None)
        return await ask_all(self._coap, _core(server, query), arguments, quiet=self._quiet)

    async def _ask(self, server: str, arguments: dict[str, Any], query: tuple[str, ...] = ()) -> Message:
        where, via = destination(_core(server, query), self._proxy)
        arguments.pop("accept", None)
        return await self._coap.get(where, **arguments, **via)

    async def learn(self, path: str) -> None:
        """Ask the server of a path what it has, once, for a completion: whatever goes wrong, nothing is known then."""
        try:
            server = self.place.server(path)
            arguments = self._arguments(b"", {}) | {"timeout": _PATIENCE}
            if not self.place.is_known(server):
                self.place.learn_nothing(server)
                answer = await self._ask(server, arguments)
                if status.of_code(answer.code) == status.SUCCESS:
                    self.place.learn(server, answer.payload)
            await self._follow(path, arguments)
        except (CoapError, UriError):
            return

    async def _follow(self, path: str, arguments: dict[str, Any], *, anew: bool = False) -> None:
        """Ask the directories that lead to a path what they have, each once; with ``anew`` the last one again."""
        arguments = {**arguments, "accept": LINK_FORMAT}
        here = self.place.resolve(path).rstrip("/")
        for directory, is_listed in self.place.directories(path):
            if is_listed and not (anew and directory.rstrip("/") == here):
                continue
            self.place.learn_directory(directory, b"")  # not again for a completion, whatever comes of it
            where, via = destination(directory, self._proxy)
            answer = await self._coap.get(where, **arguments, **via)
            if answer.code == Code.CONTENT and answer.options.content_format == LINK_FORMAT:
                self.place.learn_directory(directory, answer.payload)

    async def list_resources(self, path: str) -> int:
        """Print what is known at and below a path."""
        server = self.place.server(path)
        found = self.place.below(path) if self.place.is_known(server) else []
        if not found:
            answer = await self._ask(server, self._arguments(b"", {}))
            if status.of_code(answer.code) != status.SUCCESS:
                return out.write_answer(answer, quiet=self._quiet)
            try:
                self.place.learn(server, answer.payload)
            except FormatError as error:
                tell(f"{server} does not say in link format what it has: {error}")
                return status.FAILURE
        await self._follow(path, self._arguments(b"", {}), anew=True)
        found = self.place.below(path)
        for name, link in found:
            self.print(_line(name, dict(link.attributes)))
        if not found:
            tell(f"nothing is known below {self.place.resolve(path)}")
            return status.FAILURE
        return status.SUCCESS


def _core(server: str, query: tuple[str, ...]) -> str:
    """Where a server says what it has (RFC 6690 section 4)."""
    return str(parse_uri(server)._replace(path=(".well-known", "core"), query=query))


def _line(name: str, attributes: dict[str, str | None]) -> str:
    notes = [attributes.get("title") or attributes.get("rt") or ""]
    if "obs" in attributes:
        notes.append("observable")
    return f"{name:<24}  {', '.join(note for note in notes if note)}".rstrip()
