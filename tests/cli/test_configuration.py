"""``serve --config``: what the file may say, its faults, and what goes before what."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from securecoap.cli.configuration import ConfigurationFault, _File, read_configuration
from securecoap.cli.serve import serve
from securecoap.config import Limits, TransportParameters
from tests.cli.conftest import SAMPLES

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "serve.toml"
        path.write_text(text)
        return path

    return write


def test_what_a_file_may_say(file):
    path = file(
        """
        site = "house.sensors:site"
        bind = ["coap://[::]", "coaps://[::]"]
        credentials = "server.json"
        state = "/var/lib/securecoap"
        name = ["gateway.example"]
        strict-state = true
        log-format = "json"
        [limits]
        peers = 500
        amplification-factor = 2.5
        [parameters]
        ack-timeout = 3.0
        """
    )
    configuration = read_configuration(path)
    assert configuration.defaults == {
        "site": "house.sensors:site",
        "bind": ["coap://[::]", "coaps://[::]"],
        "credentials": [str(path.parent / "server.json")],
        "state": "/var/lib/securecoap",
        "name": ["gateway.example"],
        "strict_state": True,
        "log_format": "json",
    }
    assert configuration.limits == Limits(peers=500, amplification_factor=2.5)
    assert configuration.parameters == TransportParameters(ack_timeout=3.0)


def test_an_empty_file_changes_nothing(file):
    configuration = read_configuration(file(""))
    assert (configuration.defaults, configuration.limits, configuration.parameters) == (
        {},
        Limits(),
        TransportParameters(),
    )


@pytest.mark.parametrize("kind", [Limits, TransportParameters])
def test_every_number_has_its_place(file, kind):
    table = "limits" if kind is Limits else "parameters"
    lines = [f"{one.name.replace('_', '-')} = {one.default!r}" for one in dataclasses.fields(kind)]
    assert getattr(read_configuration(file("\n".join([f"[{table}]", *lines]))), table) == kind()


def test_every_option_has_its_place(run, file):
    """What the command line knows and the file does not, or the other way round, is a fault of ours."""
    options = {one.opts[0].lstrip("-") for one in serve.params} - {"check-config", "config"}
    assert options == set(_File.model_json_schema()["properties"]) - {"limits", "parameters"}
    values = {
        "demo": "true", "files": "[]", "bind": '["coap://127.0.0.1:0", "coaps://127.0.0.1:0"]',
        "credentials": f'"{SAMPLES / "server.json"}"', "state": '"state"', "name": '"gateway.example"',
        "strict-state": "false", "insecure": "true", "log-format": '"json"', "reload": "true",
        "metrics": '"127.0.0.1:0"', "keylog": '"keys"', "dtls-engine": '"python"', "workers": "1", "drain-time": "2",
    }  # fmt: skip
    assert set(values) == options - {"site"}
    path = file("\n".join(f"{name} = {value}" for name, value in values.items()))
    outcome = run("serve", "--config", path, "--check-config")
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize(
    "line", ["drain-time = -1", "workers = 0", 'dtls-engine = "none"', 'metrics = "127.0.0.1:x"', "drain-time = nan"]
)
def test_what_an_option_refuses_a_file_may_not_say(run, file, line):
    outcome = run("serve", "--config", file(f'demo = true\nbind = "coap://127.0.0.1:0"\n{line}\n'), "--check-config")
    assert outcome.status == 2, line
    assert outcome.err


def test_the_sample_for_deployments_is_good(run, tmp_path):
    """It names every limit and every parameter with its default, and every option."""
    text = (DEPLOY / "serve.toml").read_text()
    (tmp_path / "server.json").write_text((SAMPLES / "server.json").read_text())
    (tmp_path / "serve.toml").write_text(text.replace("/etc/securecoap/", f"{tmp_path}/"))
    outcome = run("serve", "--config", tmp_path / "serve.toml", "--check-config")
    assert outcome.status == 0, outcome.err
    everything = "\n".join(re.sub(r"^# ([a-z-]+ = )", r"\1", line) for line in text.splitlines())
    content = tomllib.loads(everything)
    assert set(content) == set(_File.model_json_schema()["properties"])
    for table, kind in (("limits", Limits), ("parameters", TransportParameters)):
        defaults = {one.name.replace("_", "-"): one.default for one in dataclasses.fields(kind)}
        assert content[table] == defaults


def test_all_faults_at_once_and_no_values(file):
    path = file(
        """
        credentials = 5
        demo = "yes"
        colour = "secret"
        strict_state = true
        [limits]
        peers = "many-secret"
        observations = -1
        nothing = 3
        [parameters]
        nstart = 1.5
        """
    )
    with pytest.raises(ConfigurationFault) as caught:
        read_configuration(path)
    faults = caught.value.faults
    for place in (
        "credentials", "demo", "colour", "strict_state", "limits.peers", "limits.observations", "limits.nothing",
        "parameters.nstart",
    ):  # fmt: skip
        assert sum(f": {place}: " in fault for fault in faults) == 1, place
    assert len(faults) == 8
    assert "secret" not in str(caught.value).replace("secretcoap", "")


def test_numbers_that_do_not_fit_together(file):
    with pytest.raises(ConfigurationFault, match=r"parameters: ack_random_factor is below 1\.0"):
        read_configuration(file("[parameters]\nack-random-factor = 0.5\n"))


@pytest.mark.parametrize("text", ["bind = [", "a = 1\na = 2", "[limits]\n[limits]"])
def test_no_toml(file, text):
    with pytest.raises(ConfigurationFault, match=r"line|overwrite|twice|Invalid value"):
        read_configuration(file(text))


def test_no_file(tmp_path):
    with pytest.raises(ConfigurationFault, match="No such file"):
        read_configuration(tmp_path / "none.toml")


# With the command.


def test_check_config(run, file):
    good = file(f'demo = true\ncredentials = "{SAMPLES / "server.json"}"\nbind = "coap://[::1]:0"\n')
    assert run("serve", "--config", good, "--check-config") == (0, b"", "the configuration is good\n")
    bad = file("demo = true\ncolour = 1\n[limits]\npeers = false\n")
    outcome = run("serve", "--config", bad, "--check-config")
    assert outcome[:2] == (2, b"")
    assert len(outcome.err.splitlines()) == 2


def test_the_command_line_goes_before_the_file(run, file):
    path = file('demo = true\nbind = "coap://0.0.0.0:0"\n')
    assert run("serve", "--config", path, "--check-config").status == 2
    assert run("serve", "--config", path, "--bind", "coap://127.0.0.1:0", "--check-config").status == 0


def test_values_of_a_file_are_checked_like_options(run, file):
    outcome = run("serve", "--config", file('demo = true\nlog-format = "xml"\n'), "--check-config")
    assert outcome.status == 2
    assert "xml" in outcome.err
    outcome = run("serve", "--config", file('demo = true\ncredentials = "none.json"\n'), "--check-config")
    assert outcome.status == 2
    assert "none.json" in outcome.err
