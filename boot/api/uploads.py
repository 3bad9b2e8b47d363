"""Uploads in parts over REST: begun, appended to, finished, forgotten."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import exceptions, mixins, parsers, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from boot.api.fields import KeySerializer, SpaceSerializer, visible_keys
from boot.api.images import ImageSerializer
from boot.api.problems import BUSY, InTheWay
from boot.images import uploads
from boot.images.queries import images_visible_to, uploads_visible_to
from boot.models_images import Image, ImageUpload
from core.errors import Conflict
from tenancy.api import base
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for

AT = OpenApiParameter(
    "offset", int, required=True, description="Where the part begins: what has been received."
)
OFFSET = OpenApiResponse(
    inline_serializer(
        "Misplaced", {"detail": serializers.CharField(), "received": serializers.IntegerField()}
    ),
    description="The part does not begin where the upload stands, or it takes no more parts.",
)


class BytesParser(parsers.BaseParser):
    """`application/octet-stream`: the stream itself, so that nothing of it is in memory."""

    media_type = "application/octet-stream"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the stream."""
        return stream


class UploadSerializer(SpaceSerializer):
    """An upload in parts; it is finished when all of `size` bytes have been received."""

    id = serializers.UUIDField(read_only=True)
    path = serializers.CharField(max_length=255)
    size = serializers.IntegerField(min_value=0, max_value=1 << 62)
    md5 = serializers.CharField(required=False, allow_blank=True, max_length=32)
    sha256 = serializers.CharField(required=False, allow_blank=True, max_length=64)
    received = serializers.IntegerField(read_only=True)
    state = serializers.ChoiceField(choices=ImageUpload.State.choices, read_only=True)
    problem = serializers.CharField(read_only=True)
    image: Any = serializers.PrimaryKeyRelatedField(read_only=True)
    created = serializers.DateTimeField(read_only=True)
    modified = serializers.DateTimeField(read_only=True)

    class Meta:
        model = ImageUpload


class UploadShownSerializer(serializers.ModelSerializer[ImageUpload]):
    """An upload as it stands."""

    key = KeySerializer(read_only=True, allow_null=True)

    class Meta:
        model = ImageUpload
        fields: ClassVar[tuple[str, ...]] = (
            "id", "organization", "key", "path", "size", "received", "checked", "state", "problem", "image", "md5",
            "sha256", "created", "modified",
        )  # fmt: skip
        read_only_fields: ClassVar[tuple[str, ...]] = fields


class UploadFilter(TenantFilter):
    """What people look for among uploads."""

    key = filters.ModelChoiceFilter(queryset=visible_keys)
    state = filters.ChoiceFilter(choices=ImageUpload.State.choices)


class _Uploads(base.TenantView):
    """The caller's uploads."""

    model = ImageUpload
    serializer_class: Any = UploadSerializer

    def get_queryset(self) -> QuerySet[Any]:
        """Return them newest first."""
        return uploads_visible_to(self.request.user)

    def answer(self, upload: ImageUpload, *, code: int = status.HTTP_200_OK) -> Response:
        """Print an upload as the database has it now."""
        return Response(UploadShownSerializer(self.get_queryset().get(pk=upload.pk)).data, status=code)


class UploadListView(_Uploads, mixins.ListModelMixin):
    """Uploads."""

    serializer_class = UploadShownSerializer
    filterset_class: Any = UploadFilter
    ordering_fields: ClassVar[dict[str, str]] = {name: name for name in ("path", "created", "modified")}

    @base.operation("boot_upload_list", {200: UploadShownSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List uploads of the last day, newest first unless ordered otherwise."""
        return self.list(request)

    @base.operation(
        "boot_upload_create", {201: UploadShownSerializer, **base.WRITE}, request=UploadSerializer
    )
    def post(self, request: Request) -> Response:
        """Begin an upload; its parts are sent with PATCH, in order."""
        sent = self.valid(UploadSerializer(data=request.data, context=self.get_serializer_context()))
        with worded_for(ImageUpload):
            upload = uploads.upload_begin(sent.pop("space"), **sent)
        return self.answer(upload, code=status.HTTP_201_CREATED)


class UploadDetailView(_Uploads):
    """One upload."""

    parser_classes: Any = (BytesParser,)
    serializer_class = UploadShownSerializer

    @base.operation("boot_upload_read", {200: UploadShownSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show how far an upload is; `received` is where it goes on."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation(
        "boot_upload_append",
        {200: UploadShownSerializer, **base.WRITE_ONE, 409: OFFSET},
        request={"application/octet-stream": bytes},
        parameters=[AT],
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Add a part at `offset`; of what comes, whole stretches of 64 MiB count even when the rest breaks off."""
        upload = self.get_object()
        offset = request.query_params.get("offset", "")
        if not (offset.isascii() and offset.isdigit() and len(offset) < 19):
            raise exceptions.ValidationError(
                {"offset": ["Say where the part begins: a whole number of bytes."]}
            )
        # Whoever does not know the length yet sends it in chunks, which DRF takes for no body at all.
        stream: Any = request.data if int(request.META.get("CONTENT_LENGTH") or 0) else request._request
        try:
            with worded_for(ImageUpload):
                uploads.upload_append(upload, stream, offset=int(offset))
        except uploads.Misplaced as error:
            refusal = {"detail": str(error), "received": error.received}
            return Response(refusal, status=status.HTTP_409_CONFLICT)
        except Conflict as error:
            raise InTheWay(str(error)) from error
        return self.answer(upload)

    @base.operation("boot_upload_delete", {204: None, **base.READ_ONE, **BUSY})
    def delete(self, request: Request, pk: str) -> Response:
        """Forget an upload and what has come of it."""
        upload = self.get_object()
        try:
            uploads.upload_delete(upload)
        except Conflict as error:
            raise InTheWay(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class UploadFinishView(_Uploads):
    """Making an image of an upload."""

    post_action = "change"
    serializer_class = ImageSerializer

    @base.operation(
        "boot_upload_finish",
        {
            200: ImageSerializer,
            202: OpenApiResponse(UploadShownSerializer, description="A worker puts it together: ask again."),
            **base.WRITE_ONE,
            **BUSY,
        },
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Check the digests and make the image; asking again answers with the same image.

        An upload of more than 64 MiB is put together by a worker: 202 with the upload, whose `checked` grows until its
        `state` is `finished`, with its `image`, or `failed`, with its `problem`.
        """
        upload = self.get_object()
        try:
            with worded_for(Image):
                image = uploads.upload_finish_ask(upload)
        except Conflict as error:
            raise InTheWay(str(error)) from error
        if image is None:
            return self.answer(upload, code=status.HTTP_202_ACCEPTED)
        return Response(ImageSerializer(images_visible_to(request.user).get(pk=image.pk)).data)
