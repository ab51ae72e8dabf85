"""What a container costs beside its service."""

import pytest

from rig import eventually, private_kib, rss_kib


@pytest.mark.release
def test_memory_of_the_three(hf, measured):
    c = hf.start("--restart", "always", "--", hf.torture, "stamp")
    c.wait_line("")
    eventually(lambda: c.init and c.keeper and c.shim)
    init, keeper, shim = rss_kib(c.init), rss_kib(c.keeper), private_kib(c.shim)
    measured(f"memory with the service running: init RSS {init} kB, keeper RSS {keeper} kB, "
             f"shim private {shim} kB (RSS {rss_kib(c.shim)} kB)")
    assert init <= 64
    assert keeper <= 48
    assert shim <= 400
