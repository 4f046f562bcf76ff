"""``securecoap serve``: a site on the network until a signal ends it.

Whatever is wrong with what it was told is said before anything is bound. Knows the public API only.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from securecoap.cli import logs, session, status
from securecoap.cli.advice import about_start
from securecoap.cli.options import ENGINE, KEYLOG, STATE, apply, credentials_option
from securecoap.cli.reloading import reloading, require_watching
from securecoap.cli.systemd import Notifier, take_sockets
from securecoap.cli.text import tell
from securecoap.collection import set_aside
from securecoap.config import Limits, TransportParameters
from securecoap.errors import CoapError, ConfigurationError, Unreachable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from securecoap.cli.configuration import Configuration
    from securecoap.cli.fleet import Fleet
    from securecoap.cli.metrics import Metrics
    from securecoap.context import Context
    from securecoap.credentials import CredentialsMap
    from securecoap.resources import Site
    from securecoap.workers.seat import Seat

__all__ = ["Place", "commands", "prepare"]

_LISTS: Final = ("--bind", "--name")


class Settings(TypedDict):
    """The options of ``serve``."""

    site: str | None
    demo: bool
    files: tuple[str, ...]
    bind: tuple[str, ...]
    credentials: tuple[Path, ...]
    state: Path | None
    name: tuple[str, ...]
    strict_state: bool
    insecure: bool
    log_format: str
    keylog: Path | None
    dtls_engine: str
    config: Configuration | None
    check_config: bool
    reload: bool
    metrics: str | None
    workers: int
    drain_time: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a process has from its parent that serves together with others.

    Attributes:
        credentials: in force.
        sockets: bound, by URI.
        seat: among the others.
    """

    credentials: CredentialsMap | None
    sockets: Mapping[str, socket.socket]
    seat: Seat


