"""``securecoap serve --config FILE``: the options of ``serve``, limits and timing, in TOML.

What stands in the file takes the place of an option's default; the command line goes before it. The file is checked
whole: every fault is said at once, with its place, and none of its values. Knows no network.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from securecoap.config import Limits, TransportParameters
from securecoap.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Configuration", "ConfigurationFault", "read_configuration"]

_Table = TypeVar("_Table")
_PATHS: Final = ("credentials", "files", "state", "keylog")


class ConfigurationFault(ConfigurationError):
    """A configuration file is faulty.

    Attributes:
        faults: one text for each fault.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _dashed(name: str) -> str:
    return name.replace("_", "-")


_STRICT: Final = ConfigDict(extra="forbid", strict=True, alias_generator=_dashed, hide_input_in_errors=True)
_Texts = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


def _table(kind: type[Any]) -> type[BaseModel]:
    """A model with the fields of one of our frozen classes, none of them below zero."""
    types = get_type_hints(kind)
    fields: dict[str, Any] = {
        one.name: (Annotated[types[one.name], Field(ge=0)], one.default) for one in dataclasses.fields(kind)
    }
    return create_model(kind.__name__, __config__=_STRICT, **fields)


_LIMITS: Final = _table(Limits)
_PARAMETERS: Final = _table(TransportParameters)


class _File(BaseModel):
    """What may stand in the file: an option's name without the dashes in front, and two tables."""

    model_config = _STRICT

    site: str | None = None
    demo: bool = False
    files: _Texts = []
    bind: _Texts = []
    credentials: _Texts = []
    state: str | None = None
    name: _Texts = []
    strict_state: bool = False
    insecure: bool = False
    log_format: str = "console"
    reload: bool = False
    metrics: str | None = None
    keylog: str | None = None
    dtls_engine: str = "python"
    workers: int = 1
    drain_time: int = 10
    limits: dict[str, Any] = {}
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class Configuration:
    """What a file says.

    Attributes:
        defaults: values of options by the names of their parameters, as on a command line; paths are absolute.
        limits: table ``[limits]``.
        parameters: table ``[parameters]``.
    """

    defaults: dict[str, Any]
    limits: Limits
    parameters: TransportParameters


def read_configuration(path: Path) -> Configuration:
    """Read and check a file; paths in it are relative to its directory.

    Raises:
        ConfigurationFault: it cannot be read, is no TOML, or is faulty.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationFault([f"{path}: {error.strerror or error}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationFault([f"{path}: {error}"]) from None
    faults: list[str] = []
    limits = _checked(_LIMITS, Limits, content.get("limits", {}), "limits.", faults)
    parameters = _checked(_PARAMETERS, TransportParameters, content.get("parameters", {}), "parameters.", faults)
    try:
        given = _File.model_validate(content)
    except ValidationError as error:
        faults += _texts(error, "")
        raise ConfigurationFault([f"{path}: {fault}" for fault in faults]) from None
    if limits is None or parameters is None:
        raise ConfigurationFault([f"{path}: {fault}" for fault in faults])
    defaults = given.model_dump(exclude={"limits", "parameters"}, exclude_unset=True)
    for name in _PATHS:
        value = defaults.get(name)
        if value is not None:
            defaults[name] = [_beside(path, one) for one in value] if isinstance(value, list) else _beside(path, value)
    return Configuration(defaults, limits, parameters)


def _beside(path: Path, name: str) -> str:
    """A path that is relative to the directory of a file. A slash at its end stays, as it is part of ``DIR=/``."""
    return str(path.parent / name) + "/" * name.endswith("/")


def _checked(
    model: type[BaseModel], kind: type[_Table], content: object, place: str, faults: list[str]
) -> _Table | None:
    try:
        values = TypeAdapter(model).validate_python(content)
        return kind(**values.model_dump())
    except ValidationError as error:
        faults += _texts(error, place)
    except ValueError as error:  # numbers that do not fit together
        faults.append(f"{place.rstrip('.')}: {error}")
    return None


def _texts(error: ValidationError, place: str) -> list[str]:
    """Each fault with its place; what stood there is not said."""
    texts = []
    for one in error.errors(include_url=False, include_input=False):
        where = place + ".".join(str(part) for part in one["loc"])
        what = "there is no such setting" if one["type"] == "extra_forbidden" else one["msg"]
        texts.append(f"{where.rstrip('.')}: {what[:1].lower()}{what[1:]}")
    return texts
