"""What the command line may choose, as a value every benchmark takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`quick` shrinks everything to a smoke test whose figures mean nothing; `generator` is "wrk" or "python".

    `sqlite` is a migrated, empty database to work on a copy of: migrating takes longer than a quick run.
    """

    quick: bool = False
    database_url: str = ""
    redis_url: str = ""
    generator: str = ""
    sqlite: str = ""

    @property
    def seconds(self) -> float:
        """How long one run of load lasts (wrk rounds it up to whole seconds)."""
        return 0.2 if self.quick else 3.0

    def sized(self, full: int, quick: int) -> int:
        """The size for this run."""
        return quick if self.quick else full
