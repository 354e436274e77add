"""What holds for all tests: no time limit per example, and failures that can be run again."""

from __future__ import annotations

import signal

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
