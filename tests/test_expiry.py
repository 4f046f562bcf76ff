"""Credentials that end: who is told when, and what the use of one that is over is called."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from securecoap.credentials import CredentialsMap
from securecoap.credentials.endings import REVOKED, endings_of
from securecoap.events import CREDENTIAL_ENDS, CREDENTIAL_EXPIRED, Events
from securecoap.expiry import ExpiryWatch, date_of
from tests.simulation.clock import virtual

if TYPE_CHECKING:
    import pytest

NOW = 1_800_000_000.0
DAY = 86_400.0


def psk(name: str, **beside: object) -> dict[str, object]:
    return {"dtls": {"client-identity": {"ascii": name}, "psk": {"hex": f"{ord(name[0]):02x}" * 16}}, **beside}


def day(number: float) -> str:
    return date_of(NOW + number * DAY).replace("+00:00", "Z")


def credentials(**ends: float | None) -> CredentialsMap:
    return CredentialsMap.from_dict(
        {f":{name}": psk(name, **({} if end is None else {"not-after": day(end)})) for name, end in ends.items()}
    )


def watch(seen: Events) -> tuple[ExpiryWatch, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return ExpiryWatch(seen, lambda: NOW + loop.time() - began), began


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "securecoap.events"]


def test_the_first_to_end_comes_first_and_of_several_keys_the_last_counts():
    """What was revoked is not to be renewed."""
    found = CredentialsMap.from_dict(
        {
            ":b": psk("b", **{"not-after": day(9)}),
            ":a": {"any-of": [psk("a", **{"not-after": day(1)}), psk("x", **{"not-after": day(20)})]},
            ":c": {"any-of": [psk("c", **{"not-after": day(1)}), psk("y")]},
            ":d": psk("d"),
            ":revoked": psk("e", **{"not-after": REVOKED}),
        }
    )
    assert found.endings == ((NOW + 9 * DAY, ":b"), (NOW + 20 * DAY, ":a"))
    assert found.endings is found.endings  # it is asked for at each scrape
    assert endings_of([]) == ()


@virtual
async def test_fourteen_days_before_and_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    seen = Events(asyncio.get_running_loop().time)
    one, _ = watch(seen)
    one.attach(asyncio.get_running_loop())
    one.use(credentials(a=15, b=None))
    assert texts(caplog) == []
    await asyncio.sleep(DAY + 3700)
    assert texts(caplog) == [f"credential-ends (soon): :a ends on {date_of(NOW + 15 * DAY)}"]
    await asyncio.sleep(13 * DAY)
    assert len(texts(caplog)) == 14
    await asyncio.sleep(DAY)
    assert "(over): :a has ended" in texts(caplog)[-1]
    one.use(credentials(a=400, b=None))
    told = len(texts(caplog))
    await asyncio.sleep(30 * DAY)
    assert len(texts(caplog)) == told
    assert set(seen.counts) == {(CREDENTIAL_ENDS, "soon"), (CREDENTIAL_ENDS, "over")}
    one.close()


@virtual
async def test_a_reload_does_not_say_it_again(caplog: pytest.LogCaptureFixture) -> None:
    one, _ = watch(Events(asyncio.get_running_loop().time))
    one.attach(asyncio.get_running_loop())
    for _ in range(5):
        one.use(credentials(a=3))
    assert len(texts(caplog)) == 1
    one.use(credentials(a=3, c=4))
    assert len(texts(caplog)) == 2
    one.close()
    await asyncio.sleep(30 * DAY)
    assert len(texts(caplog)) == 2


@virtual
async def test_without_ends_there_is_no_timer() -> None:
    one, _ = watch(Events(asyncio.get_running_loop().time))
    one.attach(asyncio.get_running_loop())
    one.use(credentials(a=None))
    assert one._timer is None
    one.use(credentials(a=100))
    assert one._timer is not None
    one.use(credentials(b=None))
    assert one._timer is None


@virtual
async def test_very_many_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    seen = Events(asyncio.get_running_loop().time)
    one, _ = watch(seen)
    one.attach(asyncio.get_running_loop())
    one.use(credentials(**{f"{chr(97 + number % 26)}{number}": 3 for number in range(300)}))
    assert len(texts(caplog)) == 10
    assert seen.counts == {(CREDENTIAL_ENDS, "soon"): 300}
    one.close()


@virtual
async def test_the_use_of_what_is_not_valid(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen = Events(asyncio.get_running_loop().time)
    one, _ = watch(seen)
    found = CredentialsMap.from_dict(
        {
            ":old": psk("old", **{"not-after": day(-1)}),
            ":new": psk("new", **{"not-before": day(1)}),
            ":now": psk("now"),
        }
    )
    assert found.find_psk(b"old", NOW) is None
    for name in (b"old", b"new", b"now", b"nobody"):
        one.report_use(found.find_psk(name, None))
    assert texts(caplog) == [
        f"credential-expired (dtls): :old has ended on {date_of(NOW - DAY)}",
        f"credential-expired (dtls): :new begins on {date_of(NOW + DAY)} only",
    ]
    assert seen.counts == {(CREDENTIAL_EXPIRED, "dtls"): 2}


def test_dates():
    assert date_of(0) == "1970-01-01T00:00:00+00:00"
    assert "no calendar" in date_of(1e18)
