"""Admin pages of uploads: how far each is; finished and removed from here."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from boot.admin.base import BootAdmin, key_shown
from boot.admin.images import ImageAdmin, ImageKeyFilter
from boot.admin.words import moment, path_shown, size_text
from boot.images import uploads
from boot.images.queries import uploads_visible_to
from boot.models_images import Image, ImageUpload
from tenancy.admin_base import Refused, badge_classes, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter

State = ImageUpload.State
TONES: dict[str, str] = {
    State.OPEN: "info",
    State.FINISHING: "info",
    State.FINISHED: "success",
    State.FAILED: "danger",
}


def words_of(upload: ImageUpload) -> str:
    """Return what is going on with an upload."""
    if upload.state == State.OPEN:
        return "complete" if upload.received == upload.size else "coming"
    if upload.state == State.FINISHING:
        return "being checked" if upload.lease_until else "waits to be checked"
    return str(upload.get_state_display()).lower()


def progress_of(upload: ImageUpload) -> Any:
    """Return how far an upload is, drawn; `boot/uploads.js` keeps it fresh."""
    badge = format_html('<span class="{}">{}</span>', badge_classes(TONES, upload.state), words_of(upload))
    if upload.state not in (State.OPEN, State.FINISHING):
        problem = (
            format_html('<span class="mu-boot-problem">{}</span>', upload.problem) if upload.problem else ""
        )
        return format_html('<span class="mu-boot-far">{} {}</span>', badge, problem)
    part = upload.checked if upload.state == State.FINISHING else upload.received
    return format_html(
        '<span class="mu-boot-far" data-upload="{}" data-state="{}"><span class="mu-progress__line">{}'
        '<span class="mu-muted mu-nowrap" data-upload-text>{} of {}</span></span>'
        '<progress class="mu-progress" max="100" value="{}" data-upload-bar aria-label="{}"></progress>{}</span>',
        upload.pk,
        upload.state,
        badge,
        size_text(part),
        size_text(upload.size),
        100 * part // upload.size if upload.size else 100,
        f"How far {upload.path} is",
        format_html('<span class="mu-boot-problem">{}</span>', upload.problem) if upload.problem else "",
    )


@admin.register(ImageUpload)
class ImageUploadAdmin(BootAdmin):
    """Images on their way here."""

    list_display = ("shown_path", "shown_key", "organization", "progress", "last")
    list_filter = (OrganizationFilter, ImageKeyFilter, "state")
    list_select_related = ("organization", "key")
    search_fields = ("path", "key__name", "key__key_id")
    fields = ("shown_key", "organization", "md5", "sha256", "begun", "last")
    readonly_fields = fields
    change_form_outer_before_template = "admin/boot/upload_head.html"
    empty_title = "Nothing is on its way"
    empty_text = "Uploads of the last day are here, with how far they are. Upload an image here, or send one over REST."

    class Media:
        js = ("boot/uploads.js",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the uploads of the user's organizations."""
        return uploads_visible_to(request.user).select_related("image")

    @display(description="Path", ordering="path")
    def shown_path(self, obj: Any) -> Any:
        """It breaks where there is no room for it."""
        return path_shown(obj.path)

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Those of images."""
        pages: Any = self.admin_site._registry[Image]
        return list(ImageAdmin.ways(pages, request))

    def nav(self, request: HttpRequest, here: str) -> list[tuple[str, str, bool]]:
        """The list of these is another page of images."""
        return super().nav(request, "uploads")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They begin on the page of images."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What has come is not edited."""
        return False

    @display(description="API key", ordering="key__name")
    def shown_key(self, obj: Any) -> str:
        """Whose space it goes to."""
        if obj.key is None:
            return format_html('<span class="mu-badge mu-badge--info">{}</span>', "global")
        return key_shown(obj.key)

    @display(description="How far")
    def progress(self, obj: Any) -> Any:
        """Drawn."""
        return progress_of(obj)

    @display(description="Last heard of", ordering="modified")
    def last(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.modified)

    @display(description="Begun")
    def begun(self, obj: Any) -> Any:
        """How long ago."""
        return moment(obj.created)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Forget it and what has come of it."""
        uploads.upload_delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """One after the other: parts that are gone do not come back with a transaction."""
        for obj in queryset:
            self.delete_model(request, obj)

    def get_urls(self) -> list[URLPattern]:
        """Add the finish."""
        view = self.admin_site.admin_view(self.finish_view)
        return [path("<uuid:pk>/finish/", view, name="boot_imageupload_finish"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Show how far it is, and what can be done."""
        row = context.get("original")
        if row is not None:
            is_complete = row.state == State.OPEN and row.received == row.size
            context |= {
                "upload": row,
                "progress": progress_of(row),
                "finish_link": self.link("finish", row.pk)
                if is_complete and self.may(request, "change", row)
                else "",
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def finish_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Make an image of a complete one."""
        row: Any = self.get_object(request, str(pk))
        if row is None:
            return self.missing(request, pk)
        self.require(request, "change", row)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            with refusals():
                image = uploads.upload_finish_ask(row)
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("change", pk))
        if image is None:
            messages.success(request, f"{row.path} is being checked.")
            return HttpResponseRedirect(self.link("change", pk))
        messages.success(request, f"{row.path} is an image now.")
        return HttpResponseRedirect(reverse("admin:boot_image_change", args=[image.pk]))
