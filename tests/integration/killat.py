"""A program of ours that is killed at one of its system calls: in a libexec directory of its own stands
tests/helpers/killat in its place, which runs the real one under strace's injection, once."""

import contextlib
import os
import shutil
import subprocess

from rig import STAGE, eventually, status_field

REAL = os.path.join(STAGE, "usr/libexec/holdfast")


class StandIn:
    """where: the directory, to be made. program: the one that is killed."""

    def __init__(self, where, program):
        self.where, self.program = where, program
        where.mkdir()
        for name in os.listdir(REAL):
            shutil.copy(os.path.join(REAL, name), where / name)
        os.unlink(where / program)
        shutil.copy(os.path.join(os.path.dirname(os.environ["HOLDFAST_TORTURE"]), "killat"), where / program)

    def env(self, flag, inject, out="/dev/null"):
        """For the tool. flag: made by the one that is to be killed; those after it are left alone."""
        return dict(HOLDFAST_LIBEXEC_DIR=str(self.where),
                    HOLDFAST_TEST_KILLAT=f"{flag} {REAL}/{self.program} {out} {inject}")


@contextlib.contextmanager
def injected(pid, call, what):
    """What strace does to a process's calls (its first thread's), while this lasts."""
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={call}",
                               "-e", f"inject={call}:{what}"])
    try:
        eventually(lambda: status_field(pid, "TracerPid") != "0", 10, "traced")
        yield
    finally:
        tracer.terminate()
        tracer.wait(20)


def killed_at(pid, call, when):
    return injected(pid, call, f"signal=SIGKILL:when={when}")
