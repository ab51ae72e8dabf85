"""inspect, ps and logs: what is there to see, and what a person may do wrong."""

import base64
import json
import os
import re
import signal
import subprocess
import time

import pytest
from google.protobuf import json_format

from api import Api, Refused, ttrpc, v1
from rig import TOOL, eventually, kill
from test_adopt import supervised


def inspect(hf, *names):
    return json.loads(hf.ok("inspect", "--json", *names).stdout)


# ---- inspect

@pytest.mark.quick
def test_inspect_of_a_configuration_with_any_bytes(hf):
    """Only what every terminal and every reader of JSON takes comes out, and it says the same."""
    odd = b"a\xffb\xc2\x9b31mc\x7fd \xe2\x82\xac \xf0\x9f\x90\xa0 \"\\"
    name = hf.name()
    hf.ok("create", "--name", name, "--env", os.fsdecode(b"ODD=" + odd), "--memory", "64M",
          "--", "/bin/true")
    out = subprocess.run([TOOL, "inspect", "--json", name], env=hf.env(), capture_output=True,
                         check=True).stdout
    assert not [b for b in out if b > 0x7e or b < 0x20 and b != 0x0a], out
    config = json.loads(out)[0]["config"]
    assert "ODD=a\ufffdb\x9b31mc\x7fd \u20ac \U0001f420 \"\\" in config["process"]["env"]
    assert config["linux"]["resources"]["memory"]["limit"] == 64 << 20


@pytest.mark.quick
def test_inspect_alive(hf):
    c = hf.start("--memory", "64M", "--env", "A=b c", "--label", "tier=web", "--restart", "always",
                 "--", hf.torture, "stamp")
    found = inspect(hf, c.name)[0]
    state = json_format.ParseDict(found["state"], v1.GetStateResponse())
    with Api(c) as api:
        told = api.call("GetState")
    assert state.pid == c.service and state.init_pid == c.init
    assert (state.shim_pid, state.keeper_pid) == (c.shim, c.keeper)
    del told.rules[:]  # which have a part of their own
    assert state == told
    assert found["id"] == c.name and found["supervised"] is True
    assert found["settings"]["restart"] == "always"
    assert found["config"]["linux"]["resources"]["memory"]["limit"] == 64 << 20
    assert "A=b c" in found["config"]["process"]["env"]
    assert all(os.path.isdir(path) for path in found["cgroups"]) and found["cgroups"]
    assert found["post_mortem"] == []
    text = hf.ok("inspect", c.name).stdout
    for word in (r"state +running since", rf"pid +{c.service}, process 1 is {c.init}",
                 r"memory limit +64.0 MiB", r"A=b c", r"tier=web", r"restart +always, auto",
                 rf"cgroups +/.*{c.name}", rf"shim {c.shim}, keeper {c.keeper}"):
        assert re.search(word, text), (word, text)


def test_inspect_ended_and_nobody_alive(hf):
    c = hf.start("--", "sh", "-c", "echo last words; exit 3", service=False)
    c.wait_end()
    eventually(lambda: not c.shim and not c.keeper and not supervised(c))
    found = inspect(hf, c.name)[0]
    assert found["supervised"] is False and found["state"]["phase"] == "PHASE_EXITED"
    end = json_format.ParseDict(found["post_mortem"][0], v1.PostMortemRecord())
    assert end.exit.code == 3 and end.last_output == b"last words\n"
    assert end == json_format.ParseDict(found["post_mortem"][0], v1.PostMortemRecord())
    assert base64.b64decode(found["post_mortem"][0]["last_output"]) == b"last words\n"
    text = hf.ok("inspect", c.name).stdout
    assert re.search(r"last ends +run 1 .*the service failed: exit code 3; stays down", text), text
    assert re.search(r"last output +last words", text)
    assert "pid  " not in text


def test_inspect_a_dead_pair(hf):
    c = hf.start("--", hf.torture, "stamp")
    eventually(c.raw)
    keeper, shim = c.keeper, c.shim
    os.kill(keeper, signal.SIGSTOP)  # so that it revives nobody
    kill(shim, signal.SIGKILL)
    kill(keeper, signal.SIGKILL)
    eventually(lambda: not c.shim and not c.keeper and not supervised(c))
    text = hf.ok("inspect", c.name).stdout
    assert "nobody supervises it" in text
    assert inspect(hf, c.name)[0]["supervised"] is False
    assert [r["state"] for r in json.loads(hf.ok("ps", "--json").stdout)] == ["orphaned"]
    assert hf.ok("ps", "-q", "--filter", "status=orphaned").stdout.split() == [c.name]
    assert " started run 1" in hf.ok("events", c.name).stdout
    assert hf.ok("logs", c.name).stdout == hf("logs", "-f", c.name).stdout != ""


