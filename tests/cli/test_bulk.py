"""Very many devices of a table: by one process or by several, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from securecoap.cli import bulk
from securecoap.credentials.halves import PAIRED_KINDS, Maker, Order
from securecoap.credentials.making import MakingFault
from tests.cli.test_provisioning import claims_of

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 60
"""How long something may take that is to happen at once."""


@pytest.fixture
def several(monkeypatch):
    """Even few devices are worth several processes."""
    monkeypatch.setattr(bulk, "_PART", 3)
    monkeypatch.setattr(bulk, "_WORTH_A_PROCESS", 2)
    monkeypatch.setattr(bulk, "_processors", lambda: 2)


@pytest.fixture
def alone(monkeypatch):
    """Any other process is an error."""
    monkeypatch.setattr(bulk, "ProcessPoolExecutor", None)


class Made(NamedTuple):
    """What a run has left."""

    outcome: object
    server: Path
    devices: Path

    @property
    def content(self):
        return json.loads(self.server.read_text())


@pytest.fixture
def pair_all(run, tmp_path):
    def make(kind, names, where="made", **more):
        table, place = tmp_path / "devices.csv", tmp_path / where
        place.mkdir(exist_ok=True)
        table.write_text("label,claims\n" + "".join(f"{name},{more.get('claims', '')}\n" for name in names))
        outcome = run(
            "credentials", "pair", kind, "--csv", table, "--server", place / "server.json",
            "--device-dir", place / "devices", "--uri", "gateway.example",
        )  # fmt: skip
        return Made(outcome, place / "server.json", place / "devices")

    return make


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def shape(value):
    """What is left of JSON without what is random in it."""
    if isinstance(value, dict):
        return {name: "…" if name in ("hex", "base64") else shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "PEM" if isinstance(value, str) and value.startswith("-----BEGIN") else value


def secrets_of(value):
    """The keys of a device's file that nobody else may have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("psk", "secret", "private-key", "certificate", "own-cred"):
                yield json.dumps(inner)
            elif name not in ("peer-cred", "peer-keys", "ca"):
                yield from secrets_of(inner)


@pytest.mark.parametrize("kind", PAIRED_KINDS)
def test_several_processes_make_what_one_makes(kind, pair_all, monkeypatch, several):
    names = [f"d{number}" for number in range(10)]
    by_several = pair_all(kind, names, "several", claims="reader writer")
    monkeypatch.setattr(bulk, "_processors", lambda: 1)
    monkeypatch.setattr(bulk, "ProcessPoolExecutor", None)
    by_one = pair_all(kind, names, "one", claims="reader writer")
    assert by_several.outcome.status == by_one.outcome.status == 0, by_several.outcome.err
    assert shape(by_several.content) == shape(by_one.content)
    assert list(by_several.content) == list(by_one.content)
    assert names_in(by_several.devices) == names_in(by_one.devices)
    seen: list[str] = []
    for made in (by_several, by_one):
        for name in names:
            device = made.devices / f"{name}.json"
            assert device.stat().st_mode & 0o777 == 0o600
            assert f":{name}" in claims_of((made.server, device))
            one = json.loads(device.read_text())
            assert shape(one) == shape(json.loads((by_one.devices / f"{name}.json").read_text()))
            seen += secrets_of(one)
    assert len(seen) >= 2 * len(names)
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_devices_need_no_other_process(count, pair_all, alone):
    assert pair_all("dtls", [f"d{number}" for number in range(count)]).outcome.status == 0


def test_one_processor_is_enough(pair_all, several, alone, monkeypatch):
    monkeypatch.setattr(bulk, "_processors", lambda: 1)
    assert pair_all("oscore", [f"d{number}" for number in range(20)]).outcome.status == 0


@pytest.mark.parametrize("is_parallel", [False, True])
def test_a_device_that_cannot_be_made_is_named_by_its_line(is_parallel, pair_all, several, monkeypatch):
    if not is_parallel:
        monkeypatch.setattr(bulk, "_processors", lambda: 1)
    made = pair_all("dtls-x509", [f"d{number}" for number in range(7)])
    before = made.server.read_bytes(), names_in(made.devices), names_in(made.server.parent)
    names = [f"e{number}" for number in range(12)]
    for wrong, says in [("no name", ".csv:8: no name: cannot be a name"), ("d3", ".csv:8: :d3 is there already")]:
        names[6] = wrong
        again = pair_all("dtls-x509", names)
        assert again.outcome.status == 2
        assert says in again.outcome.err
        after = made.server.read_bytes(), names_in(made.devices), names_in(made.server.parent)
        assert after == before


