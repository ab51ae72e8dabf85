#!/usr/bin/python3
"""Builds, lints, unit tests, integration tests; and the one honest line at the end.

Every stage hands in its results as (id, outcome, text). A stage that breaks down by itself (does not
build, leaves no report, ends with a status that its results do not explain) is a failure of its own."""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
OUT = os.environ.get("HOLDFAST_BUILD_ROOT", os.path.join(ROOT, "build-tests"))
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# kind -> compiler, meson options, and which integration tests (a pytest -m expression; None:
# all, those with bars first and alone)
BUILDS = {
    "gcc": ("gcc", [], None),
    "clang": ("clang", [], "quick and not latency and not slow"),
    "sanitize": ("gcc", ["-Db_sanitize=address,undefined", "-Doptimization=1",
                         "-Db_lundef=false"], "not release and not latency and not slow"),
}
FUZZ_OPTIONS = ["-Dfuzz=true", "-Dtests=false", "-Dman=disabled", "-Doptimization=1",
                "-Db_sanitize=address,undefined", "-Db_lundef=false"]
FUZZ_SECONDS, FUZZ_SECONDS_EACH_MAX = 30, 600  # of all targets at scale 1; of each at any
# What else the gcc build is put through. Each: the suites, and which of their tests (pytest -m).
CRASH_SUITES = ("test_shim_death", "test_keeper_death", "test_crash_points", "test_crash_calls", "test_chaos",
                "test_verbs")
CGROUP_SUITES = ("test_cgroup", "test_oom", "test_restart", "test_policy", "test_launch",
                 "test_options_limits", "test_api_live", "test_figures", "test_rules", "test_pressure",
                 "test_oom_causes")
MASKED = {"HOLDFAST_KERNEL": "6.1"}  # everything newer is taken for absent
EMULATED = "not release and not latency and not pagecache"
LANES = {  # tests/vm/run -l: which tests of CGROUP_SUITES
    "qemu": f"{EMULATED} and not slow",
    "qemu-6.1": f"quick and {EMULATED} and not slow",
}
BARS = "latency or slow or release"  # what runs with nothing beside it
BESIDE = ("nice", "-n", "5")  # an emulator and a fuzzer never wait for anything but their CPU
WIDE = 10  # HOLDFAST_SCALE from which on each of them runs the most that it can
WIDE_SUITES = CGROUP_SUITES + ("test_keeper_death", "test_verbs")
INTEGRATION_TIMEOUT = 900  # seconds per build at scale 1; a hang is a failure, not a wait


class Results:
    def __init__(self):
        self.rows = []

    def add(self, test, outcome, text=""):
        self.rows.append((test, outcome, text))
        if outcome == FAILED:
            print(f"FAILED {test}", flush=True)
            for line in text.rstrip().split("\n")[-60:]:
                print(f"    {line}")
        elif outcome == SKIPPED:
            print(f"skipped {test}: {text}", flush=True)

    def failures(self):
        """(id, the line that says most) of each failure."""
        for test, outcome, text in self.rows:
            if outcome == FAILED:
                lines = [line.strip() for line in text.split("\n") if line.strip()]
                said = [line for line in lines if line.startswith("E ")] or lines or [""]
                yield test, said[0][:200]

    def count(self, outcome):
        return sum(1 for row in self.rows if row[1] == outcome)


BEGUN = time.monotonic()


def say(text):
    print(f"== {text} (at {time.monotonic() - BEGUN:.0f} s)", flush=True)


def scale():
    return max(1.0, float(os.environ.get("HOLDFAST_SCALE", "1")))


def suites(names):
    return [f"tests/integration/{name}.py" for name in names]


