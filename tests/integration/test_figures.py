"""stats, metrics, pause, resume, update from the command line; and what each says of bad input."""

import json
import os
import re
import signal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from rig import eventually, kill, read

MIB = 1 << 20
BUSY = ("--", "/bin/sh", "-c", "while :; do :; done")


def stats(hf, *args):
    out = hf.ok("stats", "--no-stream", "--json", *args).stdout
    return {row["id"]: row for row in map(json.loads, out.splitlines())}


def pair_killed(c):
    """Keeper and shim end at once: nobody supervises it any more."""
    pids = eventually(lambda: c.keeper and c.shim and [c.keeper, c.shim])
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    for pid in pids:
        kill(pid, signal.SIGKILL)
    eventually(lambda: not c.keeper and not c.shim)


@pytest.mark.quick
@pytest.mark.cgroup
def test_stats_of_what_lives_and_what_was_named(hf):
    busy = hf.start("-m", "64m", "--pids-limit", "40", *BUSY)
    idle = hf.start("--", hf.torture, "stamp")
    done = hf.start("--", "/bin/sh", "-c", "exit 3", service=False)
    done.wait_end()
    rows = stats(hf)
    assert set(rows) == {busy.name, idle.name}
    b = rows[busy.name]
    assert b["cpu_percent"] > 20 > rows[idle.name]["cpu_percent"]
    assert (b["memory_limit_bytes"], b["pids_limit"], b["pids_current"]) == (64 * MIB, 40, 2)
    assert b["state"] == "running" and b["run"] == 1
    if "cpu_some" in b["pressure"]:
        assert b["pressure"]["cpu_some"]["total_usec"] >= 0
    assert set(stats(hf, "-a")) == {busy.name, idle.name, done.name}
    assert stats(hf, done.name)[done.name]["last_exit"] == 3
    table = hf.ok("stats", "--no-stream", busy.name).stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "STATE", "CPU"] and len(table) == 2
    assert re.search(r"running +\d+\.\d% +\S+ \wi?B +64 MiB", table[1]), table[1]
    busy.stop("-t", "0")
    idle.stop("-t", "0")


@pytest.mark.cgroup
def test_named_twice_it_is_looked_at_once(hf):
    name = "abcdef012345"
    c = hf.start(*BUSY, name=name)
    out = hf.ok("stats", "--no-stream", "--json", name, "abcdef", name).stdout.splitlines()
    assert len(out) == 1 and 20 < json.loads(out[0])["cpu_percent"] < 150
    c.stop("-t", "0")


def test_what_is_not_ready(hf):
    gate = os.path.join(hf.base, "gate")
    script = ("import os, socket, time\n"
              "while not os.path.exists('/gate/open'): time.sleep(0.01)\n"
              "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
              "s.connect(os.environ['NOTIFY_SOCKET'])\ns.send(b'READY=1')\ntime.sleep(1000)")
    os.mkdir(gate)
    tool = hf.popen("run", "-d", "--notify", "--name", "slow", "-v", f"{gate}:/gate", "--",
                    "python3", "-c", script)
    eventually(lambda: stats(hf).get("slow", {}).get("state") == "unready")
    open(os.path.join(gate, "open"), "w", encoding="utf-8").close()
    eventually(lambda: stats(hf)["slow"]["state"] == "running")
    tool.communicate(timeout=10)
    hf.ok("rm", "-f", "slow")


def test_stats_streams_until_all_are_gone(hf):
    c = hf.start("--", hf.torture, "stamp")
    tool = hf.popen("stats", "--json", "--interval", "100ms", c.name)
    first, second = (json.loads(tool.stdout.readline()) for _ in range(2))
    assert first["time_usec"] < second["time_usec"]
    c.rm("-f")
    tool.communicate(timeout=10)
    assert tool.returncode == 0


@pytest.mark.cgroup
def test_figures_need_no_supervisor(hf):
    c = hf.start("--", hf.torture, "stamp")
    shim = c.shim
    kill(shim, signal.SIGSTOP)  # a hung one is asked nothing
    assert stats(hf)[c.name]["memory_current_bytes"] > 0
    kill(shim, signal.SIGCONT)
    pair_killed(c)
    row = stats(hf)[c.name]
    assert row["state"] == "orphaned" and row["memory_current_bytes"] > 0
    assert f'holdfast_memory_bytes{{id="{c.name}"}}' in hf.ok("metrics").stdout
    assert re.search(rf"{c.name} +orphaned", hf.ok("top").stdout)
    c.rm("-f")


def families(text, parse=openmetrics):
    return {f.name: f for f in parse(text)}


