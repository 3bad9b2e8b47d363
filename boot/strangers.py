"""Keys that nobody knows, and how often one address may come with them.

Invariant: a key that is known is answered as ever, whatever else comes from its address, behind which a house full of
machines may be; so this is asked only when a key has turned out to be unknown. It spares the log and shows in the
metrics; what keeps keys from being guessed is their length.
"""

from boot.messages import FORBIDDEN, BootResponse, too_many
from core import rates
from core.net import source_of

# In any minute, counted by each process in a bounded memory.
LIMIT = rates.per_seconds(60, 60)


def refusal_of(client: str | None) -> BootResponse:
    """Return the answer to an unknown key from an address, and count it."""
    wait = rates.wait_here(LIMIT, "boot-stranger", source_of(client))
    return too_many(wait) if wait else FORBIDDEN