def run(argv, log=None, env=None, timeout=None, cwd=ROOT):
    """Exit status (124: timed out) and the output."""
    process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace",
                               env={**os.environ, **(env or {})})
    try:
        text, _ = process.communicate(timeout=timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        text, status = text + f"\ntimed out after {timeout} s\n", 124
    if log:
        with open(log, "w", encoding="utf-8") as f:
            f.write(text)
    return status, text


def junit(path, prefix):
    """(id, outcome, text) of every test case of a junit report."""
    for case in xml.parse(path).iter("testcase"):
        name = f"{prefix}:{case.get('classname') or ''}.{case.get('name')}"
        bad = [e for e in case if e.tag in ("failure", "error")]
        skip = case.find("skipped")
        if bad:
            text = "\n".join((e.get("message") or "") + "\n" + (e.text or "") for e in bad)
            yield name, FAILED, text
        elif skip is not None:
            yield name, SKIPPED, skip.get("message") or skip.text or ""
        else:
            yield name, PASSED, ""


def take_report(results, stage, path, status, text, meant=(0, 1), nothing=False):
    """A report's rows, and one failure more when they do not explain how the stage ended. nothing: a
    keyword may have left no test (pytest's status 5)."""
    rows = []
    try:
        rows = list(junit(path, stage))
    except (OSError, xml.ParseError) as e:
        results.add(f"{stage}:report", FAILED, f"{e}\n{text}")
        return
    for row in rows:
        results.add(*row)
    failed = any(row[1] == FAILED for row in rows)
    if not rows and nothing and status == 5:
        return
    if not rows:
        results.add(f"{stage}:report", FAILED, "no test ran\n" + text)
    elif status not in meant or (status != 0) != failed:
        results.add(f"{stage}:status", FAILED, f"ended with status {status}\n{text}")


class Build:
    def __init__(self, kind):
        self.kind = kind
        self.compiler, self.options, self.marker = BUILDS[kind]
        self.dir = os.path.join(OUT, kind)
        self.stage = os.path.join(self.dir, "stage")
        self.sanlogs = os.path.join(OUT, "sanitizer-logs")

    def make(self, results):
        say(f"build {self.kind}")
        again = ["--reconfigure"] if os.path.exists(os.path.join(self.dir, "build.ninja")) else []
        shutil.rmtree(self.stage, ignore_errors=True)
        steps = (
            ["meson", "setup", *again, self.dir, ROOT, "-Dman=enabled", *self.options],
            ["ninja", "-C", self.dir],
            ["meson", "install", "-C", self.dir, "--no-rebuild", "--quiet",
             "--destdir", self.stage],
        )
        for step in steps:
            status, text = run(step, env={"CC": self.compiler})
            if status != 0:
                results.add(f"build:{self.kind}", FAILED, " ".join(step) + "\n" + text)
                return False
        return True

    def env(self):
        env = {
            "HOLDFAST_STAGE": self.stage,
            "HOLDFAST_TORTURE": os.path.join(self.dir, "tests", "torture"),
            "HOLDFAST_KIND": self.kind,
        }
        if self.kind == "sanitize":
            os.makedirs(self.sanlogs, exist_ok=True)
            log = os.path.join(self.sanlogs, "report")
            env["HOLDFAST_SANITIZER_LOGS"] = self.sanlogs
            env["ASAN_OPTIONS"] = (f"log_path={log}:exitcode=99:abort_on_error=0:"
                                   "detect_leaks=1:detect_stack_use_after_return=1")
            env["UBSAN_OPTIONS"] = f"log_path={log}:halt_on_error=1:exitcode=99:print_stacktrace=1"
        return env

    def unit(self, results):
        say(f"unit tests, {self.kind}")
        report = os.path.join(self.dir, "meson-logs", "testlog.junit.xml")
        if os.path.exists(report):
            os.unlink(report)
        env = {k: v for k, v in self.env().items() if k not in ("ASAN_OPTIONS", "UBSAN_OPTIONS")}
        env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
        status, text = run(["meson", "test", "-C", self.dir, "--no-rebuild", "--print-errorlogs"],
                           env=env, timeout=600)
        take_report(results, f"unit-{self.kind}", report, status, text,
                    meant=range(0, 100))

    def pytest(self, results, stage, marker, keyword, paths=("tests/integration",), env=None,
               prefix=()):
        """Runs pytest, behind the prefix of a command, and takes its report as that stage's."""
        say(stage)
        report = os.path.join(OUT, f"{stage}.xml")
        if os.path.exists(report):
            os.unlink(report)
        argv = [*prefix, "/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q",
                "--tb=short", f"--junit-xml={report}", "-m", marker, *paths]
        if keyword:
            argv += ["-k", keyword]
        status, text = run(argv, log=os.path.join(OUT, f"{stage}.log"),
                           env={**self.env(), **(env or {})}, timeout=INTEGRATION_TIMEOUT * scale())
        for line in text.split("\n"):
            if line.startswith("measured: "):
                print(f"   {line}", flush=True)
        take_report(results, stage, report, status, text, nothing=bool(keyword))

    def integration(self, results, keyword):
        shutil.rmtree(self.sanlogs, ignore_errors=True)
        marker = f"not ({BARS})" if self.marker is None else self.marker
        self.pytest(results, f"integration-{self.kind}", marker, keyword)
        self.sanitizer_reports(results)

    def bars(self, results, keyword):
        self.pytest(results, f"integration-{self.kind}-bars", BARS, keyword)

    def masked(self, results, keyword):
        """The suites of crashes and sockets as on the oldest supported kernel, at half the counts."""
        self.pytest(results, "integration-masked", "", keyword, suites(CRASH_SUITES),
                    env={**MASKED, "HOLDFAST_SCALE": str(scale() / 2)})

    def vm(self, results, keyword):
        """On other kernels, with nothing but cgroup v2; and the tool itself that boots them."""
        wide = scale() >= WIDE
        for lane, marker in LANES.items():
            stage = "integration-vm" + lane[len("qemu"):]
            limit = INTEGRATION_TIMEOUT * scale() - 30  # before the runner's own
            prefix = (*BESIDE, os.path.join(HERE, "vm", "run"), "-l", lane, "-t", f"{limit:.0f}", "-w", OUT)
            self.pytest(results, stage, EMULATED if wide else marker, keyword,
                        suites(WIDE_SUITES if wide else CGROUP_SUITES),
                        env={"HOLDFAST_LANE": lane}, prefix=prefix)
        self.pytest(results, "vm-lane", "", keyword, ["tests/vm"], prefix=BESIDE)

    def sanitizer_reports(self, results):
        """Daemons report into files; a report that no test owned up to still fails the run."""
        if not os.path.isdir(self.sanlogs):
            return
        for name in sorted(os.listdir(self.sanlogs)):
            with open(os.path.join(self.sanlogs, name), encoding="utf-8", errors="replace") as f:
                results.add(f"sanitizer-report:{name}", FAILED, f.read()[:4000])


def lints(results):
    say("lints")
    folder = os.path.join(HERE, "lint")
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".py") or name == "lint.py":
            continue
        for what, argument in (("tree", []), ("self-test", ["--self-test"])):
            status, text = run(["/usr/bin/python3", os.path.join(folder, name), *argument],
                               timeout=300)
            results.add(f"lint:{name[:-3]}.{what}", PASSED if status == 0 else FAILED, text)