def test_no_file_is_replaced(pair_all, several, tmp_path):
    devices = tmp_path / "made" / "devices"
    devices.mkdir(parents=True)
    (devices / "d4.json").write_text("somebody's")
    made = pair_all("dtls", [f"d{number}" for number in range(9)])
    assert made.outcome.status == 2
    assert ".csv:6: " in made.outcome.err
    assert "d4.json is there already" in made.outcome.err
    assert (devices / "d4.json").read_text() == "somebody's"
    assert names_in(devices) == ["d4.json"]
    assert not made.server.exists()


def test_what_was_made_is_taken_back_if_the_server_s_file_cannot_be_written(pair_all, several, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    made = pair_all("dtls", [f"d{number}" for number in range(9)])
    assert made.outcome.status == 2
    assert names_in(made.devices) == []
    assert names_in(made.server.parent) == ["devices"]


class _Doomed(Maker):
    """Its process is killed when it makes one of the devices."""

    def halves(self, order):
        if order.name == "d5":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().halves(order)


def test_a_process_that_is_killed_leaves_nothing(several, tmp_path):
    jobs = [bulk.Job(f"t.csv:{n}", Order(f"d{n}", f"d{n}"), f"{tmp_path}/d{n}.json") for n in range(20)]
    with pytest.raises(MakingFault, match="killed"), bulk.devices_made(_Doomed("dtls"), "*", jobs, tmp_path):
        pytest.fail("there is nothing to go on with")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("is_parallel", [False, True])
def test_an_interrupt_while_files_are_noted_leaves_none(several, tmp_path, monkeypatch, is_parallel):
    """One that comes while others end, or just when a part is written."""

    def interrupted(function):
        def call(*args, **named):
            result = function(*args, **named)
            signal.raise_signal(signal.SIGINT)
            return result

        return call

    if is_parallel:
        monkeypatch.setattr(bulk.ProcessPoolExecutor, "shutdown", interrupted(bulk.ProcessPoolExecutor.shutdown))
    else:
        monkeypatch.setattr(bulk, "_processors", lambda: 1)
        monkeypatch.setattr(bulk, "write_new", interrupted(bulk.write_new))
    jobs = [bulk.Job(f"t.csv:{n}", Order(f"d{n}", f"d{n}"), f"{tmp_path}/d{n}.json") for n in range(7)]
    with pytest.raises(KeyboardInterrupt), bulk.devices_made(Maker("dtls"), "*", jobs, tmp_path):
        pytest.fail("there is nothing to go on with")
    assert names_in(tmp_path) == []


@pytest.fixture
def under_way(tmp_path):
    """A command that has written the files of some devices, and is to write those of many more."""
    table, server, devices = tmp_path / "t.csv", tmp_path / "s.json", tmp_path / "devices"
    table.write_text("label\n" + "".join(f"d{number}\n" for number in range(60_000)))
    server.write_text('{":old": {"dtls": {"client-identity": {"ascii": "x"}, "psk": {"hex": "' + "00" * 16 + '"}}}}')
    command = [
        sys.executable, "-m", "securecoap", "credentials", "pair", "dtls-x509", "--csv", table,
        "--server", server, "--device-dir", devices, "--uri", "gateway.example",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    try:
        until(lambda: process.poll() is not None or (devices.exists() and any(devices.iterdir())))
        yield process, server, devices
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(is_so):
    """Wait for another process."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_anybody_left(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_and_leaves_what_was_there(number, under_way):
    process, server, devices = under_way
    before = server.read_bytes()
    os.killpg(process.pid, number)  # as a terminal does: to all of its processes
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err.strip()) == (128 + number, b"")
    assert server.read_bytes() == before
    assert names_in(devices) == []
    assert names_in(server.parent) == ["devices", "s.json", "t.csv"]
    until(lambda: not is_anybody_left(process.pid))


def test_nobody_goes_on_for_a_command_that_was_killed(under_way):
    process, server, _ = under_way
    before = server.read_bytes()
    process.kill()
    process.communicate(timeout=SECONDS)  # the end of the pipe that all of them have
    until(lambda: not is_anybody_left(process.pid))
    assert server.read_bytes() == before
