"""Boot configurations over REST: what a device of a key boots, what it booted before, and what it would get."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import exceptions, mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from boot import editing, services
from boot.api.fields import KeyField, KeySerializer, OfKeyFilter
from boot.models import BootConfig, BootVersion
from boot.queries import boot_configs_visible_to, effective, keys_visible_to, versions_of
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of

IS_THERE = "This device has a configuration under this API key already."
OWN, BY_DEFAULT, NONE = "own", "default", "none"
SOURCES = [OWN, BY_DEFAULT, NONE]


class AnyJson(serializers.JSONField):
    """Any JSON value, documented as such."""


class ImageRefSerializer(serializers.Serializer[Any]):
    """Where an image is, and its digest."""

    url = serializers.CharField(required=False, allow_blank=True, max_length=2000)
    md5sum = serializers.CharField(required=False, allow_blank=True, max_length=32)


class DocumentSerializer(serializers.Serializer[Any]):
    """The five members that a device is served; scripts are base64."""

    initfs = ImageRefSerializer(required=False)
    rootfs = ImageRefSerializer(required=False)
    bootcode = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    usercode = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    config: Any = AnyJson(required=False)


class BootConfigSerializer(DocumentSerializer):
    """A boot configuration; `key` and `device` never change."""

    id = serializers.UUIDField(read_only=True)
    organization = serializers.UUIDField(source="organization_id", read_only=True)
    key: Any = KeyField(source="api_key")
    device = serializers.CharField(max_length=255, trim_whitespace=False)
    version = serializers.IntegerField(source="number", read_only=True)
    size = serializers.IntegerField(read_only=True, help_text="Bytes of the 4,096 that a device takes.")
    created = serializers.DateTimeField(read_only=True)
    modified = serializers.DateTimeField(read_only=True)

    class Meta:
        model = BootConfig

    def to_representation(self, row: Any) -> dict[str, Any]:
        """Show the members with marks instead of secrets for who may not see them."""
        return {
            "id": str(row.pk),
            "organization": str(row.organization_id),
            "key": KeySerializer(row.api_key).data,
            "device": row.device,
            "version": row.number,
            "size": len(row.body),
            "created": serializers.DateTimeField().to_representation(row.created),
            "modified": serializers.DateTimeField().to_representation(row.modified),
            **shown(self.context["request"], row, row.document),
        }


class BootConfigShownSerializer(BootConfigSerializer):
    """A boot configuration as it is answered."""

    key = KeySerializer()


class BootConfigChangeSerializer(DocumentSerializer):
    """The members of a configuration."""


class VersionSerializer(serializers.Serializer[Any]):
    """One version of a configuration."""

    version = serializers.IntegerField(source="number")
    at = serializers.DateTimeField()
    by = serializers.CharField(source="actor_name")
    deleted = serializers.SerializerMethodField()

    def get_deleted(self, row: Any) -> bool:
        """A version without a body says that there was none."""
        return not row.body


VersionDocument = inline_serializer(
    "BootVersion",
    {
        "version": serializers.IntegerField(),
        "at": serializers.DateTimeField(),
        "by": serializers.CharField(),
        "document": DocumentSerializer(allow_null=True),
    },
)
VersionDiff = inline_serializer("BootVersionDiff", {"diff": serializers.CharField(allow_blank=True)})
Effective = inline_serializer(
    "BootEffective",
    {
        "source": serializers.ChoiceField(choices=SOURCES),
        "device": serializers.CharField(),
        "version": serializers.IntegerField(allow_null=True),
        "document": DocumentSerializer(allow_null=True),
    },
)


def shown(request: Any, row: Any, document: Any) -> Any:
    """Return a document as the caller may see it, and remember that its secrets were shown."""
    if document is None:
        return None
    disclosure, veiled = disclosure_of(request), editing.hidden(document)
    if veiled == document:
        return document
    if not disclosure.may(row.organization_id):
        return veiled
    disclosure.note(row, organization_id=row.organization_id)
    return document


class BootConfigFilter(OfKeyFilter):
    """What people look for among configurations."""

    device = filters.CharFilter()


class _Configs(base.TenantView):
    """The caller's boot configurations."""

    model = BootConfig
    serializer_class: Any = BootConfigSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return boot_configs_visible_to(self.request.user)

    def write(self, key_id: UUID, device: str, document: dict[str, Any]) -> BootConfig:
        """Store a whole document through the service."""
        with worded_for(BootConfig):
            editing.check_size(document)
            return services.boot_config_set(api_key_id=key_id, device=device, document=document)

    def answer(self, row: BootConfig, *, code: int = status.HTTP_200_OK) -> Response:
        """Print a configuration as the database has it now."""
        fresh = self.get_queryset().get(pk=row.pk)
        return Response(BootConfigSerializer(fresh, context=self.get_serializer_context()).data, status=code)