def test_output_of_a_container_is_escaped(hf):
    c = hf.start("--", "printf", r"\033[31mred\n\001\000end", service=False)
    c.wait_end()
    text = hf.ok("inspect", c.name).stdout
    assert r"\x1b[31mred" in text and r"\x01\x00end" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_inspect_several_and_one_unknown(hf):
    a = hf.start("--", hf.torture, "stamp")
    b = hf.start("--", hf.torture, "stamp")
    out = hf("inspect", "--json", a.name, "nobody", b.name)
    assert out.returncode == 1 and "nobody" in out.stderr
    assert [f["id"] for f in json.loads(out.stdout)] == [a.name, b.name]


# ---- ps

@pytest.mark.quick
def test_ps_json_and_filters(hf):
    up = hf.start("--label", "tier=web", "--", hf.torture, "stamp")
    down = hf.start("--", "sh", "-c", "exit 3", service=False)
    down.wait_end()
    rows = {r["id"]: r for r in json.loads(hf.ok("ps", "-a", "--json").stdout)}
    assert rows[up.name]["state"] == "running" and rows[up.name]["pid"] == up.service
    assert rows[up.name]["run"] == 1 and "last_exit" not in rows[up.name]
    assert rows[down.name]["state"] == "exited" and rows[down.name]["last_exit"]["code"] == 3
    assert rows[down.name]["pid"] == 0

    def ids(*filters):
        args = [x for f in filters for x in ("--filter", f)]
        return set(hf.ok("ps", "-q", *args).stdout.split())
    assert ids("status=running") == {up.name}
    assert ids("status=exited") == {down.name}
    assert ids("status=exited", "status=running") == {up.name, down.name}
    assert ids("exited=3") == {down.name} and ids("exited=4") == set()
    assert ids("label=tier") == {up.name} and ids("label=tier=db") == set()
    assert ids(f"name={up.name}") == {up.name}
    assert ids(f"name={up.name}", "status=exited") == set()
    assert hf.ok("ps", "--json", "--filter", "name=nobody").stdout == "[]\n"


@pytest.mark.quick
@pytest.mark.parametrize("value,word", [
    ("running", "KEY=VALUE"), ("status=up", "status"), ("status=", "KEY=VALUE"),
    ("exited=x", "exited"), ("exited=256", "256"), ("colour=red", "no such filter"),
    ("label==x", "label=KEY"),
])
def test_bad_filters(hf, value, word):
    out = hf("ps", "--filter", value)
    assert out.returncode == 64 and word in out.stderr and "--filter" in out.stderr


# ---- names

def test_ambiguous_ids_everywhere(hf):
    names = ["abcd00000001", "abcd00000002"]
    for name in names:
        hf.start("--", hf.torture, "stamp", name=name)
    for command in (["inspect"], ["events"], ["logs"], ["stop"], ["kill"], ["restart"], ["wait"],
                    ["rm", "-f"]):
        out = hf(*command, "abcd")
        assert out.returncode == 64, (command, out.returncode, out.stderr)
        assert len(out.stderr.splitlines()) == 1
        assert all(name in out.stderr for name in names) and '"abcd"' in out.stderr, out.stderr
        # with one that is meant, nothing is done either
        if command[0] in ("stop", "kill", "restart", "rm"):
            assert hf(*command, names[0], "abcd").returncode == 64
    assert set(hf.ok("ps", "-q").stdout.split()) == set(names)
    assert json.loads(hf.ok("inspect", "--json", "abcd00000001").stdout)[0]["id"] == names[0]


@pytest.mark.quick
def test_unknown_ids_everywhere(hf):
    for command in (["inspect"], ["events"], ["logs"]):
        out = hf(*command, "nobody")
        assert out.returncode == 1 and '"nobody"' in out.stderr and "ps -a" in out.stderr
        out = hf(*command)
        assert out.returncode == 64 and "which container" in out.stderr


def test_not_for_everybody(hf):
    c = hf.start("--", hf.torture, "stamp")
    os.chmod(hf.base, 0o755)
    for command in ("inspect", "events", "logs"):
        out = subprocess.run([TOOL, command, c.name], env=hf.env(), user=65534, group=65534,
                             extra_groups=[], capture_output=True, text=True, check=False)
        assert out.returncode == 1, out
        assert len(out.stderr.splitlines()) == 1 and "root" in out.stderr, out.stderr


