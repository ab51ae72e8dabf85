"""Completion in both shells, against what --help says."""

import os
import re
import subprocess
import sys

import pytest

import rig
from tmux import Terminal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import manpage  # noqa: E402

BASH = f"{rig.STAGE}/usr/share/bash-completion/completions/holdfast"
ZSH = f"{rig.STAGE}/usr/share/zsh/site-functions"


def bash(hf, *words):
    """What TAB offers behind these words, the last one being completed."""
    script = f'''. {BASH}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf '%s\\n' "${{COMPREPLY[@]}}"'''
    env = hf.env()
    env["PATH"] = os.path.dirname(rig.TOOL) + ":" + env["PATH"]
    out = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], env=env, check=True,
                         capture_output=True, text=True, cwd=hf.base)
    assert not out.stderr
    return [x for x in out.stdout.split("\n") if x]


@pytest.mark.quick
def test_every_command_and_option(hf):
    commands = manpage.parse_commands(hf.ok("--help").stdout)
    assert bash(hf, "holdfast", "") == [*commands, "--help", "--version"]
    for command in commands:
        options = manpage.parse_help(hf.ok(command, "--help").stdout).options
        assert bash(hf, "holdfast", command, "--") == [f"--{o}" for o in options] + ["--help"]


def test_ids_and_files(hf):
    names = sorted(hf.start("--", hf.torture, "stamp").name for _ in range(2))
    for command in ("stop", "update", "stats", "logs", "pause"):
        assert bash(hf, "holdfast", command, "") == names
        assert bash(hf, "holdfast", command, names[0]) == [names[0]]
    open(os.path.join(hf.base, "figures.prom"), "w", encoding="utf-8").close()
    assert bash(hf, "holdfast", "metrics", "--output", "fig") == ["figures.prom"]
    assert bash(hf, "holdfast", "update", "--memory", "") == []
    hf.ok("rm", "-f", *names)


def test_zsh(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Terminal(hf, shell="PS1='prompt> ' zsh -f -i") as t:
        t.line(f"fpath=({ZSH} $fpath); autoload -U compinit; compinit -D; clear")
        t.wait(lambda s: s[0].strip() == "prompt>")
        for typed, completed in (("holdfast upd", "holdfast update"),
                                 ("holdfast update --cpu-w", "holdfast update --cpu-weight"),
                                 (f"holdfast stop {c.name[:2]}", f"holdfast stop {c.name}")):
            t.type("-l", typed)
            t.type("Tab")
            t.wait(lambda s, x=completed: any(re.match(rf"prompt> {re.escape(x)} ?$", line)
                                              for line in s), completed)
            t.type("C-u")
    c.rm("-f")
