"""What holds for all tests: no time limit per example, and failures that can be run again.

No test runs with what another one left behind, or a shell: ignored signals, compiled models. In the
process of the tests nothing is synced with the disk; in the processes that they start everything is.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Machines that run the tests are shared: an example that takes long says nothing about the code.
settings.register_profile("unbroken", deadline=None, print_blob=True)
settings.load_profile("unbroken")

# A shell ignores SIGINT in background jobs, and nohup SIGHUP; processes that tests start inherit it,
# and would leave these signals ignored as they should.
for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_synced() -> None:
    """The process of the tests has to outlive no power cut; each sync takes a millisecond or many.

    That and where each is made is read from recorded calls, which are real ones; what follows when one
    fails is tried with a disk made for it.
    """
    # Here, since it imports torch: what hands out the tests to processes needs none.
    from unbroken.checkpoint import disk
    from unbroken.selftest.base import WithoutSyncs

    disk.system = WithoutSyncs()


@pytest.fixture(autouse=True)
def _nothing_stays_compiled() -> Iterator[None]:
    """Where something was compiled each later run asks who refers to its model: 0.1 s and more here."""
    yield
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if compiler is not None and getattr(compiler, "cached_backends", None):
        sys.modules["torch"].compiler.reset()
