"""Quotas come back when an hour ends: who counts calls must not do so across that moment."""

import time


def stay_in_this_hour(seconds: float) -> None:
    """Wait for the next hour if this one has fewer seconds left than are needed."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 0.1)
