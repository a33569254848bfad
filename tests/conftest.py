"""What holds for all tests, wherever they are run.

Hypothesis waits as long as it takes, since a busy machine is not the code's fault. Ctrl-C interrupts what the tests
start also where a shell has started them in the background, and with that ignored SIGINT.

Every run says at its top which implementation of the codec it tries.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

from bokbok._native import description

settings.register_profile("brief", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=15)
settings.register_profile("bokbok", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bokbok")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"codec: {description()}"
