"""Reads of templates, configurations and revisions beyond a primary key."""

import io
import tarfile
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from config_merge.engine import File
from config_merge.models import Config, ConfigRevision, ConfigTemplate, Template
from devices.models import Device
from tenancy.queries import restrict


def templates_visible_to(user: Any) -> QuerySet[Template]:
    """Return the templates of the organizations `user` belongs to, and the shared ones."""
    return restrict(Template.objects.select_related("organization"), user, shared=True)


def configs_visible_to(user: Any) -> QuerySet[Config]:
    """Return the configurations of the devices `user` may see."""
    return restrict(Config.objects.select_related("device"), user, path="device__organization")


def revisions_of(device: Device) -> QuerySet[ConfigRevision]:
    """Return a device's revisions, newest first, without their archives."""
    return ConfigRevision.objects.filter(config__device=device).select_related("actor").defer("artefact")


def template_users(template_id: UUID, user: Any) -> QuerySet[Config]:
    """Return the configurations with the template that `user` may see."""
    users = ConfigTemplate.objects.filter(template_id=template_id)
    return configs_visible_to(user).filter(pk__in=users.values("config_id"))


def files_in(archive: bytes) -> tuple[File, ...]:
    """Return the files of a revision's archive, in its order. Raises tarfile.TarError for what is none."""
    files: list[File] = []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
        for member in packed.getmembers():
            content = packed.extractfile(member)
            if content is not None:
                files.append(File(member.name, f"{member.mode:04o}", content.read()))
    return tuple(files)
