"""Log records on stderr: for a person, or one JSON object a line for a machine.

Records come from ``logging``; this only writes them. Text in them may come from a peer, and is escaped.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

from securecoap.cli.text import printable

__all__ = ["ERROR", "FORMATS", "INFO", "LOGGER", "WARNING", "configure", "event"]

INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR
FORMATS: Final = ("console", "json")
LOGGER: Final = logging.getLogger("securecoap.cli")

_EXTRA: Final = "fields"
"""Attribute of a record (``extra={"fields": {...}}``) with further members of its JSON object."""


_FAULTS: Final = "faults"
"""The one of these members that the text does not say, and a person is to see: a list of texts."""


class _Console(logging.Formatter):
    """``12:00:00 WARNING securecoap.core: text``; faults, or a traceback, follow on lines of their own.

    Those are indented: an exception's text may be a peer's, and no line of it may look like a record.
    """

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = "" if worker is None else f" worker {worker}"

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{time}{self._worker} {record.levelname} {record.name}: {printable(record.getMessage(), lines=False)}"
        for fault in getattr(record, _EXTRA, {}).get(_FAULTS, ()):
            line += f"\n  {printable(fault, lines=False)}"
        if record.exc_info:
            line += printable("\n" + self.formatException(record.exc_info)).replace("\n", "\n  ")
        return line


class _Json(logging.Formatter):
    """One object a line: time (RFC 3339), level, logger, message, what the record adds, a traceback if it has one."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._worker,
            **getattr(record, _EXTRA, {}),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, default=str)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment: above the bar of a transfer, while there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def event(level: int, name: str, text: str, *, trace: Exception | None = None, **members: object) -> None:
    """Write an event of those that ``docs/operating.md`` lists; in JSON it has its name and members."""
    LOGGER.log(level, "%s", text, extra={_EXTRA: {"event": name, **members}}, exc_info=trace)


def configure(level: int, kind: str = "console", worker: int | None = None) -> None:
    """Write records of this level and above to stderr.

    Args:
        level: of ``logging``; records of other libraries are written from WARNING on.
        kind: one of `FORMATS`.
        worker: the number of this process among several that serve, which each record then has.
    """
    handler = _Stderr()
    handler.setFormatter(_Json(worker) if kind == "json" else _Console(worker))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("securecoap").setLevel(level)
    logging.captureWarnings(capture=True)