@pytest.mark.quick
@pytest.mark.cgroup
def test_metrics_are_openmetrics(hf):
    empty = hf.ok("metrics").stdout
    assert empty.endswith("# EOF\n") and families(empty)
    a = hf.start("-m", "64m", "--restart", "always", *BUSY)
    b = hf.start("--", "/bin/sh", "-c", "exit 7", service=False)
    b.wait_end()
    kill(a.service, signal.SIGKILL)
    eventually(lambda: (row := stats(hf)[a.name])["restarts"] == 1 and row["state"] == "running")
    text = hf.ok("metrics").stdout
    found = families(text)

    def value(family, name, **labels):
        return next(s.value for s in found[family].samples if s.name == name
                    and labels.items() <= s.labels.items())
    assert value("holdfast_memory_limit_bytes", "holdfast_memory_limit_bytes", id=a.name) == 64 * MIB
    assert value("holdfast_cpu_usage_seconds", "holdfast_cpu_usage_seconds_total", id=a.name) > 0
    assert value("holdfast_restarts", "holdfast_restarts_total", id=a.name) == 1
    assert value("holdfast_last_exit_status", "holdfast_last_exit_status", id=b.name) == 7
    assert value("holdfast_last_exit_status", "holdfast_last_exit_status", id=a.name) == 137
    assert value("holdfast_state", "holdfast_state", id=a.name, holdfast_state="running") == 1
    assert value("holdfast_state", "holdfast_state", id=b.name, holdfast_state="exited") == 1
    assert value("holdfast_container", "holdfast_container_info", id=a.name,
                 cgroup=f"/holdfast/local/{a.name}") == 1
    for name, family in found.items():
        assert family.documentation and family.unit in ("", "seconds", "bytes"), name
    # what a textfile collector reads: the older format, without time stamps
    old = [s for f in prometheus(text) for s in f.samples]
    assert len(old) == sum(len(f.samples) for f in found.values())
    assert all(s.timestamp is None for s in old)
    a.stop("-t", "0")


def test_metrics_of_two_probes_of_one_kind_and_target(hf):
    probe = ("--probe", "readiness=exec:true,period=100ms")
    c = hf.start(*probe, *probe, "--", hf.torture, "stamp")
    found = families(hf.ok("metrics").stdout)["holdfast_probe_results"].samples
    assert sorted((s.labels["probe"], s.labels["kind"], s.labels["result"]) for s in found) == \
        [(n, "readiness", result) for n in "01" for result in ("failed", "passed")]
    assert len({tuple(sorted(s.labels.items())) for s in found}) == len(found)
    c.rm("-f")


def test_metrics_escape_labels(hf):
    c = hf.start("--cgroup", '/holdfast/local/a"b\\c', "--", hf.torture, "stamp", service=False)
    found = families(hf.ok("metrics").stdout)
    assert [s.labels["cgroup"] for s in found["holdfast_container"].samples] == \
        ['/holdfast/local/a"b\\c']
    c.rm("-f")


def test_metrics_replace_a_file(hf):
    c = hf.start("--", hf.torture, "stamp")
    path = os.path.join(hf.base, "holdfast.prom")
    with open(path, "w", encoding="utf-8") as f:
        f.write("old")
    before = os.stat(path).st_ino
    out = hf.ok("metrics", "-o", path)
    assert not out.stdout and os.stat(path).st_ino != before
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert families(read(path))
    assert os.listdir(os.path.dirname(path)).count("holdfast.prom.new") == 0
    out = hf("metrics", "-o", os.path.join(hf.base, "nowhere/x.prom"))
    assert out.returncode == 1 and "nowhere/x.prom" in out.stderr
    link = os.path.join(hf.base, "link")
    os.symlink(path, link)
    for other in (link, hf.base, "/dev/null"):  # the last one last: the others tell first
        out = hf("metrics", "-o", other)
        assert out.returncode == 1 and "is no regular file" in out.stderr, out
    assert os.path.islink(link)
    c.rm("-f")


@pytest.mark.quick
def test_pause_resume_and_ps(hf):
    c = hf.start("--", "/bin/sh", "-c", "while :; do echo x; sleep 0.01; done")
    c.wait_line("x")
    assert hf.ok("pause", c.name).stdout == c.name + "\n"
    assert "Paused (up" in c.ps() and stats(hf)[c.name]["state"] == "paused"
    count = len(c.lines())
    assert hf.ok("resume", c.name).stdout == c.name + "\n"
    assert "Up" in c.ps()
    eventually(lambda: len(c.lines()) > count + 1)
    c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.cgroup
def test_update(hf):
    c = hf.start("-m", "64m", "--", hf.torture, "stamp")
    hf.ok("update", "--memory", "80M", "--cpus", "0.5", "--cpu-weight", "200", "--pids-limit", "9",
          "--cpuset-cpus", "0", "--restart", "on-failure", "--restart-delay", "1s",
          "--restart-max-delay", "2s", c.name)
    row = stats(hf)[c.name]
    assert (row["memory_limit_bytes"], row["cpu_limit_milli"], row["pids_limit"]) == \
        (80 * MIB, 500, 9)
    assert read(f"/proc/{c.service}/status").count("Cpus_allowed_list:\t0\n") == 1
    hf.ok("update", "--memory", "none", "--cpus", "none", "--pids-limit", "0", c.name)
    row = stats(hf)[c.name]
    assert not {"memory_limit_bytes", "cpu_limit_milli", "pids_limit"} & set(row)
    c.stop("-t", "0")


