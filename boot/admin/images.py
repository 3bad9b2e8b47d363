"""Admin pages of images: the list, uploading with a progress bar, the catalogue of builds, and limits."""

from itertools import islice
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from boot.admin.base import BootAdmin, key_shown
from boot.admin.configs import KeyFilter
from boot.admin.words import build_text, moment, path_shown, size_text
from boot.images import catalogue, paths, services, serving
from boot.images.queries import Space, images_visible_to, room_of
from boot.images.uses import Use, is_much, uses_visible_to
from boot.models_images import Image
from boot.queries import keys_visible_to, keys_writable_by
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.models import ApiKey

SHOWN_USES = 50
# Reading a version takes about a tenth of a millisecond; of more than these one has to ask.
READ_UNASKED = 1_000
PARTS = (paths.INITFS, paths.ROOTFS, paths.INFO)


class ImageKeyFilter(KeyFilter):
    """By the API key whose space it is."""

    field_name = "key"


@admin.register(Image)
class ImageAdmin(BootAdmin):
    """What machines can boot from."""

    has_shared = True
    list_display = ("shown_path", "shown_space", "organization", "shown_size", "stored")
    empty_title = "No image yet"
    add_label = "Upload an image"
    empty_text = (
        "Upload an initramfs.tgz and a rootfs.sqsh here or over REST. Each API key has a space of its "
        "own, which its machines reach as /images/own/… of this server."
    )
    list_filter = (OrganizationFilter, ImageKeyFilter)
    list_select_related = ("organization", "key", "file")
    search_fields = ("path", "key__name", "key__key_id", "file__md5")
    fields = (
        "shown_space", "organization", "shown_build", "exact_size", "shown_md5", "shown_sha256", "content_type",
        "stored",
    )  # fmt: skip
    readonly_fields = fields
    change_form_outer_before_template = "admin/boot/image_head.html"
    change_form_outer_after_template = "admin/boot/image_uses.html"

    @display(description="Path", ordering="path")
    def shown_path(self, obj: Any) -> Any:
        """It breaks where there is no room for it."""
        return path_shown(obj.path)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Images, what they make, and what is on its way."""
        found = [
            ("list", "Images", self.link("changelist")),
            ("builds", "Builds", self.link("builds")),
        ]
        if self.has_add_permission(request):
            found += [
                ("uploads", "On their way", reverse("admin:boot_imageupload_changelist")),
                ("upload", "Upload", self.link("add")),
            ]
        return found

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the images of the user's organizations and the global ones."""
        return images_visible_to(request.user)

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """What a path names never changes."""
        return action != "change" and super().may(request, action, obj)

    @display(description="Space")
    def shown_space(self, obj: Any) -> str:
        """What stands in the address."""
        if obj.key is None:
            return format_html('<span class="mu-badge mu-badge--info">{}</span>', "global")
        return key_shown(obj.key)

    @display(description="Size", ordering="file__size")
    def shown_size(self, obj: Any) -> str:
        """In words."""
        return format_html('<span class="mu-nowrap">{}</span>', size_text(obj.file.size))

    @display(description="Size")
    def exact_size(self, obj: Any) -> str:
        """In words, and to the byte."""
        return f"{size_text(obj.file.size)} ({obj.file.size:,} bytes)"

    @display(description="Stored", ordering="created")
    def stored(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.created)

    @display(description="Build")
    def shown_build(self, obj: Any) -> str:
        """Which build it is a part of."""
        return f"{obj.recipe}, {build_text(obj.build_id)}" if obj.build_id else "part of none"

    @display(description="MD5")
    def shown_md5(self, obj: Any) -> str:
        """As devices compare it."""
        return format_html('<code class="mu-boot-path">{}</code>', obj.file.md5)

    @display(description="SHA-256")
    def shown_sha256(self, obj: Any) -> str:
        """For people."""
        return format_html('<code class="mu-boot-path">{}</code>', obj.file.sha256)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete it unless a configuration names it."""
        services.image_delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete one after the other: bytes that are gone do not come back with a transaction."""
        for obj in queryset:
            self.delete_model(request, obj)

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, str, Any], ...] = (
            ("builds/", "builds", self.builds_view),
            ("info/", "info", self.info_view),
            ("<uuid:pk>/download/", "download", self.download_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"boot_image_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Upload: the page's script sends the file in parts over REST."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        keys = keys_writable_by(user, "add", Image).order_by("name", "key_id")
        rooms = {key.organization_id: room_of(key.organization) for key in keys}
        return self.page(
            request,
            "admin/boot/upload.html",
            title="Upload an image",
            keys=[(key, size_text(rooms[key.organization_id].left)) for key in keys],
            nav=self.nav(request, "upload"),
            may_global=user.is_superuser,
            uploads_link=reverse("boot_upload_list").rstrip("/") + "/",
            done_link=self.link("changelist"),
            image_link=self.link("change", UUID(int=0)),
            zero=str(UUID(int=0)),
        )

    def download_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Lead to the bytes."""
        image: Any = self.get_object(request, str(pk))
        if image is None:
            return self.missing(request, pk)
        self.require(request, "view", image)
        origin = request.build_absolute_uri("/").rstrip("/")
        return HttpResponseRedirect(serving.location_of(image, method="GET", origin=origin))

    def builds_view(self, request: HttpRequest) -> HttpResponse:
        """Show complete builds, and what is missing of the others."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        images = images_visible_to(request.user)
        user: Any = request.user
        writable = set(keys_writable_by(user, "add", Image).values_list("pk", flat=True))
        names = {key.key_id: key.name for key in keys_visible_to(user)}
        return self.page(
            request,
            "admin/boot/builds.html",
            title="Builds",
            nav=self.nav(request, "builds"),
            builds=[
                {
                    "build": one,
                    "when": build_text(one.build_id),
                    "space": names.get(one.space, ""),
                    "size": size_text(sum(image.file.size for image in one.files)),
                }
                for one in catalogue.builds_of(images)
            ],
            pending=[
                {
                    "build": one,
                    "when": build_text(one.build_id),
                    "space": names.get(one.space, ""),
                    "parts": [(name, name not in one.lacks) for name in PARTS],
                    "may_write": one.lacks == (paths.INFO,)
                    and not one.has_failed
                    and (one.key_id in writable or user.is_superuser),
                }
                for one in catalogue.unfinished_of(images)
            ],
        )

    def info_view(self, request: HttpRequest) -> HttpResponse:
        """Write the `info.sh` of a build that lacks nothing else."""
        if request.method != "POST":
            return HttpResponseRedirect(self.link("builds"))
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        key: ApiKey | None = None
        try:
            with refusals():
                if request.POST.get("key"):
                    key = keys_writable_by(user, "add", Image).get(pk=request.POST["key"])
                elif not user.is_superuser:
                    raise ValidationError("Name an API key.")
                catalogue.info_create(
                    Space(key.organization if key else None, key),
                    recipe=request.POST.get("recipe", ""),
                    build_id=request.POST.get("build_id", ""),
                    origin=serving.origin_of(request),
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            messages.success(request, "info.sh was written: the build is in the catalogue.")
        return HttpResponseRedirect(self.link("builds"))

    def use_link(self, request: HttpRequest, use: Use) -> str:
        """Return the page of who names an image: the configuration, its versions, or what is left of a deleted one."""
        if use.config is None:
            page = reverse("admin:boot_deletedbootconfig_changelist")
            return f"{page}?{urlencode({'q': use.device})}"
        return reverse(f"admin:boot_bootconfig_{'change' if use.in_force else 'versions'}", args=[use.config])

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the address devices use."""
        image = context.get("original")
        if image is not None:
            word = paths.OWN if image.key is not None else paths.GLOBAL
            context["address"] = f"{serving.origin_of(request)}/images/{word}/{image.path}"
            context["size"] = size_text(image.file.size)
            context["download_link"] = self.link("download", image.pk)
            is_asked = "uses" in request.GET or not is_much(request.user, most=READ_UNASKED)
            found = list(islice(uses_visible_to(request.user, image), SHOWN_USES + 1)) if is_asked else []
            context |= {
                "uses_unread": not is_asked,
                "uses": [(use, self.use_link(request, use)) for use in found[:SHOWN_USES]],
                "more_uses": len(found) > SHOWN_USES,
                "most_uses": SHOWN_USES,
                "days": settings.MUSTER.image_days,
            }
        return super().render_change_form(request, context, *args, **kwargs)
