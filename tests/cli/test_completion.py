"""Completion in shells: by the script in a real bash, zsh and fish, and by what the program answers to each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.pseudo_terminal import PseudoTerminal

FILE = {
    ":sensor-17": {"dtls": {"client-identity": {"ascii": "a"}, "psk": {"command": ["touch", "MARK"]}}},
    ":sensor-18": {"unprotected": True},
    ":gateway": ":sensor-17",
    "coaps://h.example:5690/*": ":sensor-17",
    "coap://*/x": ":gateway",
    "$schema": "x",
}


@pytest.fixture
def file(write):
    return write(FILE)


def needs(shell):
    if shutil.which(shell) is None:
        assert os.environ.get("CI") != "true", f"{shell} was to be installed in CI"
        pytest.skip(f"there is no {shell} (Debian: apt-get install {shell})")


@pytest.fixture
def program(tmp_path):
    """The command as it is installed, in a directory for the PATH."""
    program = tmp_path / "bin" / "securecoap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m securecoap "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def bash(program, tmp_path):
    """What a real bash completes a line to: COMPREPLY of the script's function, as Readline calls it."""
    needs("bash")
    script = r"""
        PATH=$1:$PATH
        source <(securecoap completion bash)
        compopt() { echo "compopt $*"; }
        [[ $(complete -p securecoap) == *-F\ _securecoap_completion* ]] || exit 9
        COMP_LINE=$2 COMP_POINT=${#2}
        _securecoap_completion securecoap
        printf '%s\n' "${COMPREPLY[@]}"
    """

    def complete(line):
        done = subprocess.run(
            ["bash", "--norc", "-c", script, "bash", str(program.parent), line],
            capture_output=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [text for text in done.stdout.splitlines() if text]

    return complete


def test_a_real_bash(bash, file, tmp_path):
    assert bash("securecoap cred") == ["credentials"]
    assert bash("securecoap get --bl") == ["--block-size"]
    assert bash("securecoap get co") == ["compopt -o nospace", "compopt -o nospace", "coap://", "coaps://"]
    # Readline replaces what is behind the last colon.
    assert bash(f"securecoap get --credentials {file} coaps:") == ["compopt -o nospace"] * 2 + [
        "//",
        "//h.example:5690/",
    ]
    assert bash(f"securecoap credentials show {file} :s") == ["sensor-17", "sensor-18"]
    assert bash("securecoap get -o ") == ["compopt -o default"]
    (tmp_path / "body").touch()
    assert bash("securecoap put x --payload @bo") == ["@body"]
    assert not (tmp_path / "MARK").exists()  # no command of the file was run


def test_what_is_completed_is_no_command(bash, write, tmp_path):
    names = [
        ":$(touch${IFS}MARK)",
        ":`touch MARK`",
        ":a;touch MARK",
        ":b>MARK",
        ":c d",
        ":e'f",
        ':g"h',
        ":i\nplain,;touch MARK;",
    ]
    file = write(dict.fromkeys([*names, "coap://$(touch MARK)/x"]))
    (tmp_path / "@$(touch MARK)").touch()
    found = []
    for line in (f"credentials show {file} :", f"get --credentials {file} coap:", "put x --payload @@"):
        for text in bash(f"securecoap {line}"):
            if not text.startswith("compopt"):
                typed = ["bash", "--norc", "-c", f"printf %s {text}"]
                found.append(subprocess.run(typed, capture_output=True, cwd=tmp_path, text=True, check=True).stdout)
    assert not (tmp_path / "MARK").exists()
    assert {"$(touch${IFS}MARK)", "a;touch MARK", "c d", "e'f", 'g"h', "//$(touch MARK)/", "@@$(touch MARK)"} <= set(
        found
    )


@pytest.fixture
def zsh(program, tmp_path):
    """What a line is in a real zsh once Tab was pressed behind it, with a cross where one goes on writing."""
    needs("zsh")
    (tmp_path / ".zshrc").write_text(
        f"PATH={program.parent}:$PATH PS1='%% '\ncd {tmp_path}\nbindkey -e\nautoload -U compinit\ncompinit -u -D\n"
        "source <(securecoap completion zsh)\necho begins\n"
    )

    def complete(line):
        environment = {"ZDOTDIR": str(tmp_path), "TERM": "dumb"}
        with PseudoTerminal("-d", "-i", program=("zsh",), environment=environment) as terminal:
            terminal.expect("begins\n")
            terminal.type(f"{line}\tX\x01: '\x05' ; echo \"<$_>\"\r")  # the beginning and end of the line
            return terminal.expect("\n<(.*)>")[1]

    return complete


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("securecoap cred", "securecoap credentials X"),
        ("securecoap get --bl", "securecoap get --block-size X"),
        ("securecoap get coap:", "securecoap get coap://X"),
        ("securecoap get --credentials FILE coaps://h", "securecoap get --credentials FILE coaps://h.example:5690/X"),
        ("securecoap credentials show FILE :g", "securecoap credentials show FILE :gateway X"),
        ("securecoap get -o bo", "securecoap get -o body X"),
    ],
)
def test_a_real_zsh(zsh, file, tmp_path, line, completed):
    (tmp_path / "body").touch()
    assert zsh(line.replace("FILE", file.name)) == completed.replace("FILE", file.name)
    assert not (tmp_path / "MARK").exists()


