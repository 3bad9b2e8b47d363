"""The merge engine: layers and variables in, one effective configuration, its provenance and its archive out.

Invariant: pure. Nothing here imports Django, reads a clock or draws randomness; equal input gives equal
output, and whatever the input, only `EngineError` is raised.
"""

from config_merge.engine.archive import packed, reissued
from config_merge.engine.backends import BACKENDS, Backend
from config_merge.engine.diff import diff_files
from config_merge.engine.errors import (
    EngineError,
    InvalidConfiguration,
    InvalidSettings,
    InvalidVariables,
    MergeConflict,
    UnknownBackend,
)
from config_merge.engine.measure import measure
from config_merge.engine.origins import Entry, Level, Merged, entity_of, merge, overridden, value_of
from config_merge.engine.render import render, speaks_dsa
from config_merge.engine.resolve import Effective, resolve
from config_merge.engine.settings_change import device_changed, site_changed, user_id
from config_merge.engine.settings_effective import settings_artefact, settings_effective
from config_merge.engine.settings_uci import Packages, is_writable, packages_of, place_of
from config_merge.engine.types import Artefact, File, Layer, Leaf, Source, Variable, VariableLayer
from config_merge.engine.validate import validate
from config_merge.engine.variables import undefined_variables, variables_in_force

__all__ = [
    "BACKENDS",
    "Artefact",
    "Backend",
    "Effective",
    "EngineError",
    "Entry",
    "File",
    "InvalidConfiguration",
    "InvalidSettings",
    "InvalidVariables",
    "Layer",
    "Leaf",
    "Level",
    "MergeConflict",
    "Merged",
    "Packages",
    "Source",
    "UnknownBackend",
    "Variable",
    "VariableLayer",
    "device_changed",
    "diff_files",
    "entity_of",
    "is_writable",
    "measure",
    "merge",
    "overridden",
    "packages_of",
    "packed",
    "place_of",
    "reissued",
    "render",
    "resolve",
    "settings_artefact",
    "settings_effective",
    "site_changed",
    "speaks_dsa",
    "undefined_variables",
    "user_id",
    "validate",
    "value_of",
    "variables_in_force",
]
