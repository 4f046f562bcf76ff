"""Finding the site that ``serve`` is to serve: ``MODULE:SITE`` on ``PYTHONPATH`` or in the working directory, or files.

Every way in which that can fail is one `SiteFault`, whose text says what to do about it.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final

from securecoap.errors import ConfigurationError
from securecoap.resources import Site
from securecoap.resources.files import Files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from securecoap.config import Limits

__all__ = ["SiteFault", "file_site", "load_site"]

_LOADER: Final = ("<frozen importlib", "importlib" + os.sep)


class SiteFault(Exception):
    """There is no such site."""


def load_site(name: str) -> Site:
    """The `Site` that ``MODULE:SITE`` names; SITE may have dots.

    Raises:
        SiteFault: no such module, it cannot be imported, or it has no such site.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise SiteFault(f"{name!r} is not MODULE:SITE, such as 'house.sensors:site'")
    here = os.getcwd()  # noqa: PTH109  # sys.path has texts
    if not sys.flags.safe_path and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: object = _import(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise SiteFault(f"{name}: there is no {part} in {_file_of(module_name)}{_sites(found)}") from None
    if not isinstance(found, Site):
        kind = type(found).__name__
        hint = "; a class: make a Site object of it" if isinstance(found, type) else ""
        hint = hint or ("; to serve what a function makes, assign it to a name" if callable(found) else "")
        raise SiteFault(f"{name} is no Site, but of type {kind}{hint}")
    return found


def file_site(directories: Iterable[str], limits: Limits) -> Site:
    """The `Site` of ``--files DIR`` and ``--files DIR=/PATH``.

    Args:
        directories: values of the option. What stands behind the last ``=/`` is a path; without one it is ``/``.
        limits: of the server.

    Raises:
        SiteFault: no such directory, or two at one path.
    """
    site = Site()
    for value in directories:
        directory, separator, path = value.rpartition("=/")
        if not separator:
            directory, path = value, ""
        segments = tuple(path.rstrip("/").split("/")) if path.strip("/") else ()
        if "" in segments:
            raise SiteFault(f"--files {value}: the path has an empty segment")
        try:
            site.add(segments, Files(directory, limits=limits))
        except (ConfigurationError, ValueError) as error:
            raise SiteFault(f"--files {value}: {error}") from None
    return site


def _import(name: str) -> object:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SiteFault(f"there is no module {error.name}, neither on PYTHONPATH nor in {os.getcwd()}") from None  # noqa: PTH109  # for a person
        raise SiteFault(_broken(name, error)) from error
    except Exception as error:
        raise SiteFault(_broken(name, error)) from error


def _broken(name: str, error: Exception) -> str:
    """What is wrong in the module, and where."""
    text = f"module {name} cannot be imported: {type(error).__name__}: {error}"
    place = _place(error.__traceback__)
    return f"{text}\n{place}" if place else text


def _place(trace: TracebackType | None) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith(_LOADER[0]) and _LOADER[1] not in frame.filename and frame.filename != __file__
    ]
    return "\n".join(f"{frame.filename}:{frame.lineno}: {frame.line or ''}".rstrip() for frame in frames[-3:])


def _file_of(name: str) -> str:
    return getattr(sys.modules[name], "__file__", None) or name


def _sites(module: object) -> str:
    names = (
        [name for name, value in vars(module).items() if isinstance(value, Site)] if hasattr(module, "__dict__") else []
    )
    return f"; it has {', '.join(names)}" if names else ""