COMMANDS = {"pause": (), "resume": (), "update": ("--pids-limit", "5"), "stats": ("--no-stream",)}


@pytest.mark.quick
@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_ids(hf, command):
    out = hf(command, *COMMANDS[command], "nobody")
    assert out.returncode == 1 and not out.stdout
    assert out.stderr == 'holdfast: no container "nobody" (holdfast ps -a lists them)\n'


def test_ambiguous_prefixes(hf):
    names = ["abcdef012345", "abcdef678901"]
    for name in names:
        hf.start("--", hf.torture, "stamp", name=name)
    for command, options in COMMANDS.items():
        out = hf(command, *options, "abcdef")
        assert out.returncode == 64
        assert out.stderr == (f'holdfast: "abcdef" is the beginning of 2 ids (write more of it: '
                              f'{", ".join(names)})\n')
    for command, options in COMMANDS.items():  # nor is anything done for those before it
        out = hf(command, *options, names[0], "abcdef")
        assert out.returncode == 64 and not out.stdout and "2 ids" in out.stderr, out
    assert {row["state"] for row in stats(hf).values()} == {"running"}
    assert hf.ok("pause", "abcdef0").stdout == names[0] + "\n"
    for name in names:
        hf.ok("rm", "-f", name)


def test_nobody_supervises_it(hf):
    """With init inside each of them adopts it first; without, it is left alone."""
    adopted = hf.start("--", hf.torture, "stamp")
    c = hf.start("--init", "none", "--", hf.torture, "stamp", service=False)
    eventually(lambda: c.keeper and c.shim and c.init)
    gone = hf.start("--", "/bin/true", service=False)
    gone.wait_end()
    pair_killed(c)
    for command in ("pause", "resume", "update"):
        pair_killed(adopted)
        hf.ok(command, *COMMANDS[command], adopted.name)
        assert adopted.shim
        out = hf(command, *COMMANDS[command], c.name)
        assert out.returncode == 1 and f'nobody supervises "{c.name}"' in out.stderr
        assert "holdfast stop" in out.stderr
        out = hf(command, *COMMANDS[command], gone.name)
        assert out.returncode == 1
        assert out.stderr == (f'holdfast: container "{gone.name}" is not running '
                              f'(it has ended: holdfast start {gone.name})\n')
    adopted.rm("-f")
    c.rm("-f")


def test_a_killed_shim_is_waited_for(hf):
    c = hf.start("--", hf.torture, "stamp")
    for command in ("pause", "resume", "update"):
        kill(c.shim, signal.SIGKILL)
        hf.ok(command, *COMMANDS[command], c.name)
    assert stats(hf)[c.name]["pids_limit"] == 5
    c.rm("-f")


@pytest.mark.quick
@pytest.mark.parametrize("args, word", [
    (("pause",), "which container"), (("resume",), "which container"),
    (("update",), "which container"), (("update", "x"), "nothing to change"),
    (("update", "--memory", "12Q", "x"), "12Q"), (("update", "--memory", "1k", "x"), "1m"),
    (("update", "--cpus", "many", "x"), "many"), (("update", "--cpu-weight", "0", "x"), "10000"),
    (("update", "--pids-limit", "-1", "x"), "-1"), (("update", "--cpuset-cpus", "a", "x"), "0-3"),
    (("update", "--restart", "maybe", "x"), "unless-stopped"),
    (("update", "--restart-delay", "soon", "x"), "soon"), (("update", "--color", "x"), "--color"),
    (("stats", "--interval", "1ms"), "100ms"), (("stats", "--interval", "x"), "--interval"),
    (("stats", "--json=1"), "--json"), (("top", "x"), "takes no names"),
    (("top", "--sort", "size"), "pressure"), (("top", "-i", "0"), "100ms"),
    (("metrics", "x"), "takes no names"), (("metrics", "-o", ""), "--output"),
    (("metrics", "-o"), "needs a value"),
])
def test_wrong_command_lines(hf, args, word):
    out = hf(*args)
    assert out.returncode == 64 and not out.stdout
    assert out.stderr.startswith("holdfast: ") and word in out.stderr, out.stderr
    assert out.stderr.count("\n") == 1


def test_update_says_what_can_not_be(hf):
    c = hf.start("-m", "64m", "--", "/bin/sh", "-c",
                 "x=$(head -c 4000000 /dev/zero | tr '\\0' x); echo full; sleep 1000")
    c.wait_line("full")
    for options, word in ((("--memory", "2M"), "in use"), (("--cpuset-cpus", "0-9999"), "cpuset"),
                          (("--memory-swap", "32M"), "less than the memory limit"),
                          (("--restart-delay", "2h"), "restart-max-delay")):
        out = hf("update", "--pids-limit", "7", *options, c.name)
        assert out.returncode == 1 and word in out.stderr and c.name in out.stderr, out.stderr
        assert stats(hf)[c.name]["pids_limit"] != 7
    c.stop("-t", "0")
