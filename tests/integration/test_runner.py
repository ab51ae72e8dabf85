"""tests/run can fail: what does not add up is a failure, and never a silent pass."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import runner  # noqa: E402

GOOD = '<testsuite><testcase classname="a" name="ok"/></testsuite>'
BAD = ('<testsuite><testcase classname="a" name="ok"/><testcase classname="a" name="bad">'
       '<failure message="no"/></testcase></testsuite>')
SKIP = ('<testsuite><testcase classname="a" name="s"><skipped message="no PSI here"/></testcase>'
        '</testsuite>')


def outcome(tmp_path, report, status):
    results = runner.Results()
    path = tmp_path / "report.xml"
    if report is not None:
        path.write_text(report)
    runner.take_report(results, "x", str(path), status, "output")
    return tuple(results.count(o) for o in (runner.PASSED, runner.FAILED, runner.SKIPPED))


@pytest.mark.parametrize("report,status,wanted", [
    (GOOD, 0, (1, 0, 0)),
    (BAD, 1, (1, 1, 0)),
    (SKIP, 0, (0, 0, 1)),
    (GOOD, 1, (1, 1, 0)),  # failed, but no test says so
    (GOOD, 139, (1, 1, 0)),  # crashed at the end
    (GOOD, 124, (1, 1, 0)),  # hung at the end
    (GOOD, 125, (1, 1, 0)),  # the machine that it ran on died at the end
    (BAD, 0, (1, 2, 0)),  # a test failed, but the stage claims success
    (BAD, 3, (1, 2, 0)),  # broke down after a failure
    (None, 0, (0, 1, 0)),  # no report
    ("", 0, (0, 1, 0)),
    (GOOD[:20], 0, (0, 1, 0)),  # torn
    ("<testsuite/>", 0, (0, 1, 0)),  # nothing ran
])
def test_what_does_not_add_up_fails(tmp_path, report, status, wanted):
    assert outcome(tmp_path, report, status) == wanted


def test_a_keyword_may_leave_no_test_of_a_stage(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text("<testsuite/>")
    for nothing, status, wanted in ((True, 5, []), (True, 0, ["x:report"]), (False, 5, ["x:report"]),
                                    (True, 125, ["x:report"])):
        results = runner.Results()
        runner.take_report(results, "x", str(path), status, "output", nothing=nothing)
        assert [r[0] for r in results.rows if r[1] == runner.FAILED] == wanted


@pytest.mark.parametrize("lane,wanted", [  # what tests/vm/run does, and what becomes of it
    ("exit 125", (0, 1, 0)),  # no machine, no report
    ("exit 0", (0, 1, 0)),  # claims success without a report
    ("cp {report}/good.xml {out}; exit 0", (1, 0, 0)),
    ("cp {report}/good.xml {out}; exit 124", (1, 1, 0)),
])
def test_a_stage_behind_a_command_that_breaks_down(tmp_path, monkeypatch, lane, wanted):
    (tmp_path / "good.xml").write_text(GOOD)
    (tmp_path / "lane").write_text("#!/bin/sh\n" + lane.format(report=tmp_path,
                                                             out=tmp_path / "x.xml") + "\n")
    (tmp_path / "lane").chmod(0o755)
    (tmp_path / "x.xml").write_text(GOOD)  # of an earlier run
    monkeypatch.setattr(runner, "OUT", str(tmp_path))
    results = runner.Results()
    runner.Build("gcc").pytest(results, "x", "", None, prefix=[str(tmp_path / "lane")])
    assert tuple(results.count(o) for o in (runner.PASSED, runner.FAILED, runner.SKIPPED)) == wanted


def test_skips_need_a_line_in_the_list(tmp_path, monkeypatch):
    results = runner.Results()
    results.add("unit:a.s", runner.SKIPPED, "no PSI here")
    (tmp_path / "skips.allow").write_text("# c\nunit:a.* = PSI\n")
    monkeypatch.setattr(runner, "HERE", str(tmp_path))
    assert runner.forbidden_skips(results) == []
    results.add("unit:b.s", runner.SKIPPED, "no PSI here")
    results.add("unit:a.t", runner.SKIPPED, "no mood")
    assert [t for t, _ in runner.forbidden_skips(results)] == ["unit:b.s", "unit:a.t"]


def test_a_broken_runner_fails(tmp_path):
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import runner; "
            "runner.lints = lambda results: 1 / 0; sys.argv = ['run', '--only', 'lint']; "
            "sys.exit(runner.main())")
    out = subprocess.run(["/usr/bin/python3", "-B", "-c", code, os.path.dirname(runner.__file__)],
                         env={**os.environ, "HOLDFAST_BUILD_ROOT": str(tmp_path)}, text=True,
                         capture_output=True)
    assert out.returncode == 1
    assert out.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"
