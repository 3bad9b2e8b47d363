"""What an organization's fleet has to say about the organization: its secret, and its end."""

import secrets

from django.db import transaction

from core.errors import Conflict
from devices import services
from devices.models import Device, FleetSettings
from tenancy import audit
from tenancy.events import OrganizationDeleting


@transaction.atomic
def secret_rotate(fleet: FleetSettings) -> str:
    """Replace the shared secret by a random one, which is returned; devices that are registered keep working."""
    secret = secrets.token_hex(16)
    services.fleet_settings_update(fleet, shared_secret=secret)
    return secret


def secret_revealed(fleet: FleetSettings) -> None:
    """Write down that somebody was shown the shared secret."""
    audit.record("secret.revealed", fleet, organization_id=fleet.pk)


def refuse_deletion_of_a_working_fleet(event: OrganizationDeleting) -> None:
    """Keep an organization whose devices are in use (subscriber). Raises Conflict."""
    active = Device.objects.filter(organization_id=event.organization_id, is_deactivated=False)
    if not event.force and (count := active.count()):
        noun = "device is" if count == 1 else "devices are"
        raise Conflict(f"{count} {noun} still active. Deactivate them first, or delete with ?force=true.")
