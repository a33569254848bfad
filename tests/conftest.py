"""What holds for all tests: Hypothesis waits as long as it takes, since a busy machine is no fault of the code."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("bokbok", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bokbok")
