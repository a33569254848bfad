"""Applies to all tests, wherever they run.

Hypothesis has no time limit, since a busy machine is not the code's fault. Ctrl-C interrupts programs that the tests
start, even if a shell has started the tests in the background, where it ignores SIGINT.

Every run says at its top which implementation of the codec it tests.
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
