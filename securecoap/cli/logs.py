"""Log records on stderr: for a person, or one JSON object a line for a machine.

Records come from ``logging``; this only writes them. Text in them may come from a peer, and is escaped.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from securecoap.cli.text import printable

__all__ = ["ERROR", "FORMATS", "INFO", "LOGGER", "WARNING", "configure", "event"]

INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR
FORMATS: Final = ("console", "json")
LOGGER: Final = logging.getLogger("securecoap.cli")

_EXTRA: Final = "fields"
"""Attribute of a record (``extra={"fields": {...}}``) with further members of its JSON object."""


class _Console(logging.Formatter):
    """``12:00:00 WARNING securecoap.core: text``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{time} {record.levelname} {record.name}: {printable(record.getMessage(), lines=False)}"
        if record.exc_info:
            line += "\n" + printable(self.formatException(record.exc_info))
        return line


class _Json(logging.Formatter):
    """One object a line: time (RFC 3339), level, logger, message, what the record adds, a traceback if it has one."""

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _EXTRA, {}),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members, default=str)


def event(level: int, name: str, text: str, **members: object) -> None:
    """Write an event of those that ``docs/operating.md`` lists; in JSON it has its name and members."""
    LOGGER.log(level, "%s", text, extra={_EXTRA: {"event": name, **members}})


def configure(level: int, kind: str = "console") -> None:
    """Write records of this level and above to stderr.

    Args:
        level: of ``logging``; records of other libraries are written from WARNING on.
        kind: one of `FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if kind == "json" else _Console())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("securecoap").setLevel(level)
    logging.captureWarnings(capture=True)
