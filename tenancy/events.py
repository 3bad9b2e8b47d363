"""What the tenant wall tells the floors above it."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OrganizationCreated:
    """An organization row was written; satellites of higher floors are created in the same transaction."""

    organization_id: UUID


@dataclass(frozen=True, slots=True)
class OrganizationDeleting:
    """An organization is about to go with all it has; without `force`, a subscriber may refuse by raising Conflict."""

    organization_id: UUID
    force: bool
