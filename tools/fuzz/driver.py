"""tools/fuzz_dtls: DTLS endpoints under mutated datagrams and half-open handshakes, in every mode and state.

    tools/fuzz_dtls                                     1,000,000 datagrams and 100,000 handshakes, a new seed
    tools/fuzz_dtls --datagrams 20000 --half-open 0     fewer
    tools/fuzz_dtls --seed 7                            what was found with this seed, again

No exception may come out of an endpoint, no table may grow beyond its bound, nobody may get in who has proved nothing,
and clients that keep to the protocol are served meanwhile. What does not hold is printed with the seed of its arena,
which alone repeats it: --arena SEED. (Ephemeral keys and signatures are drawn anew each time.)
"""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import sys
import time
import warnings

from support.environment import ROOT, in_environment, make_environment

DATAGRAMS_EACH = 60
LIES_EACH = 3
SEALED_EACH = 6


def main() -> int:
    """Run, and print seed and counts as the last line."""
    parser = argparse.ArgumentParser(
        prog="tools/fuzz_dtls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datagrams", type=int, default=1_000_000, help="mutated ones (default: %(default)s)")
    parser.add_argument("--half-open", type=int, default=100_000, help="handshakes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--arena", type=int, default=None, help="one arena's seed, alone")
    options = parser.parse_args()
    if not in_environment("securecoap", "cryptography"):
        python = make_environment(ROOT / ".venv", ["-e", ".[all,dev]"])
        os.environ["PYTHONPATH"] = str(ROOT / "tools")
        os.execv(python, [python, "-m", "fuzz.driver", *sys.argv[1:]])
    from fuzz.dtls import Tally
    from fuzz.half_open import half_open

    warnings.simplefilter("error")  # strangers do not decide what stands on standard error
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    tally = Tally()
    began = time.monotonic()
    if options.arena is not None:
        fight(options.arena, tally)
        print(tally.line())
        return 0
    number = 0
    while tally["mutated datagrams"] < options.datagrams:
        arena = seed * 1_000_003 + number
        try:
            fight(arena, tally)
        except BaseException:
            print(f"failed: --arena {arena}", flush=True)
            raise
        number += 1
        if number % 200 == 0:
            print(f"{tally.line()} ({time.monotonic() - began:.0f} s)", flush=True)
    if options.half_open:
        half_open(seed, options.half_open, tally, lambda text: print(text, flush=True))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    spent = time.monotonic() - began
    print(f"seed {seed}: {tally.line()}; no failure; {memory} MiB at most, {spent:.0f} s")
    return 0


def fight(seed: int, tally: object) -> None:
    """One arena: every mode, and each kind of hostility."""
    from fuzz.dtls import MODES, Arena

    arena = Arena(seed, tally)  # type: ignore[arg-type]  # a Tally: imported only in the environment
    for mode in MODES:
        arena.mutate(mode, DATAGRAMS_EACH)
        for _ in range(LIES_EACH):
            arena.lie(mode)
        arena.seal(mode, SEALED_EACH)


if __name__ == "__main__":
    sys.exit(main())