# ---- logs

def stamp(usec):
    return f"@{usec // 1000000}.{usec % 1000000:06d}"


def test_logs_by_time(hf, tmp_path):
    c = hf.start("--volume", f"{tmp_path}:/v", "--", "sh", "-c",
                 "for x in one two three; do until test -e /v/$x; do sleep 0.01; done; echo $x; done", service=False)
    for word in ("one", "two", "three"):  # each has a time of its own: that at which it was taken
        (tmp_path / word).touch()
        c.wait_line(word)
        time.sleep(0.1)
    c.wait_end()
    out = hf.ok("logs", "-t", c.name).stdout.splitlines()
    assert [line.split()[1] for line in out] == ["one", "two", "three"]
    second = out[1].split()[0]
    assert hf.ok("logs", "--since", second, c.name).stdout == "two\nthree\n"
    assert hf.ok("logs", "--until", second, c.name).stdout == "one\ntwo\n"
    assert hf.ok("logs", "--since", second, "--until", second, c.name).stdout == "two\n"
    assert hf.ok("logs", "--since", "1h", c.name).stdout == "one\ntwo\nthree\n"
    assert hf.ok("logs", "--since", second, "-n", "1", c.name).stdout == "three\n"
    assert hf.ok("logs", "--until", "1h", c.name).stdout == ""


@pytest.mark.quick
def test_logs_of_several(hf):
    one = hf.start("--", "sh", "-c", "echo a; echo b; echo c; echo e >&2; printf tail", service=False)
    two = hf.start("--", "sh", "-c", "echo x; echo y; exec sleep 1000")
    one.wait_end()
    two.wait_line("y")
    here, there = f"{one.name} | ", f"{two.name} | "
    out = hf.ok("logs", "-n", "2", two.name, one.name)
    assert out.stdout == f"{there}x\n{there}y\n{here}tail\n" and out.stderr == f"{here}e\n"
    assert hf.ok("logs", one.name).stdout == "a\nb\nc\ntail"  # of one alone, its bytes
    times = hf.ok("logs", "-t", "--stream", "stdout", one.name, two.name).stdout.splitlines()
    assert [re.sub(r"\| \S+Z ", "| ", x) for x in times] == [
        here + x for x in ("a", "b", "c", "tail")] + [there + x for x in "xy"]
    assert hf.ok("logs", one.name, one.name).stdout == "a\nb\nc\ntail"  # once, and alone
    assert hf.ok("logs", "-n", "2", two.name, one.name, two.name).stdout == f"{there}x\n{there}y\n{here}tail\n"
    out = hf("logs", one.name, "nobody")
    assert (out.returncode, out.stdout) == (1, "") and '"nobody"' in out.stderr
    both = hf.popen("logs", "-f", one.name, two.name)
    seen = [both.stdout.readline() for _ in range(6)]  # in any order: each has a process
    assert sorted(seen) == sorted([here + x + "\n" for x in ("a", "b", "c", "tail")] +
                                  [there + x + "\n" for x in "xy"])
    two.stop("-t", "0")
    out, err = both.communicate(timeout=20)
    assert (both.returncode, out, err) == (0, "", f"{here}e\n")


@pytest.mark.quick
@pytest.mark.parametrize("count", [1, 2])
def test_logs_end_with_their_reader(hf, count):
    """At once: nobody writes a line more."""
    cs = [hf.start("--", "sh", "-c", "echo a; echo b >&2; exec sleep 1000") for _ in range(count)]
    for c in cs:
        c.wait_line("b", stream="stderr")
    for args, stream in ((("-f",), "stdout"), (("-f", "--stream", "stderr"), "stderr")):
        tool = hf.popen("logs", *args, *(c.name for c in cs))
        pipe = getattr(tool, stream)
        for _ in range(count):
            assert pipe.readline()
        assert tool.poll() is None
        pipe.close()
        assert tool.wait(5) == -signal.SIGPIPE
        for f in (tool.stdout, tool.stderr):
            f.close()
    for c in cs:
        c.stop("-t", "0")


@pytest.mark.quick
@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("value", ["", "10", "soon", "@", "@x", "2026-01-32", "2026-01-01T25:00"])
def test_bad_times(hf, option, value):
    out = hf("logs", option, value, "x")
    assert out.returncode == 64 and option in out.stderr and f'"{value}"' in out.stderr
    assert "10m" in out.stderr