class BootConfigListView(_Configs, mixins.ListModelMixin):
    """Boot configurations."""

    filterset_class: Any = BootConfigFilter
    search_fields: ClassVar = ("device", "api_key__name", "api_key__key_id")
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("device", "created", "modified")}

    @base.operation("boot_config_list", {200: BootConfigShownSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List boot configurations, newest first unless ordered otherwise."""
        return self.list(request)

    @base.operation(
        "boot_config_create", {201: BootConfigShownSerializer, **base.WRITE}, request=BootConfigSerializer
    )
    def post(self, request: Request) -> Response:
        """Create the configuration of a device under an API key, or of `default`; what is not named is empty."""
        sent = self.valid(self.get_serializer(data=request.data))
        key, device = sent.pop("api_key"), sent.pop("device")
        if BootConfig.objects.filter(api_key=key, device=device).exists():
            raise exceptions.ValidationError({"device": [IS_THERE]})
        return self.answer(self.write(key.pk, device, sent), code=status.HTTP_201_CREATED)


class BootConfigDetailView(_Configs):
    """One boot configuration."""

    serializer_class = BootConfigChangeSerializer

    @base.operation("boot_config_read", {200: BootConfigShownSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one configuration."""
        return self.answer(self.get_object())

    def _change(self, request: Request, *, partial: bool) -> Response:
        row = self.get_object()
        sent = self.valid(self.get_serializer(data=request.data, partial=partial))
        with worded_for(BootConfig):
            sent = editing.put_back(sent, stored=row.document)
        document = {**row.document, **sent} if partial else sent
        return self.answer(self._stored(row, document))

    def _stored(self, row: BootConfig, document: dict[str, Any]) -> BootConfig:
        return self.write(row.api_key_id, row.device, document)

    @base.operation("boot_config_update", {200: BootConfigShownSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Replace a configuration; what is not named is empty."""
        return self._change(request, partial=False)

    @base.operation("boot_config_partial_update", {200: BootConfigShownSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Change some members of a configuration."""
        return self._change(request, partial=True)

    @base.operation("boot_config_delete", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a configuration: the device gets its key's default from now on."""
        row = self.get_object()
        services.boot_config_delete(api_key_id=row.api_key_id, device=row.device)
        return Response(status=status.HTTP_204_NO_CONTENT)


class _Versions(_Configs):
    """Versions of a configuration in the path."""

    pagination_class = None
    serializer_class = VersionSerializer

    def versions(self) -> QuerySet[BootVersion]:
        """Return the kept versions of the configuration, newest first. Raises Http404."""
        row = self.get_object()
        return versions_of(api_key_id=row.api_key_id, device=row.device)

    def version(self, number: int) -> BootVersion:
        """Return one of them. Raises NotFound."""
        found = self.versions().filter(number=number).first()
        if found is None:
            raise exceptions.NotFound("There is no such version, or not any more.")
        return found


class BootVersionsView(_Versions):
    """The history of a configuration."""

    @base.operation("boot_config_versions", {200: VersionSerializer(many=True), **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """List the last twenty versions, newest first."""
        return Response(self.get_serializer(self.versions(), many=True).data)


class BootVersionView(_Versions):
    """One version."""

    @base.operation("boot_config_version", {200: VersionDocument, **base.READ_ONE})
    def get(self, request: Request, pk: str, n: str) -> Response:
        """Show what a configuration was."""
        row = self.version(int(n))
        body = self.get_serializer(row).data
        del body["deleted"]
        return Response({**body, "document": shown(request, row, row.document)})


class BootVersionDiffView(_Versions):
    """What two versions differ in."""

    @base.operation("boot_config_version_diff", {200: VersionDiff, **base.READ_ONE})
    def get(self, request: Request, pk: str, n: str, m: str) -> Response:
        """Compare two versions as text, with scripts decoded; empty when they are the same."""
        before, after = self.version(int(n)), self.version(int(m))
        texts = [shown(request, row, row.document) for row in (before, after)]
        diff = editing.difference(*texts, names=(f"version {n}", f"version {m}"))
        return Response({"diff": diff})


class BootVersionRestoreView(_Versions):
    """Bringing a version back."""

    post_action = "change"

    @base.operation(
        "boot_config_version_restore", {200: BootConfigShownSerializer, **base.WRITE_ONE}, request=None
    )
    def post(self, request: Request, pk: str, n: str) -> Response:
        """Make an old version the present one, as a new version."""
        row, version = self.get_object(), self.version(int(n))
        if version.document is None:
            raise exceptions.ValidationError(
                {"__all__": ["This version says that there was no configuration."]}
            )
        return self.answer(self.write(row.api_key_id, row.device, version.document))


class BootEffectiveView(base.TenantView):
    """What a device would get."""

    model = BootConfig
    queryset = BootConfig.objects.none()
    pagination_class = None
    filter_backends: Any = ()

    @base.operation(
        "boot_effective",
        {200: Effective, **base.READ, 400: base.INVALID},
        parameters=[
            OpenApiParameter("key", str, required=True, description="The id of an API key."),
            OpenApiParameter("device", str, required=True, description="What the device calls itself."),
        ],
    )
    def get(self, request: Request) -> Response:
        """Show what a device would get from the boot API now, and whether that is its own or its key's default.

        Nothing is tracked and no quota is used.
        """
        field = serializers.PrimaryKeyRelatedField(queryset=keys_visible_to(request.user))
        try:
            key: Any = field.run_validation(request.query_params.get("key"))
        except exceptions.ValidationError as error:
            raise exceptions.ValidationError({"key": error.detail}) from error
        device = request.query_params.get("device", "")
        with worded_for(BootConfig):
            services.check_device(device)
        found = effective(api_key_id=key.pk, device=device)
        row = found.config if found else None
        return Response(
            {
                "source": NONE if found is None else OWN if found.is_own else BY_DEFAULT,
                "device": device,
                "version": row.number if row else None,
                "document": shown(request, row, row.document) if row else None,
            }
        )
