"""Folding the counters of lists together, now and then; they are exact at any moment without it."""

from django.db import connection

from config_merge import listing
from devices import listing as inventory

# More than this, as after a bulk import, is left to the next time.
MOST_ROUNDS = 20


def counts_merge() -> int:
    """Fold what was counted since the last time; returns how many rows that saved."""
    saved = 0
    for tally in (inventory.COUNTS, listing.COUNTS):
        for _ in range(MOST_ROUNDS):
            folded = tally.merge(connection)
            saved += folded
            if not folded:
                break
    return saved