def test_tail_is_exact_over_segments(hf):
    c = hf.start("--log-max-size", "64K", "--log-max-files", "8", "--", "sh", "-c",
                 "i=0; while [ $i -lt 20000 ]; do echo line $i; "
                 "[ $((i % 3)) = 0 ] && echo err $i >&2; i=$((i+1)); done", service=False)
    c.wait_end()
    both = subprocess.run([TOOL, "logs", c.name], env=hf.env(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=True).stdout.splitlines()
    for n in (0, 1, 5, 999):
        out = subprocess.run([TOOL, "logs", "-n", str(n), c.name], env=hf.env(),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             check=True).stdout.splitlines()
        assert out == (both[-n:] if n else [])
        one = hf.ok("logs", "-n", str(n), "--stream", "stderr", c.name).stderr.splitlines()
        assert one == ([f"err {i}" for i in range(0, 20000, 3)][-n:] if n else [])


# ---- Logs of the API

def logs_stream(api, **request):
    stream = api.begin("Logs", v1.LogsRequest(**request), 1)
    while True:
        _, kind, flags, payload = api.frame_of(stream)
        if kind == 2:
            status = ttrpc.Response.FromString(payload).status
            if status.code:
                raise Refused(status)
            return
        yield v1.LogsResponse.FromString(payload)


@pytest.mark.quick
def test_api_logs(hf):
    c = hf.start("--", "sh", "-c", "seq 20000; echo oops >&2; sleep 1000")
    c.wait_line("oops", stream="stderr")
    want = "".join(f"{n}\n" for n in range(1, 20001)).encode()
    with Api(c) as api:
        eventually(lambda: b"".join(m.data for m in logs_stream(api, stream=1)) == want)
        at = 0
        for m in logs_stream(api, stream=v1.STREAM_STDOUT):
            assert m.offset == at and m.stream == v1.STREAM_STDOUT and m.run == 1
            assert abs(m.time_usec / 1e6 - time.time()) < 60
            at += len(m.data)
        assert b"".join(m.data for m in logs_stream(api, stream=2)) == b"oops\n"
        assert b"".join(m.data for m in logs_stream(api, stream=1, tail_lines=3)) == \
            b"19998\n19999\n20000\n"
        assert list(logs_stream(api, since_time_usec=int((time.time() + 60) * 1e6))) == []
        for bad, word in ((dict(tail_lines=10001), "10001"), (dict(stream=7), "7")):
            with pytest.raises(Refused) as e:
                list(logs_stream(api, **bad))
            assert e.value.code == 3 and word in e.value.message


def test_api_logs_follow_over_dead_shims(hf):
    c = hf.start("--", "/bin/sh", "-c", f"{hf.torture} lines 400 5000; exec sleep 1000")
    data, frames = b"", 0
    with Api(c, timeout=60) as api:
        for m in logs_stream(api, follow=True, stream=1):
            assert m.offset <= len(data), "nothing is missing"
            assert m.data.startswith(data[m.offset:]), "what comes again is the same"
            data = data[:m.offset] + m.data
            frames += 1
            if frames % 30 == 15:
                shim = eventually(lambda: c.shim)
                kill(shim, signal.SIGKILL)
                eventually(lambda shim=shim: c.shim not in (None, shim))
            if len(data.splitlines()) >= 400 and data.endswith(b"\n"):
                break
    assert frames > 20
    with open(os.path.join(c.log_dir, "stdout-" + "0" * 20 + ".raw"), "rb") as f:
        assert f.read() == data


def test_api_logs_end_with_the_container(hf, tmp_path):
    os.mkfifo(tmp_path / "go")
    c = hf.start("--volume", f"{tmp_path}:/v", "--", "sh", "-c", "echo hello; read go </v/go; echo bye")
    c.wait_line("hello")
    with Api(c) as api:
        data = b""
        for m in logs_stream(api, follow=True):
            data += m.data
            if data == b"hello\n":
                (tmp_path / "go").write_text("\n", encoding="utf-8")
        assert data == b"hello\nbye\n"


def test_api_logs_are_bounded(hf):
    c = hf.start("--", hf.torture, "stamp")
    with Api(c) as api:
        streams = [api.begin("Logs", v1.LogsRequest(follow=True), 1) for _ in range(17)]
        assert api.response(streams[-1]).status.code == 8
        assert api.call("GetInfo").id == c.name
    with Api(c) as api:  # they are free again
        eventually(lambda: list(logs_stream(api)))
