"""Django's registration of the tenant wall."""

from importlib import import_module

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Users, organizations, memberships, API tokens, notifications."""

    name = "tenancy"
    verbose_name = "Users and organizations"

    def ready(self) -> None:
        """Bring what needs the models, now that they can be imported."""
        import_module("tenancy.wiring")
        import_module("tenancy.sign_in.wiring")
