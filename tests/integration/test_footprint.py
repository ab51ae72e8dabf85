"""What a container costs beside its service."""

import pytest

from rig import eventually, private_kib, rss_kib

SHIM = 400  # kB


@pytest.mark.release
def test_memory_of_the_three(hf, measured):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    c.wait_line("")
    eventually(lambda: c.init and c.keeper and c.shim)
    start = private_kib(c.shim)
    settled = eventually(lambda: (n := private_kib(c.shim)) <= SHIM and n, what="a small shim")
    init, keeper, shim = rss_kib(c.init), rss_kib(c.keeper), settled
    measured(f"memory with the service running: init RSS {init} kB, keeper RSS {keeper} kB, "
             f"shim private {shim} kB, just started {start} kB (RSS {rss_kib(c.shim)} kB)")
    assert init <= 64
    assert keeper <= 48
