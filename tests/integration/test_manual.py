"""The man pages and the tool that is installed say the same."""

import os
import re
import signal
import subprocess
import sys

import pytest

import rig
from api import Api, v1

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(ROOT, "tests"))
import manpage  # noqa: E402

page = manpage.page_reader(ROOT)


@pytest.mark.quick
def test_help_and_man_pages_agree(hf):
    findings = manpage.help_findings(lambda *args: hf.ok(*args).stdout, page)
    assert not findings, "\n".join(findings)


@pytest.mark.quick
def test_every_page_is_installed():
    found = 0
    for name in os.listdir(os.path.join(ROOT, "docs")):
        if name.endswith(".scd"):
            title, section = name[:-4].rsplit(".", 1)
            text = rig.read(f"{rig.STAGE}/usr/share/man/man{section}/{title}.{section}", "")
            assert re.search(rf'^\.TH "{title}" "{section}"', text, re.M), name
            found += 1
    assert found >= 6


def described_files():
    return set(manpage.terms(manpage.sections(page("holdfast-shim.8"))["FILES"]))


def test_files_are_those_of_the_man_page(hf):
    script = ("import os, socket, sys, time\n"
              "print('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.connect(os.environ['NOTIFY_SOCKET'])\n"
              "socket.send_fds(s, [b'FDSTORE=1\\nREADY=1'], [os.memfd_create('x')])\n"
              "time.sleep(1000)")
    c = hf.start("-m", "64m", "--rule", "all: memory.usage > 1%: dump", "--notify", "--watchdog", "1h", "--listen", f"unix:@{hf.base}", "--restart",
                 "always",
                 "--restart-delay", "0", "--", "/usr/bin/python3", "-c", script)
    c.wait_line("out")
    c.wait_line("err", stream="stderr")
    with Api(c) as api:
        api.call("Exec", v1.ExecRequest(args=["true"], output=True))
    rig.kill(c.service, signal.SIGKILL)
    rig.eventually(lambda: os.path.exists(os.path.join(c.state_dir, "postmortem")))
    rig.eventually(lambda: [n for n in os.listdir(c.state_dir) if n.startswith("dump-")])
    there = {re.sub(r"-\d{20}\.|(?<=^exec)-\d+\.|(?<=^dump)-\d$", lambda m: "-N." if m[0][-1] == "." else "-N",
                    name)
             for where in (c.state_dir, c.log_dir) for name in os.listdir(where)}
    assert there == described_files(), there ^ described_files()
    for where in (c.state_dir, c.log_dir):
        assert os.stat(where).st_mode & 0o7777 == 0o700


@pytest.mark.quick
@pytest.mark.parametrize("args", [
    ("version", "x"), ("version", "--x"), ("--version", "x"), ("check", "x"), ("ps", "x"),
    ("wait",), ("logs",), ("stop",), ("nonsense",), ("run",), ("kill", "-s", "0", "x"),
    ("stop", "-s", "0", "x"), ("logs", "-n", "-1", "x"), ("rm", "--force=1", "x"),
])
def test_wrong_command_lines_are_64(hf, args):
    out = hf(*args)
    assert out.returncode == 64
    assert out.stderr.startswith("holdfast: ") and not out.stdout


@pytest.mark.quick
def test_no_command_shows_them_all(hf):
    tool = hf.popen()
    out, _ = tool.communicate()
    assert tool.returncode == 64 and out == hf.ok("--help").stdout


@pytest.mark.quick
@pytest.mark.parametrize("program", ["shim", "launch", "keeper"])
@pytest.mark.parametrize("args", [(), ("x",)])
def test_daemons_by_hand_are_64(hf, program, args):
    path = f"{rig.STAGE}/usr/libexec/holdfast/holdfast-{program}"
    out = subprocess.run([path, *args], capture_output=True, text=True, check=False)
    assert out.returncode == 64
    assert out.stderr.startswith(f"holdfast-{program}: started by ")