@pytest.fixture
def fish(program, tmp_path):
    """What a real fish completes a line to, with explanations behind tabs."""
    needs("fish")
    script = 'set PATH $argv[1] $PATH; securecoap completion fish | source; complete -C "$argv[2]"'

    def complete(line):
        done = subprocess.run(
            ["fish", "--no-config", "-c", script, str(program.parent), line],
            capture_output=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return complete


def test_a_real_fish(fish, file, tmp_path):
    (command,) = fish("securecoap cred")
    assert command.partition("\t")[0] == "credentials"
    (option,) = fish("securecoap get --bl")
    assert option.startswith("--block-size\tBytes in a block of a large body: 16, 32")
    assert fish(f"securecoap get --credentials {file} coaps:") == ["coaps://", "coaps://h.example:5690/"]
    assert fish(f"securecoap credentials show {file} :s") == [":sensor-17", ":sensor-18"]
    (tmp_path / "body,1").touch()
    assert fish("securecoap put x --payload @bo") == ["@body,1"]
    assert "body,1" in fish("securecoap get -o bo")
    assert not (tmp_path / "MARK").exists()


def words(monkeypatch, capfd, kind, line):
    """What the program answers to the script of a shell."""
    from securecoap.cli.program import run

    parts = line.split(" ")
    monkeypatch.setenv("_SECURECOAP_COMPLETE", f"{kind}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", parts[-1] if kind == "fish" else str(len(parts) - 1))
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORDBREAKS", " \n\"'@><=;|&(")  # as those do who take the colon out
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code == 0
    return capfd.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("securecoap sh", ["plain,shell"]),
        ("securecoap get coap:", ["plain,coap://"]),
        ("securecoap get --credentials FILE coaps://", ["plain,coaps://", "plain,coaps://h.example:5690/"]),
        ("securecoap credentials show FILE ", ["plain,:gateway", "plain,:sensor-17", "plain,:sensor-18"]),
        ("securecoap credentials show FILE ga", ["plain,gateway"]),
        ("securecoap credentials revoke FILE :ga", ["plain,:gateway"]),
        ("securecoap credentials rotate --server FILE :ga", ["plain,:gateway"]),
        ("securecoap credentials export FILE :ga", ["plain,:gateway"]),
        ("securecoap credentials explain FILE coap://h/ --as :ga", ["plain,:gateway"]),
        ("securecoap credentials show /no/such/file ", []),
        ("securecoap get x --accept application/json-", ["plain,application/json-patch+json"]),
        ("securecoap put x --payload - --content-format text/p", ["plain,text/plain;charset=utf-8"]),
        ("securecoap completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
    ],
)
def test_what_is_found(monkeypatch, capfd, file, line, found):
    answer = words(monkeypatch, capfd, "bash", line.replace("FILE", str(file)))
    assert [text for text in answer if text] == found


def test_a_file_that_is_none(monkeypatch, capfd, write):
    for content in ("{", "[1]", '"x"', "[" * 100000):
        assert words(monkeypatch, capfd, "bash", f"securecoap credentials show {write(content)} :") == [""]


def test_a_directory_of_files(monkeypatch, capfd, write, tmp_path):
    write({":b": None}, "b.json")
    write({":a": None}, "a.json")
    assert words(monkeypatch, capfd, "bash", f"securecoap credentials show {tmp_path} :") == ["plain,:a", "plain,:b"]


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_other_shells(monkeypatch, capfd, kind):
    assert "shell" in "\n".join(words(monkeypatch, capfd, kind, "securecoap sh"))


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_scripts(run, kind):
    status, script, err = run("completion", kind)
    assert (status, err) == (0, "")
    assert f"_SECURECOAP_COMPLETE={kind}_complete".encode() in script


def test_a_shell_that_is_not_known(run):
    assert run("completion", "tcsh").status == 2