class _Command(click.Command):
    """``--bind URI…`` and ``--name HOST…``: several values may follow one option, or each its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args))


def _spread(arguments: list[str]) -> list[str]:
    """Write the option in front of each of its values; MODULE:SITE is neither a URI nor a host name."""
    result: list[str] = []
    option = None
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument in _LISTS and position < len(arguments):
            option = argument
            result += [option, arguments[position]]
            position += 1
        elif (option == "--bind" and "://" in argument) or (
            option == "--name" and argument[:1] != "-" and ":" not in argument
        ):
            result += [option, argument]
        else:
            option = None
            result.append(argument)
    return result


def _configure(ctx: click.Context, _: click.Parameter, path: Path | None) -> Configuration | None:
    """What the file says becomes the defaults of the other options."""
    if path is None:
        return None
    from securecoap.cli.configuration import read_configuration  # pydantic takes longer to load than all the rest

    try:
        configuration = read_configuration(path)
    except ConfigurationError as error:
        for fault in getattr(error, "faults", [str(error)]):
            tell(fault)
        ctx.exit(status.USAGE)
    ctx.default_map = configuration.defaults
    return configuration


@click.command(cls=_Command)
@click.argument("site", metavar="[MODULE:SITE]", required=False)
@click.option("--demo", is_flag=True, help="Serve the demo site.")
@click.option(
    "--files",
    metavar="DIR[=/PATH]",
    multiple=True,
    help="Serve the files below DIR, at /PATH/; several times for several directories.  [default path: /]",
)
@click.option(
    "--bind",
    metavar="URI...",
    multiple=True,
    help="Address to bind, such as coap://[::1]:5683; port 0 takes any.  "
    "[default: coap://[::] and coaps://[::] with credentials, coap://[::1] without]",
)
@apply((credentials_option("Who may do what, with which keys (JSON)."), STATE))
@click.option("--name", metavar="HOST...", multiple=True, help="Host name that this server answers to.")
@click.option("--strict-state", is_flag=True, help="Refuse to start with a state directory that does not exist yet.")
@click.option("--insecure", is_flag=True, help="Without credentials: be open to other machines, too.")
@click.option(
    "--log-format",
    metavar="console|json",
    type=click.Choice(logs.FORMATS),
    default="console",
    show_default=True,
    help="How log records are written to stderr.",
)
@apply((KEYLOG, ENGINE))
@click.option("--reload", is_flag=True, help="Read the credentials again when the files change, not at SIGHUP only.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus, /health and /ready over HTTP.")
@click.option(
    "--drain-time",
    metavar="SECONDS",
    type=click.IntRange(0, 3600),
    default=10,
    show_default=True,
    help="How long requests under way may take when a signal ends the server; a second signal ends it at once.",
)
@click.option("--check-config", is_flag=True, help="Check everything, and do not start.")
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that serve the same ports together (Linux).",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    callback=_configure,
    help="Options, limits and timing in TOML; what stands on the command line goes before it.",
)
def serve(**settings: Unpack[Settings]) -> int:
    """Serve a site: a Site object of a module, the demo site, or the files of a directory.

    Says "listening URI" for each address when all are bound. SIGTERM and Ctrl-C end it, with exit status 0.
    """
    if [settings["demo"], settings["site"] is not None, bool(settings["files"])].count(True) != 1:
        raise click.UsageError("what is to be served? Say MODULE:SITE, --demo or --files, one of them")
    logs.configure(logging.INFO, settings["log_format"])
    voice = _Voice(settings["log_format"])
    try:
        if settings["workers"] > 1:
            from securecoap.cli.fleet import require_shareable  # all of the library

            require_shareable(settings, take_sockets())
        together = settings["workers"] > 1 and not settings["check_config"]
        context, metrics, _ = (None, None, None) if together else prepare(settings)
        if settings["check_config"]:
            voice.say("the configuration is good")
            return status.SUCCESS
        with _without_hangup():
            work = _serve_together(voice, settings) if context is None else _serve(context, metrics, voice, settings)
            asyncio.run(session.interruptible(work))
    except (CoapError, OSError) as error:
        voice.complain(error)
        return status.USAGE
    return status.SUCCESS


def _credentials(settings: Settings) -> CredentialsMap | None:
    credentials = session.credentials(settings["credentials"], role="server")
    if settings["insecure"] and credentials is not None:
        logs.LOGGER.warning("--insecure changes nothing where there are credentials: they say who may do what")
    if settings["reload"]:
        require_watching()
    return credentials


def prepare(settings: Settings, place: Place | None = None) -> tuple[Context, Metrics | None, Site]:
    """Everything that can be found out before anything is bound.

    Args:
        settings: of the command line.
        place: of this process among several.

    Raises:
        CoapError: it cannot work.
    """
    credentials = _credentials(settings) if place is None else place.credentials
    site = _site(settings)
    # When it is used, not when the command line is parsed: it is all of the library.
    from securecoap.binds import not_bound
    from securecoap.context import Context

    config = settings["config"]
    sockets = take_sockets() if place is None else place.sockets
    metrics = None
    if settings["metrics"] is not None:
        metrics = _metrics(settings["metrics"])
    context = Context.server(
        site,
        limits=Limits() if config is None else config.limits,
        parameters=TransportParameters() if config is None else config.parameters,
        bind=(*sockets, *not_bound(settings["bind"], sockets)) or None,
        sockets=sockets,
        seat=None if place is None else place.seat,
        credentials=credentials,
        state=settings["state"],
        names=settings["name"],
        engine=settings["dtls_engine"],
        strict_state=settings["strict_state"],
        insecure=settings["insecure"],
        keylog=settings["keylog"],
        measure=None if metrics is None else metrics.measure,
    )
    if metrics is not None:
        metrics.watch(context.statistics)
    return context, metrics, site


def _metrics(where: str) -> Metrics:
    try:
        from securecoap.cli.metrics import Metrics, address_of  # only where it is asked for: an extra
    except ImportError:
        raise ConfigurationError("--metrics needs prometheus-client: pip install 'securecoap[metrics]'") from None
    address_of(where)  # what it says now, --check-config says too
    return Metrics()


def _site(settings: Settings) -> Site:
    if settings["demo"]:
        from securecoap.cli.demo import demo_site

        return demo_site()
    from securecoap.cli.sites import SiteFault, file_site, load_site

    config = settings["config"]
    try:
        if settings["site"] is None:
            return file_site(settings["files"], Limits() if config is None else config.limits)
        return load_site(settings["site"])
    except SiteFault as fault:
        raise ConfigurationError(str(fault)) from fault


async def _serve_together(voice: _Voice, settings: Settings) -> int:
    from securecoap.cli.fleet import Fleet  # as above

    fleet = Fleet(settings, _credentials(settings))
    metrics = None
    if settings["metrics"] is not None:
        metrics = _metrics(settings["metrics"])
        metrics.gather(fleet)
    return await _serve(fleet, metrics, voice, settings)


async def _serve(serving: Context | Fleet, metrics: Metrics | None, voice: _Voice, settings: Settings) -> int:
    notifier = Notifier()
    is_draining = False
    async with AsyncExitStack() as before, serving as server, AsyncExitStack() as stack:
        if metrics is not None:
            from securecoap.cli.metrics import serving_metrics  # loaded already

            is_ready = lambda: bool(server.endpoints) and not is_draining  # noqa: E731  # it has one use
            where = await before.enter_async_context(serving_metrics(metrics, settings["metrics"] or "", is_ready))
            voice.say(f"metrics {where}", uri=where)
        watchdog = asyncio.create_task(notifier.feed_watchdog())
        stack.callback(watchdog.cancel)
        told = (lambda _: None) if metrics is None else metrics.reloaded
        await stack.enter_async_context(
            reloading(server, settings["credentials"], notifier, told, watches=settings["reload"])
        )
        for uri in server.endpoints:
            voice.say(f"listening {uri}", uri=uri)
        set_aside()
        notifier.ready("serving")
        try:
            await server.serve_forever()
        except asyncio.CancelledError:  # the signal
            is_draining = True
            notifier.stopping()
            await server.drain(settings["drain_time"])
            raise
    return status.SUCCESS


@contextmanager
def _without_hangup() -> Iterator[None]:
    """SIGHUP asks a server to reload; before it serves and while it ends it means nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGHUP, before)


class _Voice:
    """What ``serve`` itself has to say: plain lines that other programs may wait for, or log records in JSON."""

    def __init__(self, log_format: str) -> None:
        self._is_json = log_format == "json"

    def say(self, text: str, **fields: str) -> None:
        if self._is_json:
            logs.LOGGER.info("%s", text, extra={"fields": fields})
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # this is the command line

    def complain(self, error: Exception) -> None:
        advice = about_start(error)
        said = error.strerror if isinstance(error, Unreachable) else str(error)  # without its number
        for text in getattr(error, "faults", None) or [said or type(error).__name__]:
            if self._is_json:
                logs.LOGGER.error("%s", text, extra={"fields": {} if advice is None else {"advice": advice}})
            else:
                tell(text if advice is None else f"{text}\n{advice}")


commands: Final = {"serve": serve}
