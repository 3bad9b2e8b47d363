"""The first administrator, the demo organization, and what `manage.py provision` prints.

It only strings services of lower floors together; everything it does is idempotent.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from config_merge.models import Site, Template
from config_merge.services.sites import site_create
from config_merge.services.templates import template_create
from devices.queries import shared_secret_of
from tenancy import services
from tenancy.api_keys import api_key_create
from tenancy.models import Organization, Role, User

DEMO_SLUG = "demo"
DEMO_TEMPLATE = "Site defaults"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first start made; `password` is known to nobody else, and `generated` says we chose it."""

    username: str
    password: str
    generated: bool
    organization: str
    shared_secret: str


@transaction.atomic
def first_run(password: str | None) -> FirstRun | None:
    """Make the first administrator and the demo organization when there is no user yet, else return None."""
    if User.objects.exists():
        return None
    chosen = password or secrets.token_urlsafe(12)
    admin = services.user_create(username="admin", password=chosen, is_staff=True, is_superuser=True)
    organization = Organization.objects.filter(slug=DEMO_SLUG).first()
    if organization is None:
        organization = services.organization_create(slug=DEMO_SLUG, name="Demo")
    services.membership_set(user=admin, organization=organization, role=Role.OWNER)
    _demo_template(organization)
    return FirstRun(
        username=admin.username,
        password=chosen,
        generated=not password,
        organization=organization.slug,
        shared_secret=shared_secret_of(organization.slug),
    )


def _demo_template(organization: Organization) -> None:
    """Give the demo organization one default template, so that the first device has something to apply."""
    if Template.objects.filter(organization=organization).exists():
        return
    template_create(
        organization=organization,
        name=DEMO_TEMPLATE,
        default=True,
        notes="Every device of the demo organization gets this. Edit it and watch the devices follow.",
        default_values={"timezone": "UTC"},
        config={"general": {"timezone": "{{ timezone }}"}},
    )


@transaction.atomic
def provision(
    *,
    slug: str,
    name: str,
    username: str,
    password: str,
    role: str,
    api_key: bool = False,
    site: str = "",
) -> dict[str, Any]:
    """Make sure organization and user exist; returns the JSON object scripts rely on. Raises ValidationError.

    With `api_key`, the user gets one more key to the organization; `site` names a site that shall exist.
    """
    if api_key and not username:
        raise ValidationError("An API key needs a user.")
    organization, user, token = services.provision(
        slug=slug, name=name, username=username, password=password, role=role
    )
    printed: dict[str, Any] = {
        "organization": {
            "id": str(organization.pk),
            "slug": organization.slug,
            "name": organization.name,
            "shared_secret": shared_secret_of(organization.slug),
        }
    }
    if user is not None:
        printed["user"] = {"id": str(user.pk), "username": user.username, "token": token}
        if api_key:
            _, text = api_key_create(by=user, user=user, organization=organization, name="provision")
            printed["api_key"] = text
    if site:
        found = Site.objects.filter(organization=organization, name=site).first()
        row = found or site_create(organization=organization, name=site)
        printed["site"] = {"id": str(row.number), "name": row.name}
    return printed
