"""The end of an organization: everything in it goes, so the floors above are asked first."""

from django.db import transaction

from core.db import locked
from core.events import publish
from tenancy import services
from tenancy.events import OrganizationDeleting
from tenancy.models import Organization


@transaction.atomic
def organization_remove(organization: Organization, *, force: bool = False) -> None:
    """Delete an organization with everything in it. Raises Conflict when a higher floor objects, unless `force`."""
    row = locked(Organization.objects.filter(pk=organization.pk)).get()
    publish(OrganizationDeleting(organization_id=row.pk, force=force))
    services.organization_delete(row)
