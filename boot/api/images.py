"""Images over REST: listed, stored in one piece, downloaded, deleted, and the catalogue of builds."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from boot.api.fields import KeySerializer, SpaceSerializer, visible_keys
from boot.api.problems import BUSY, InTheWay
from boot.images import catalogue, services, serving
from boot.images.paths import GLOBAL
from boot.images.queries import images_visible_to
from boot.images.uses import uses_visible_to
from boot.models_images import Image
from core.errors import Conflict
from core.parsers import StrictMultiPartParser
from tenancy.api import base
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for


class ImageSerializer(serializers.ModelSerializer[Image]):
    """An image; `space` is what stands in its address: `global`, or the id of the API key."""

    key = KeySerializer(read_only=True, allow_null=True)
    space = serializers.SerializerMethodField()
    size = serializers.IntegerField(source="file.size", read_only=True)
    md5 = serializers.CharField(source="file.md5", read_only=True)
    sha256 = serializers.CharField(source="file.sha256", read_only=True)

    class Meta:
        model = Image
        fields: ClassVar[tuple[str, ...]] = (
            "id", "organization", "key", "space", "path", "size", "md5", "sha256", "content_type", "recipe",
            "build_id", "created",
        )  # fmt: skip
        read_only_fields: ClassVar[tuple[str, ...]] = fields

    def get_space(self, row: Any) -> str:
        """What stands in the address."""
        return row.key.key_id if row.key is not None else GLOBAL


class NewImageSerializer(SpaceSerializer):
    """An image that comes in one piece (multipart/form-data)."""

    path = serializers.CharField(max_length=255)
    file = serializers.FileField(allow_empty_file=True, max_length=255)
    md5 = serializers.CharField(required=False, allow_blank=True, max_length=32)
    sha256 = serializers.CharField(required=False, allow_blank=True, max_length=64)

    class Meta:
        model = Image


class BuildSerializer(serializers.Serializer[Any]):
    """A recipe's result in a complete build."""

    recipe = serializers.CharField()
    build_id = serializers.CharField()
    space = serializers.CharField()
    organization = serializers.UUIDField(allow_null=True)
    files = ImageSerializer(many=True)


class UseSerializer(serializers.Serializer[Any]):
    """Who names an image: `version` of a device's configuration, which is in force or can be brought back."""

    key = KeySerializer(source="api_key")
    device = serializers.CharField()
    version = serializers.IntegerField(source="number")
    in_force = serializers.BooleanField()
    config: Any = serializers.UUIDField(
        allow_null=True, help_text="The device's configuration; null when it is deleted."
    )


class InfoSerializer(SpaceSerializer):
    """Which build's `info.sh` to write."""

    recipe = serializers.CharField(max_length=100)
    build_id = serializers.CharField(max_length=17)

    class Meta:
        model = Image


class ImageFilter(TenantFilter):
    """What people look for among images."""

    key = filters.ModelChoiceFilter(queryset=visible_keys)
    is_global = filters.BooleanFilter(field_name="key", lookup_expr="isnull")
    path = filters.CharFilter()
    md5 = filters.CharFilter(field_name="file__md5")
    sha256 = filters.CharFilter(field_name="file__sha256")
    recipe = filters.CharFilter()
    build_id = filters.CharFilter()


class _Images(base.TenantView):
    """The caller's images and the global ones."""

    model = Image
    serializer_class: Any = ImageSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return images_visible_to(self.request.user)

    def answer(self, image: Image, *, code: int) -> Response:
        """Print an image as the database has it now."""
        return Response(ImageSerializer(self.get_queryset().get(pk=image.pk)).data, status=code)


class ImageListView(_Images, mixins.ListModelMixin):
    """Images."""

    parser_classes: Any = (StrictMultiPartParser,)
    filterset_class: Any = ImageFilter
    search_fields: ClassVar = ("path", "key__name", "key__key_id")
    ordering_fields: ClassVar[dict[str, str]] = {
        "path": "path",
        "created": "created",
        "size": "file__size",
        "build_id": "build_id",
    }

    @base.operation("boot_image_list", {200: ImageSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List images, newest first unless ordered otherwise."""
        return self.list(request)

    @base.operation(
        "boot_image_create",
        {201: ImageSerializer, **base.WRITE},
        request={"multipart/form-data": NewImageSerializer},
    )
    def post(self, request: Request) -> Response:
        """Store an image that comes in one piece; large ones are better uploaded in parts."""
        sent = self.valid(NewImageSerializer(data=request.data, context=self.get_serializer_context()))
        with worded_for(Image):
            image = services.image_store(
                sent["space"],
                sent["path"],
                sent["file"],
                md5=sent.get("md5", ""),
                sha256=sent.get("sha256", ""),
            )
        return self.answer(image, code=status.HTTP_201_CREATED)


class ImageDetailView(_Images):
    """One image."""

    @base.operation("boot_image_read", {200: ImageSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one image."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("boot_image_delete", {204: None, **base.READ_ONE, **BUSY})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete an image that no boot configuration names."""
        image = self.get_object()
        try:
            services.image_delete(image)
        except Conflict as error:
            raise InTheWay(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class ImageDownloadView(_Images):
    """The bytes of an image."""

    @base.operation(
        "boot_image_download", {302: OpenApiResponse(description="Where it is."), **base.READ_ONE}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Lead to the bytes of an image; the address opens for half a minute. No quota is used."""
        origin = request.build_absolute_uri("/").rstrip("/")
        location = serving.location_of(self.get_object(), method=request.method or "GET", origin=origin)
        return Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})


class ImageUsesView(_Images):
    """Who names an image."""

    serializer_class: Any = UseSerializer
    filter_backends: Any = ()

    @base.operation(
        "boot_image_uses",
        {200: UseSerializer(many=True), **base.LIST, **base.READ_ONE},
    )
    def get(self, request: Request, pk: str) -> Response:
        """List the boot configurations of the caller's organizations that name an image, and so keep it from going.

        Those in force come first; then, of devices whose configuration names it no more, the newest version that does
        and can be brought back.
        """
        page: Any = self.paginate_queryset(list(uses_visible_to(request.user, self.get_object())))  # type: ignore[arg-type]
        return self.get_paginated_response(UseSerializer(page, many=True).data)


class BuildListView(_Images):
    """The catalogue."""

    serializer_class = BuildSerializer
    filter_backends: Any = ()

    @base.operation(
        "boot_build_list",
        {200: BuildSerializer(many=True), **base.LIST},
        parameters=[
            OpenApiParameter("recipe", str, description="Only this recipe."),
            OpenApiParameter("build_id", str, description="Only this build."),
        ],
    )
    def get(self, request: Request) -> Response:
        """List complete builds, newest first: those whose every recipe has its three files and none has failed."""
        asked = {name: request.query_params.get(name, "") for name in ("recipe", "build_id")}
        found: Any = catalogue.builds_of(self.get_queryset(), **asked)
        page: Any = self.paginate_queryset(found)
        return self.get_paginated_response(BuildSerializer(page, many=True).data)


class BuildInfoView(_Images):
    """The file that says what a build is made of."""

    serializer_class = InfoSerializer

    @base.operation("boot_build_info", {201: ImageSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Write `info.sh` of a build that has both images, with their addresses and digests."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Image):
            image = catalogue.info_create(**sent, origin=serving.origin_of(request))
        return self.answer(image, code=status.HTTP_201_CREATED)
