"""Every test runs with its own state and log directories, and leaves the host as it found it."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

import rig


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: also run on the clang build")
    config.addinivalue_line("markers", "cgroup: about controllers; also run where they are on v2")
    config.addinivalue_line("markers", "latency: has a bar in milliseconds; not emulated")
    config.addinivalue_line("markers", "slow: waits long, or for a screen; once in a run is enough")
    config.addinivalue_line("markers", "pagecache: fills memory with files; not where all are in it anyway")
    config.addinivalue_line("markers", "release: figures of the product; means nothing sanitized")


def pytest_sessionstart(session):
    # whoever started us in the background may have it ignored, and a child would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("HOLDFAST_STAGE", "HOLDFAST_TORTURE"):
        if not os.environ.get(name):
            pytest.exit(f"{name} is not set: use tests/run --only integration", 3)
    if not os.access(rig.TOOL, os.X_OK):
        pytest.exit(f"{rig.TOOL}: not there: use tests/run --only integration", 3)


@pytest.fixture(scope="session")
def place():
    """A directory that containers with the host's root can see, with the test service in it."""
    base = tempfile.mkdtemp(prefix="holdfast-tests-", dir="/var/tmp")
    os.chmod(base, 0o755)
    for name in ("torture", "stamp", "again", "httpd", "pressured"):
        path = os.path.join(base, name)
        shutil.copy(os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), name), path)
        os.chmod(path, 0o755)
    yield base
    shutil.rmtree(base, ignore_errors=True)


# All that the leak checker gets to say when the process is killed while it checks at its end.
HOLLOW = re.compile(r"(==\d+==Unable to get registers from thread \d+\.\n?|\s)*")


def _sanitizer_reports():
    """Called while none of our processes is left: nobody is still writing one."""
    where = rig.SANITIZER_LOGS
    names = set(os.listdir(where)) if where and os.path.isdir(where) else set()
    for name in sorted(names):
        path = os.path.join(where, name)
        if HOLLOW.fullmatch(rig.read(path, "")):
            os.unlink(path)
            names.discard(name)
    return names


@pytest.fixture(autouse=True)
def leaks(request, monkeypatch):
    """Leaks are looked for everywhere at full counts; at CI's share in the quick tests, a quarter of all and something
    of everything: the search takes longer than most of our processes live."""
    options = os.environ.get("ASAN_OPTIONS", "")
    if options and rig.SCALE < 10 and not request.node.get_closest_marker("quick"):
        monkeypatch.setenv("ASAN_OPTIONS", options.replace("detect_leaks=1", "detect_leaks=0"))


@pytest.fixture(autouse=True)
def host(leaks):
    before = rig.Host()
    reports = _sanitizer_reports()
    yield before
    left = before.as_before()
    assert not left, "the host is not as before:\n" + "\n".join(left)
    new = _sanitizer_reports() - reports
    texts = [rig.read(os.path.join(rig.SANITIZER_LOGS, n), "")[:3000] for n in sorted(new)]
    assert not new, "sanitizer reports:\n" + "\n".join(texts)


@pytest.fixture
def hf(host, place):
    base = tempfile.mkdtemp(prefix="t", dir=place)
    os.chmod(base, 0o755)
    tool = rig.Holdfast(base)
    yield tool
    wrong = []
    try:
        wrong += tool.remove_all()
        rig.eventually(lambda: not tool.files(), 5, "an empty state and log directory")
    except (rig.Late, subprocess.TimeoutExpired) as e:
        wrong.append(f"{e}; files left: {', '.join(tool.files())}")
    if wrong:
        wrong += tool.evidence()
        tool.force()
    shutil.rmtree(base, ignore_errors=True)
    assert not tool.daemon_reports, "\n".join(tool.daemon_reports)
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def rootfs(hf):
    """A root file system with busybox and the test service and nothing else."""
    root = os.path.join(hf.base, "rootfs")
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "root"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in ("sh", "cat", "ls", "id", "sleep", "echo", "mount", "touch", "hostname", "env"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    shutil.copy(hf.torture, os.path.join(root, "bin/torture"))
    with open(os.path.join(root, "etc/passwd"), "w", encoding="utf-8") as f:
        f.write("root:x:0:0::/root:/bin/sh\nalice:x:1234:1235::/:/bin/sh\n")
    with open(os.path.join(root, "etc/group"), "w", encoding="utf-8") as f:
        f.write("root:x:0:\nalice:x:1235:\nextra:x:2000:alice\n")
    return root


@pytest.fixture
def measured(capsys):
    """Prints a figure that tests/run shows."""
    def say(text):
        with capsys.disabled():
            print(f"\nmeasured: {text}")
    return say
