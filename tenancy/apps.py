"""Django's registration of the tenant wall."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Users, organizations, memberships, API tokens, notifications."""

    name = "tenancy"
    verbose_name = "Users and organizations"