def fuzz_target(results, name, seconds):
    """One target, from its seeds, what is kept of earlier runs (fuzz/keep) and what runs here have found,
    in a directory of its own."""
    found = os.path.join(OUT, "fuzz-corpus", name)
    failures = os.path.join(OUT, "fuzz-failures", name)
    seeds = os.path.join(HERE, "fuzz", "corpus", name)
    for folder in (found, failures):
        os.makedirs(folder, exist_ok=True)
    argv = [os.path.join(OUT, "fuzz", "tests", "fuzz", f"fuzz_{name}"), f"-max_total_time={seconds}",
            "-timeout=5", "-rss_limit_mb=1024", "-max_len=8192", "-close_fd_mask=2",
            "-print_final_stats=1", f"-artifact_prefix={failures}/"]
    if os.path.exists(seeds + ".dict"):
        argv.append(f"-dict={seeds}.dict")
    memory = {"dir": "/dev/shm", "prefix": "holdfast-fuzz."}
    with tempfile.TemporaryDirectory(**memory) as where, tempfile.TemporaryDirectory(**memory) as kept:
        if os.path.exists(seeds + ".zip"):
            shutil.unpack_archive(seeds + ".zip", kept)
        status, text = run([*BESIDE, *argv, found, seeds, kept], log=os.path.join(OUT, f"fuzz-{name}.log"),
                           env={"UBSAN_OPTIONS": "print_stacktrace=1"}, timeout=seconds + 120,
                           cwd=where)
    units = re.search(r"number_of_executed_units: (\d+)", text)
    print(f"   {name}: {units.group(1) if units else 'no'} inputs in {seconds} s", flush=True)
    ran = status == 0 and units and int(units.group(1)) > 100
    results.add(f"fuzz:{name}", PASSED if ran else FAILED, f"inputs: {failures}\n{text}")


def fuzz(results, _keyword=None):
    say("fuzz")
    start = time.monotonic()
    folder = os.path.join(OUT, "fuzz")
    again = ["--reconfigure"] if os.path.exists(os.path.join(folder, "build.ninja")) else []
    for step in (["meson", "setup", *again, folder, ROOT, *FUZZ_OPTIONS],
                 ["ninja", "-C", folder, "fuzz"]):
        status, text = run([*BESIDE, *step], env={"CC": "clang"})
        if status != 0:
            results.add("build:fuzz", FAILED, " ".join(step) + "\n" + text)
            return
    names = sorted(name[5:-2] for name in os.listdir(os.path.join(HERE, "fuzz"))
                   if fnmatch.fnmatch(name, "fuzz_*.c"))
    seconds = min(FUZZ_SECONDS_EACH_MAX, int(FUZZ_SECONDS * scale() / len(names)))
    for name in names:
        fuzz_target(results, name, seconds)
    say(f"fuzz: {time.monotonic() - start:.0f} s")


