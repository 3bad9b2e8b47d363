"""Relations in request bodies: only what the user may use exists; everything else is an invalid pk (400)."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.fields import empty

from tenancy.api.permissions import action_of
from tenancy.models import Organization
from tenancy.queries import organization_ids_where


class KeyRelatedField(serializers.PrimaryKeyRelatedField):
    """A related object named by its id; a list or an object is none (400), however deeply it nests."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the object. Raises ValidationError."""
        if isinstance(data, list | dict):
            self.fail("incorrect_type", data_type=type(data).__name__)
        return super().to_internal_value(data)


class OrganizationField(KeyRelatedField):
    """The organization an object belongs to, among those where the user's role may write it.

    With `shared`, superusers may leave it empty: the object is then shared by all organizations.
    """

    def __init__(self, *, shared: bool = False, **kwargs: Any) -> None:
        if not kwargs.get("read_only"):
            kwargs.setdefault("queryset", Organization.objects.all())
        if shared:
            kwargs |= {"required": False, "allow_null": True}
        self.shared = shared
        super().__init__(**kwargs)

    def get_queryset(self) -> QuerySet[Organization]:
        """Return the organizations the caller may choose."""
        request = self.context["request"]
        if request.user.is_superuser:
            return Organization.objects.all()
        model = self.parent.Meta.model  # type: ignore[union-attr, attr-defined]
        allowed = organization_ids_where(request.user, action_of(request.method), model)
        return Organization.objects.filter(pk__in=list(allowed))

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Refuse a missing or empty organization to everyone but superusers."""
        if self.shared and not self.context["request"].user.is_superuser:
            if data is None:
                self.fail("null")
            if data is empty and not getattr(self.root, "partial", False):
                self.fail("required")
        return super().validate_empty_values(data)


class VisibleField(KeyRelatedField):
    """A related object among those `visible` (a `…_visible_to(user)` of the queries) gives the caller."""

    def __init__(self, *, visible: Any = None, **kwargs: Any) -> None:
        self.visible = visible
        super().__init__(**kwargs)

    def get_queryset(self) -> QuerySet[Any]:
        """Return the objects the caller may name."""
        return self.visible(self.context["request"].user)
