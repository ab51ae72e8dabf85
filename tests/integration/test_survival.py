"""What survives a restart: each row of the table in holdfast-run(1), in each of its columns."""

import os
import re
import sys

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(ROOT, "tests"))
import manpage  # noqa: E402

# What a run leaves behind, and how the next one looks for it: row of the table -> (make, look).
TRACES = {
    "memory file systems": ("for d in /dev/shm /t /tmp /run; do echo x > $d/trace; done",
                            "ls /dev/shm /t /tmp /run | grep -c trace"),
    "System V objects": ("ipcmk -M 4096 -S 1 -Q; echo > /dev/mqueue/trace",
                         "{ ipcs -m; ipcs -s; ipcs -q; ls /dev/mqueue; } | grep -cE '^0x|trace'"),
    "writes to the host's root": ("echo x > /etc/trace", "ls /etc | grep -c trace"),
    "writes to --rootfs": ("echo x > /volume/trace", "ls /volume | grep -c trace"),
    "host name": ("hostname other", "hostname | grep -c other"),
    "processes": ("setsid sleep 12345 &", "cat /proc/[0-9]*/comm | grep -c sleep"),
}
SERVICE = """
sandbox() {{ readlink /proc/self/ns/pid /proc/self/ns/net; cut -d' ' -f22 /proc/1/stat; }}
run=$(cat /count/runs 2>/dev/null || echo 0)
echo $((run + 1)) > /count/runs
echo "run $run" $(sandbox)
if [ "$run" = 0 ]; then
    {{ {make}
    }} >/dev/null 2>&1
    {first}
    echo made
    exit 3
fi
{look}
echo looked
exec sleep 1000
"""


def service(hf, mode, first="true"):
    """Its first run leaves traces and fails, the second one has looked for them."""
    count = os.path.join(hf.base, "count")
    volume = os.path.join(hf.base, "volume")
    os.makedirs(count)
    os.makedirs(volume)
    make = "\n".join(m for m, _ in TRACES.values())
    look = "\n".join(f'echo "{name}: $({ask})"' for name, (_, ask) in TRACES.items())
    c = hf.start("--restart", "always", "--restart-mode", mode, "--cap-add", "SYS_ADMIN", "--tmpfs",
                 "/t", "-v", f"{count}:/count", "-v", f"{volume}:/volume", "--", "/bin/sh", "-c",
                 SERVICE.format(make=make, look=look, first=first), service=False)
    c.wait_line("^looked")
    return c


def kept(c):
    """Row -> is there anything left of it?"""
    found = dict(re.findall(r"^(.*): (\d+)$", "\n".join(c.lines()), re.M))
    assert set(found) == set(TRACES)
    return {row: int(n) > 0 for row, n in found.items()}


def same_sandbox(c):
    """Two namespaces' numbers, which the kernel uses again, and PID 1's time of birth."""
    first, second = (x.split()[2:] for x in c.lines() if x.startswith("run "))
    assert len(first) == 3
    return first == second


def said(mode):
    """Row of TRACES -> does the page say that it is kept?"""
    page = manpage.page_reader(ROOT)("holdfast-run.1")
    table = manpage.table(manpage.sections(page)["WHAT SURVIVES A RESTART"])
    return {row: cells[mode] == "kept" for row in TRACES
            for title, cells in table.items() if title.startswith(row)}


@pytest.mark.parametrize("mode", ["auto", "in-place", "fresh"])
def test_what_survives(hf, mode):
    c = service(hf, mode)
    assert len(said(mode)) == len(TRACES)
    assert kept(c) == said(mode)
    assert same_sandbox(c) == (mode != "fresh")


def test_a_mount_makes_auto_start_fresh(hf):
    c = service(hf, "auto", first="mount -t tmpfs none /mnt && touch /mnt/x")
    assert not same_sandbox(c)


@pytest.mark.parametrize("mode,line", [("auto", "two"), ("in-place", "two"), ("fresh", "three")])
def test_input_that_is_not_read_yet(hf, mode, line):
    name = hf.name()
    tool = hf.popen("run", "-i", "--rm", "--name", name, "--restart", "on-failure",
                    "--restart-mode", mode, "--", "/bin/sh", "-c",
                    "echo ready; read x; echo $x; [ $x != one ]", stdin=-1)
    tool.stdin.write("one\ntwo\n")
    tool.stdin.flush()
    assert [tool.stdout.readline() for _ in range(3)] == ["ready\n", "one\n", "ready\n"]
    tool.stdin.write("three\n")
    tool.stdin.close()
    assert tool.stdout.read() == f"{line}\n"
    assert tool.wait() == 0
