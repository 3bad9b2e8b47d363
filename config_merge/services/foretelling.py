"""What would become of many devices, in a word each: what a job's dry run says, without the diffs of a preview.

Invariant: the verdict is a preview's (`comparison.judged`), so the two cannot disagree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from config_merge.hiding import Secrecy
from config_merge.inputs import Standing
from config_merge.services.comparison import judged


@dataclass(frozen=True, slots=True)
class Foretold:
    """Why a device would not get a valid configuration, or whether the one it gets changes."""

    problem: str = ""
    is_changed: bool = False


class Foreteller:
    """Looks at devices of some organizations; no problem quotes a secret."""

    def __init__(self, organization_ids: Iterable[UUID]) -> None:
        self._secrecy = Secrecy()
        self._secrecy.learn(organization_ids)

    def foretold(self, now: Standing | None, then: Standing) -> Foretold:
        """Compare one device; `now` is None when it has no configuration yet."""
        found = judged(now, then)
        problem = self._secrecy.words(found.wanted, found.problem) if found.problem else ""
        return Foretold(problem, found.change is not None)
