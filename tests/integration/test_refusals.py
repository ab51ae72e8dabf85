"""What every command says to bad input, and with which status. A command that `holdfast --help` lists
and that has no row here fails."""

import os
import signal
import subprocess

import pytest

import rig
from rig import TOOL, Container, alive, eventually, kill

SLEEPER = ("--", "/bin/sleep", "1000")
NO_NAMES = "takes no names"


class Row:
    """args: the command line behind the command, with {} for the name (none: it takes no names).
    wrong: an option with a value that is none of its kind, and what is said of it.
    ours: the status when it is we who can't. orphan: what is said when shim and keeper are both dead and
    there is no init that could be adopted; None: it goes by the files, or ends it."""

    def __init__(self, args, wrong, says, ours=1, orphan=None, needs_name=True, root=True):
        self.args, self.wrong, self.says, self.ours, self.orphan = args, wrong, says, ours, orphan
        self.names, self.needs_name, self.root = any("{}" in a for a in args), needs_name, root

    def argv(self, name):
        return [a.format(name) for a in self.args]


NO_OPTION = (("--no-such",), "--no-such: no such option")
NO_INIT = "there is no init in it that could hand anything out (--init none)"
ROWS = {
    "run": Row(("--", "true"), ("--memory", "x"), '--memory "x": not a size', 125),
    "create": Row(("--", "true"), ("--memory", "x"), '--memory "x": not a size', 125),
    "start": Row(("{}",), ("--detach-keys", "ctrl-"), '--detach-keys "ctrl-"'),
    "attach": Row(("{}",), ("--sig-proxy", "maybe"), '--sig-proxy "maybe": use true or false', 125,
                  NO_INIT),
    "exec": Row(("{}", "true"), ("-w", "tmp"), '--workdir "tmp": not an absolute path', 125, NO_INIT),
    "ps": Row((), ("--filter", "x"), '--filter "x": use KEY=VALUE'),
    "inspect": Row(("{}",), *NO_OPTION),
    "events": Row(("{}",), ("--since", "x"), '--since "x": neither a cursor nor a time'),
    "logs": Row(("{}",), ("-n", "x"), '--tail "x": not a number'),
    "stop": Row(("-t", "0", "{}"), ("-t", "x"), '--time "x": not a time'),
    "kill": Row(("{}",), ("-s", "x"), '--signal "x": not a signal'),
    "restart": Row(("-t", "0", "{}"), ("-t", "x"), '--time "x": not a time'),
    "wait": Row(("{}",), *NO_OPTION, orphan=NO_INIT),
    "rm": Row(("{}",), *NO_OPTION, orphan="is running, with nobody supervising it"),
    "adopt": Row(("{}",), *NO_OPTION, orphan=NO_INIT),
    "prune": Row((), *NO_OPTION),
    "pause": Row(("{}",), *NO_OPTION, orphan=NO_INIT),
    "resume": Row(("{}",), *NO_OPTION, orphan=NO_INIT),
    "update": Row(("--pids-limit", "50", "{}"), ("--memory", "x"), '--memory "x": not a size',
                  orphan=NO_INIT),
    "stats": Row(("--no-stream", "{}"), ("-i", "x"), '--interval "x": not a time', needs_name=False),
    "top": Row((), ("-i", "x"), '--interval "x": not a time'),
    "pressure": Row(("{}",), ("--since", "x"), '--since "x": not a time'),
    "metrics": Row((), *NO_OPTION),
    "check": Row((), *NO_OPTION, root=False),
    "version": Row((), *NO_OPTION, root=False),
}
NAMED = [c for c, row in ROWS.items() if row.names]
# Commands that wait for an end, or for output, are not asked of a service that goes on.
STAY = ("wait", "attach")


def refused(out, status, text):
    assert (out.returncode, out.stdout) == (status, ""), (out.returncode, out.stdout, out.stderr)
    assert out.stderr.startswith("holdfast: ") and text in out.stderr, out.stderr
    assert len(out.stderr.splitlines()) == 1


