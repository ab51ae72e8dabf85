"""A service whose every run is told how to end, and what must be said of each of them."""

import json
import os
import signal

import journal
from rig import alive, cmdline, eventually, kill, pids, read

KILLED = -signal.SIGKILL

# A run asks what it is to do; nobody but the run of that number can be told.
SERVICE = 'read n < /v/n; n=$((n + 1)); echo $n > /v/n; read what < /v/$n; eval "$what"'


class Expected:
    """What must be said of a run. noticed: how many OOM kills that its service survived; kills: how many
    the kernel counts."""

    def __init__(self, status, cause, by="", oom=False, noticed=(0,), kills=None):
        self.status, self.cause, self.by, self.oom, self.noticed = status, cause, by, oom, noticed
        self.kills = int(oom) if kills is None else kills

    def wrong(self, exit_, noticed, post_mortem):
        """How what is said differs; empty if it is right."""
        found, kills = [], post_mortem.get("memory_oom_kill", 0)
        status = -exit_["signal"] if exit_.get("signal") else exit_.get("code", 0)
        if status != self.status or bool(exit_.get("oom")) != self.oom:
            found.append(f"ended with {status}, oom {exit_.get('oom')}")
        if not post_mortem["cause"].startswith(self.cause) or post_mortem["by"] != self.by:
            found.append(f"cause: {post_mortem['cause']!r} by {post_mortem['by']!r}")
        if post_mortem["exit"] != exit_:
            found.append(f"post-mortem: {post_mortem['exit']}, journal: {exit_}")
        if noticed not in self.noticed:
            found.append(f"{noticed} OOM kills that the service survived")
        if "memory_oom_kill" in post_mortem.get("available", ()) and kills != self.kills:
            found.append(f"{kills} kills by the kernel")
        return found and f"{', '.join(found)}; expected {vars(self)}"


SOMEBODY = Expected(KILLED, "somebody killed the service: killed by SIGKILL")


def fails(code, **more):
    return Expected(code, f"the service failed: exit code {code}", **more)


class Driver:
    """Tells each run what to do, and collects what is said of it while it is there."""

    def __init__(self, hf, place, *options):
        self.hf, self.place, self.runs = hf, place, 0
        self.told, self.since, self.expected, self.post_mortems = [], [], {}, {}
        (place / "n").write_text("0\n")
        self.fifo("1")
        self.c = hf.start("--restart", "always", "--restart-delay", "0", *options, "--volume",
                          f"{place}:/v", "--", "/bin/sh", "-c", SERVICE, service=False)

    def fifo(self, name):
        os.mkfifo(self.place / str(name))

    def say(self, name, what):
        """Once somebody reads there."""
        def opened():
            try:
                return os.open(self.place / str(name), os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return None
        fd = eventually(opened, 20, f"a reader of {name}")
        os.write(fd, what.encode() + b"\n")
        os.close(fd)
        os.unlink(self.place / str(name))

    def step(self, kind, *args):
        """The next run is one of that kind: a function that has it told what to do, sees to it, and
        returns what must be said. None may follow it before its number's pipe is there."""
        self.runs += 1
        run = self.runs
        eventually(lambda: read(self.place / "n").strip() == str(run), 30, f"run {run}")
        self.fifo(run + 1)
        self.expected[run] = kind(run, *args)
        eventually(lambda: self.over(run), 30, f"the end of run {run}, {kind.__name__} {args}")

    def look(self):
        """All events, with those that are new since the last look."""
        out = self.hf.ok("events", "--json", *self.since, self.c.name).stdout.splitlines()
        self.told += [json.loads(x) for x in out]
        if self.told:
            self.since = ["--since", self.told[-1]["cursor"]]
        return self.told

    def seen(self, kind, run):
        return [e for e in self.told if e["type"] == kind and e["run"] == run]

    def over(self, run):
        self.look()
        return self.seen("EVENT_EXITED", run)

    def noticed(self, run):
        self.look()
        return self.seen("EVENT_OOM", run)

    def collect(self, run):
        """The post-mortems that are kept, of sixteen runs; once that of this run is there."""
        def there():
            rows = json.loads(self.hf.ok("inspect", "--json", self.c.name).stdout)[0]
            for p in rows.get("post_mortem", []):
                self.post_mortems[p["exit"]["run"]] = p
            return run in self.post_mortems
        eventually(there, 10, f"the post-mortem of run {run}")

    def kills(self, run):
        """How many the kernel counted in a run that is over."""
        self.collect(run)
        return self.post_mortems[run].get("memory_oom_kill", 0)

    def stop(self):
        self.c.stop("-t", "0")
        self.look()

    def wrong(self):
        """Every run of which something else is said than is right, or not exactly once."""
        found = []
        for run, expected in self.expected.items():
            ends = self.seen("EVENT_EXITED", run)
            text = expected.wrong(ends[0]["exit"], len(self.seen("EVENT_OOM", run)),
                                  self.post_mortems[run]) if len(ends) == 1 else f"{len(ends)} exits"
            found += [f"run {run}: {text}"] if text else []
        said = [(r.run, r.exit()) for r in journal.read(self.c.state_dir)
                if r.kind == journal.EXITED][:self.runs]
        if said != [(run, e.status) for run, e in self.expected.items()]:
            found.append(f"journal: {said}")
        return found

    # kinds of runs that need no memory

    def exits(self, run):
        self.say(run, f"exit {run % 200 + 1}")
        return fails(run % 200 + 1)

    def kills_itself(self, run):
        self.say(run, "kill -9 $$")
        return SOMEBODY

    def fill(self, run, mib):
        """A service that has used so much of its memory, and stays."""
        self.say(run, f"echo eats $n; exec {self.hf.torture} eat {mib}")
        eventually(lambda: self.c.lines()[-3:] == [f"eats {run}", "eating", f"ate {mib}"], 20,
                   f"run {run} with {mib} MiB")

    def is_killed(self, run, mib):
        self.fill(run, mib)
        argv = [self.hf.torture, "eat", str(mib)]
        kill(next(p for p in pids() if cmdline(p) == argv and alive(p)), signal.SIGKILL)
        return SOMEBODY
