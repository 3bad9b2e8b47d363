"""People, memberships and roles as JSON: parsing and printing, nothing else."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenancy.api.fields import OrganizationField, VisibleField
from tenancy.authority import may_read_account, people_visible_to, shown_memberships
from tenancy.models import ApiToken, Membership, Role, User
from tenancy.policy import RANK

# Ids of the roles where OpenWISP has groups: the strongest is 1, for good.
GROUP_IDS = {role: number for number, role in enumerate(sorted(RANK, key=RANK.__getitem__, reverse=True), 1)}
ADMINS = (Role.OWNER, Role.MANAGER)


class RoleGroupSerializer(serializers.Serializer[Any]):
    """A role, in the shape of a group of permissions."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    permissions = serializers.ListField(child=serializers.CharField())


class OrganizationUserSerializer(serializers.ModelSerializer[Membership]):
    """A membership on the page of its person."""

    is_admin = serializers.SerializerMethodField()

    class Meta:
        model = Membership
        fields = ("is_admin", "organization", "id", "role", "can_reveal")

    def get_is_admin(self, membership: Membership) -> bool:
        """Tell whether they manage it."""
        return membership.role in ADMINS


class _OneOrMany(serializers.ListSerializer[Any]):
    """A list; one object alone counts as a list of it, as OpenWISP's clients send it."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated list. Raises ValidationError."""
        return super().to_internal_value([data] if isinstance(data, dict) else data)


class OrganizationUserInputSerializer(serializers.ModelSerializer[Membership]):
    """A role to give: `is_admin` alone means manager or viewer."""

    organization = OrganizationField()
    is_admin = serializers.BooleanField(required=False, write_only=True)
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    can_reveal = serializers.BooleanField(required=False, allow_null=True, default=None)

    class Meta:
        model = Membership
        fields = ("is_admin", "organization", "role", "can_reveal")
        list_serializer_class = _OneOrMany

    def get_unique_together_validators(self) -> list[Any]:
        """A role given again is the role changed."""
        return []

    def validate(self, attrs: Any) -> Any:
        """Turn `is_admin` into a role."""
        manages = attrs.pop("is_admin", False)
        attrs.setdefault("role", Role.MANAGER.value if manages else Role.VIEWER.value)
        return attrs


class PersonSerializer(serializers.ModelSerializer[User]):
    """A person; the address and the last sign-in of whom one does not manage alone are null."""

    # Letters of any script may stand in it, which no pattern of a schema says.
    username = serializers.CharField(max_length=150)
    email = serializers.SerializerMethodField()
    last_login = serializers.SerializerMethodField()
    groups = serializers.SerializerMethodField()
    organization_users = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields: ClassVar[tuple[str, ...]] = (
            "id", "username", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser",
            "last_login", "date_joined", "groups", "organization_users",
        )  # fmt: skip

    @property
    def _caller(self) -> Any:
        return self.context["request"].user

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_email(self, person: User) -> str | None:
        """Return the address for those who may know it."""
        return person.email if may_read_account(self._caller, person) else None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_last_login(self, person: User) -> str | None:
        """Return the last sign-in by form for those who may know it."""
        if person.last_login is None or not may_read_account(self._caller, person):
            return None
        return str(serializers.DateTimeField().to_representation(person.last_login))

    @extend_schema_field(serializers.ListField(child=serializers.IntegerField()))
    def get_groups(self, person: User) -> list[int]:
        """Return the ids of the person's roles."""
        return sorted({GROUP_IDS[row.role] for row in shown_memberships(self._caller, person)})

    @extend_schema_field(OrganizationUserSerializer(many=True))
    def get_organization_users(self, person: User) -> list[Any]:
        """Return the memberships the caller may know of."""
        return list(OrganizationUserSerializer(shown_memberships(self._caller, person), many=True).data)


class InvitedSerializer(PersonSerializer):
    """A new person; without a password, with the link by which they set one."""

    set_password_url = serializers.CharField(read_only=True, allow_null=True)

    class Meta(PersonSerializer.Meta):
        fields = (*PersonSerializer.Meta.fields, "set_password_url")


