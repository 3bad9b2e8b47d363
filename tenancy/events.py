"""What the tenant wall tells the floors above it."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OrganizationCreated:
    """An organization row was written; satellites of higher floors are created in the same transaction."""

    organization_id: UUID