def test_every_command_has_its_row():
    out = subprocess.run([TOOL, "--help"], capture_output=True, text=True, check=True)
    listed = [line.split()[0] for line in out.stdout.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(ROWS)


def test_unknown_commands(hf):
    refused(hf("no-such"), 64, "no-such: no such command")


@pytest.mark.parametrize("command", NAMED)
def test_an_unknown_id(hf, command):
    row = ROWS[command]
    refused(hf(command, *row.argv("no-such")), row.ours, 'no container "no-such"')


@pytest.mark.parametrize("command", [c for c in NAMED if ROWS[c].needs_name])
def test_no_id(hf, command):
    options = [a for a in ROWS[command].args if "{}" not in a and a != "true"]
    refused(hf(command, *options), 64, "which container?")


@pytest.mark.parametrize("command", [c for c in ROWS if c not in NAMED and c not in ("run", "create")])
def test_an_id_too_many(hf, command):
    refused(hf(command, "x"), 64, f'{command}: "x": {NO_NAMES}')


def test_an_ambiguous_prefix(hf):
    twins = [Container(hf, name) for name in ("abcd00000001", "abcd10000002")]
    for c in twins:
        hf.ok("create", "--name", c.name, *SLEEPER)
    for command in NAMED:
        refused(hf(command, *ROWS[command].argv("abcd")), 64, '"abcd" is the beginning of 2 ids')
    # none of several is touched when one is ambiguous
    refused(hf("rm", twins[0].name, "abcd"), 64, "is the beginning of 2 ids")
    assert hf.containers() == [c.name for c in twins]
    assert hf.ok("rm", "abcd0", "abcd1").stdout.split() == [c.name for c in twins]


@pytest.mark.parametrize("command", ROWS)
def test_a_value_of_the_wrong_kind(hf, command):
    row = ROWS[command]
    refused(hf(command, *row.wrong, *row.argv("no-such")), 64, row.says)
    assert not hf.containers()


def nobody(hf, *args):
    """The tool as another user; by a descriptor, since the way to the file may be root's."""
    tool = os.open(TOOL, os.O_PATH)
    try:
        return subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
             f"/proc/self/fd/{tool}", *args], env=hf.env(), text=True, capture_output=True,
            stdin=subprocess.DEVNULL, pass_fds=[tool], check=False, timeout=30 * rig.SLOW, cwd="/")
    finally:
        os.close(tool)


def test_another_user_than_root(hf):
    c = hf.start("--rule", "x: pids.max: event", *SLEEPER)  # stated: what it keeps of them is there at once
    before = hf.files()
    for command, row in ROWS.items():
        out = nobody(hf, command, *row.argv(c.name))
        if not row.root:
            assert out.returncode in (0, 1) and out.stdout, command
            continue
        assert out.returncode == row.ours, (command, out)
        assert "root" in out.stderr and "(use sudo)" in out.stderr, (command, out.stderr)
        assert out.stdout == "" and len(out.stderr.splitlines()) == 1, (command, out)
    assert c.service and hf.files() == before


def kill_both(c):
    keeper, shim = c.keeper, c.shim
    kill(keeper, signal.SIGSTOP)
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(shim))


@pytest.mark.parametrize("command", NAMED)
def test_shim_and_keeper_are_dead(hf, command):
    row = ROWS[command]
    c = hf.start("--init", "none", *SLEEPER, service=False)
    service = eventually(lambda: c.keeper and c.shim and c.init)  # it is PID 1 itself
    kill_both(c)
    out = hf(command, *row.argv(c.name))
    if row.orphan:
        refused(out, 125 if command == "wait" else row.ours, row.orphan)
        assert f'"{c.name}"' in out.stderr or f"{c.name}:" in out.stderr
        assert c.init == service and alive(service)
        c.rm("-f")
        return
    assert out.returncode == 0, out.stderr
    if command in ("stop", "kill"):
        assert c.wait_end() == 125  # nobody saw how it ended
    hf("rm", "-f", c.name)


@pytest.mark.parametrize("command", [c for c in NAMED if c not in (*STAY, "rm")])
def test_shim_and_keeper_are_dead_and_init_goes_on(hf, command):
    """Nobody needs to know: it goes by the files, or adopts it."""
    c = hf.start(*SLEEPER)
    kill_both(c)
    out = hf(command, *ROWS[command].argv(c.name))
    assert (out.returncode, out.stderr) == (0, "")
    c.rm("-f")


@pytest.mark.parametrize("command", [c for c in NAMED if c not in STAY])
def test_the_shim_has_just_died(hf, command):
    """Nobody needs to know: the next one answers."""
    c = hf.start(*SLEEPER)
    if command == "rm":
        c.stop()
        assert hf(command, c.name).returncode == 0
        return
    kill(c.shim, signal.SIGKILL)
    out = hf(command, *ROWS[command].argv(c.name))
    assert out.returncode == 0, out.stderr


@pytest.mark.parametrize("command", ["stop", "kill", "restart", "start", "wait", "rm", "pause", "resume",
                                     "update", "inspect"])
def test_one_that_fails_does_not_stop_the_others(hf, command):
    started = [hf.start(*SLEEPER) for _ in range(2)]
    if command in ("wait", "rm"):
        hf.ok("stop", *(c.name for c in started))
    args = [a for a in ROWS[command].args if a != "{}"]
    out = hf(command, *args, started[0].name, "no-such", started[1].name)
    assert out.returncode == 1
    assert [x for x in out.stderr.splitlines() if "no container" in x] == out.stderr.splitlines()
    if command == "wait":
        assert out.stdout.split() == ["143", "143"]
    elif command == "inspect":
        assert all(c.name in out.stdout for c in started)
    else:
        assert out.stdout.split() == [c.name for c in started]