class PersonInputSerializer(serializers.ModelSerializer[User]):
    """What may be written of a person."""

    organization_users = OrganizationUserInputSerializer(many=True, required=False)

    class Meta:
        model = User
        fields: ClassVar[tuple[str, ...]] = (
            "username", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser",
            "organization_users",
        )  # fmt: skip
        # The service validates uniqueness; a second check here would only race with it.
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "username": {"validators": []},
            "email": {"validators": []},
        }


class PersonCreateSerializer(PersonInputSerializer):
    """A new person; without a password the answer has a link to set one."""

    password = serializers.CharField(
        max_length=4096,
        required=False,
        allow_null=True,
        trim_whitespace=False,
        write_only=True,
        style={"input_type": "password"},
    )

    class Meta(PersonInputSerializer.Meta):
        fields = (*PersonInputSerializer.Meta.fields, "password")


class _Password(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        style = {"input_type": "password"}
        super().__init__(max_length=4096, trim_whitespace=False, write_only=True, style=style, **kwargs)


def _same(attrs: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    if attrs[first] != attrs[second]:
        raise serializers.ValidationError({second: ["The two password fields didn't match."]})
    return attrs


class PasswordSerializer(serializers.Serializer[Any]):
    """A new password of somebody; for one's own, with the current one."""

    current_password = _Password(required=False, allow_null=True, allow_blank=True)
    new_password = _Password()
    confirm_password = _Password()

    def validate(self, attrs: Any) -> Any:
        """Compare both."""
        return _same(attrs, "new_password", "confirm_password")


class OwnPasswordSerializer(serializers.Serializer[Any]):
    """A new password of one's own."""

    old_password = _Password()
    new_password1 = _Password()
    new_password2 = _Password()

    def validate(self, attrs: Any) -> Any:
        """Compare both."""
        return _same(attrs, "new_password1", "new_password2")


class ResetSerializer(serializers.Serializer[Any]):
    """Who asks for a link: a username or an e-mail address; `email` says the same."""

    input = serializers.CharField(max_length=254, required=False)
    email = serializers.CharField(max_length=254, required=False)

    def validate(self, attrs: Any) -> Any:
        """Ask for one of them."""
        if not (attrs.get("input") or attrs.get("email")):
            raise serializers.ValidationError({"input": ["This field is required."]})
        return attrs


class ResetConfirmSerializer(serializers.Serializer[Any]):
    """What a link said, and the new password."""

    uid = serializers.CharField(max_length=128)
    token = serializers.CharField(max_length=128)
    new_password1 = _Password()
    new_password2 = _Password()

    def validate(self, attrs: Any) -> Any:
        """Compare both."""
        return _same(attrs, "new_password1", "new_password2")


class AddressSerializer(serializers.Serializer[Any]):
    """The e-mail address of a person; there is one, nobody verifies it, and its id is 1."""

    id = serializers.IntegerField(read_only=True)
    email = serializers.EmailField(max_length=254)
    verified = serializers.BooleanField(read_only=True)
    primary = serializers.BooleanField(read_only=True)


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    """Who works in which organization, as what."""

    user: Any = VisibleField(visible=people_visible_to)
    username = serializers.CharField(source="user.username", read_only=True)
    organization: Any = OrganizationField()
    role = serializers.ChoiceField(choices=Role.choices)
    can_reveal = serializers.BooleanField(required=False, allow_null=True)

    class Meta:
        model = Membership
        fields: ClassVar[tuple[str, ...]] = (
            "id", "user", "username", "organization", "role", "can_reveal", "created", "modified",
        )  # fmt: skip

    def get_unique_together_validators(self) -> list[Any]:
        """The service says it."""
        return []


class MemberSerializer(MembershipSerializer):
    """A member of the organization in the path."""

    organization: Any = serializers.PrimaryKeyRelatedField(read_only=True)


class MembershipChangeSerializer(MemberSerializer):
    """A membership whose role changes; who it is of does not."""

    user: Any = serializers.PrimaryKeyRelatedField(read_only=True)


class MemberTokenSerializer(serializers.ModelSerializer[ApiToken]):
    """Somebody's token, without its secret."""

    class Meta:
        model = ApiToken
        fields = ("id", "name", "prefix", "expires_at", "last_used_at", "created", "modified")
        read_only_fields = fields
