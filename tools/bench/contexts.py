"""100,000 OSCORE contexts from one credentials file: how long until a server has them, and what they hold.

    tools/bench/run contexts

A process of its own, so that memory is only theirs. Times are CPU time. What ``contexts_s`` measures derives no key:
that is left for a context's first message, and measured after it as ``used_s`` and ``used_bytes``, as if each of the
devices had sent something, AEAD objects included. The cost of one HMAC-SHA-256 in the same process says
how busy the machine is: a derivation takes four, of which three share their beginning.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from securecoap.config import Limits
from securecoap.credentials import CredentialsMap, OscoreContext
from securecoap.derivation import derive
from securecoap.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 100_000


def main() -> int:
    """Measure, and print a line of JSON."""
    logging.disable(logging.WARNING)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory(prefix="securecoap-bench-") as directory:
        file = Path(directory) / "credentials.json"
        file.touch(0o600)
        with file.open("w") as out:
            json.dump({f":s{number}": {"oscore": _entry(number)} for number in range(count)}, out)
        figures = asyncio.run(_load(file, Path(directory) / "state", count))
    figures["derive_us"] = _fastest(_derive_some, 2_000) * 1e6
    figures["hmac_us"] = _fastest(_hash_some, 20_000) * 1e6
    print(json.dumps(figures))
    return 0


def _entry(number: int) -> dict[str, dict[str, str]]:
    return {
        "secret": {"hex": f"{number + 1:032x}"},
        "salt": {"hex": "9e7ca92223786340"},
        "sender-id": {"hex": "01"},
        "recipient-id": {"hex": f"{number:08x}"},
    }


async def _load(file: Path, state: Path, count: int) -> dict[str, float]:
    before, started = _resident(), time.process_time()
    keyring = Keyring(
        str(file), state=state, strict_state=False, names=(), bound=["127.0.0.1"], limits=Limits(), wait=1.0
    )
    parsed, read = _resident(), time.process_time()
    keyring.attach(asyncio.get_running_loop())
    await keyring.open_all()
    opened, done = _resident(), time.process_time()
    for number in range(count):
        (context,) = keyring.find(bytes.fromhex(f"{number:08x}"), None)
        assert context.aead_sender is not context.aead_recipient  # both are made when they are first used
    used, derived = _resident(), time.process_time()
    await keyring.close()
    return {
        "count": count,
        "credentials_s": read - started,
        "contexts_s": done - read,
        "credentials_bytes": (parsed - before) / count,
        "contexts_bytes": (opened - parsed) / count,
        "used_s": derived - done,
        "used_bytes": (used - opened) / count,
        "close_s": time.process_time() - derived,
    }


def _derive_some() -> None:
    for credential in _some:
        context = derive(credential)
        assert context.aead_sender is not context.aead_recipient  # both are made when they are first used


def _hash_some() -> None:
    for _ in range(20_000):
        hmac.digest(b"0123456789abcdef", b"x", "sha256")


_map = CredentialsMap.from_dict({f":s{number}": {"oscore": _entry(number)} for number in range(2_000)})
_some = [one for one in _map.credentials() if isinstance(one, OscoreContext)]


def _fastest(run: Callable[[], object], count: int) -> float:
    times = []
    gc.disable()
    for _ in range(7):
        started = time.process_time()
        run()
        times.append((time.process_time() - started) / count)
    gc.enable()
    return min(times)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main())