def bench(results):
    """That the benchmark runs, cleans up and prints its table; what it prints fails nobody."""
    say("bench, a quick one")
    out = os.path.join(OUT, "bench")
    shutil.rmtree(out, ignore_errors=True)
    status, text = run([os.path.join(HERE, "bench", "run"), "--quick", "--out", out],
                       log=os.path.join(OUT, "bench.log"), timeout=300)
    print("\n".join("   " + line for line in text.partition("\n\n")[2].split("\n")), flush=True)
    try:
        with open(os.path.join(out, "bench.md"), encoding="utf-8") as f:
            whole = f.read().count("| holdfast |") >= 5  # each of the five sections
    except OSError:
        whole = False
    results.add("bench:quick", PASSED if status == 0 and whole else FAILED, text)


def allowed_skips():
    with open(os.path.join(HERE, "skips.allow"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                pattern, _, feature = line.partition("=")
                yield pattern.strip(), feature.strip()


def forbidden_skips(results):
    allowed = list(allowed_skips())
    return [(test, text) for test, outcome, text in results.rows if outcome == SKIPPED and not any(
        fnmatch.fnmatch(test, pattern) and feature and feature in text
        for pattern, feature in allowed)]


def beside(results, name, stage, keyword):
    """What uses one CPU and has no bars: what comes next without bars runs beside it."""
    def body():
        try:
            stage(results, keyword)
        except Exception as e:
            results.add(name, FAILED, f"{e}")
    thread = threading.Thread(target=body)
    thread.start()
    return thread


def stages(results, only, keyword):
    everything = not only
    if everything or "lint" in only:
        lints(results)
    lanes = []
    fuzzed = not (everything or "fuzz" in only)
    for kind in BUILDS:
        extra = [name for name in ("vm", "masked") if kind == "gcc" and (everything or name in only)]
        wanted_unit = everything or "unit" in only or ("sanitize" in only and kind == "sanitize")
        wanted_integration = (everything or ("integration" in only and kind == "gcc")
                              or ("sanitize" in only and kind == "sanitize"))
        if not (wanted_unit or wanted_integration or extra):
            continue
        build = Build(kind)
        start = time.monotonic()
        if build.make(results):
            if wanted_unit and not keyword:
                build.unit(results)
            if wanted_integration and build.marker is None:
                build.bars(results, keyword)
            if "vm" in extra:
                lanes.append(beside(results, "vm", build.vm, keyword))
            if wanted_integration and kind == "sanitize" and not fuzzed:
                lanes.append(beside(results, "fuzz", fuzz, keyword))
                fuzzed = True
            if wanted_integration:
                build.integration(results, keyword)
            if "masked" in extra:
                build.masked(results, keyword)
        say(f"{kind}: {time.monotonic() - start:.0f} s")
    if not fuzzed:
        fuzz(results)
    for lane in lanes:
        lane.join()
    if everything or "bench" in only:
        bench(results)


def main():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--only", action="append", default=[],
                        choices=("lint", "unit", "integration", "masked", "vm", "sanitize",
                                 "fuzz", "bench"))
    parser.add_argument("--keyword", help="integration tests that match (pytest -k)")
    args = parser.parse_args()
    os.environ.setdefault("HOLDFAST_SCALE", "1")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.makedirs(OUT, exist_ok=True)
    results = Results()
    try:
        stages(results, args.only, args.keyword)
    except Exception as e:  # a broken runner must never look like a passed one
        import traceback
        results.add("runner", FAILED, f"{e}\n{traceback.format_exc()}")
    if not results.rows:
        results.add("runner", FAILED, "nothing ran")
    bad_skips = forbidden_skips(results)
    for test, text in bad_skips:
        print(f"not allowed to be skipped: {test}: {text}")
    for test, text in results.failures():  # again: a long log is read from its end
        print(f"failed: {test}: {text}")
    print(f"{results.count(PASSED)} passed, {results.count(FAILED)} failed, "
          f"{results.count(SKIPPED)} skipped")
    return 1 if results.count(FAILED) or bad_skips else 0


if __name__ == "__main__":
    sys.exit(main())
