"""The merge engine: layers and variables in, one effective configuration, its provenance and its archive out.

Invariant: pure. Nothing here imports Django, reads a clock or draws randomness; equal input gives equal
output, and whatever the input, only `EngineError` is raised.
"""

from config_merge.engine.archive import packed
from config_merge.engine.backends import BACKENDS, Backend
from config_merge.engine.diff import diff_files
from config_merge.engine.errors import (
    EngineError,
    InvalidConfiguration,
    InvalidVariables,
    MergeConflict,
    UnknownBackend,
)
from config_merge.engine.render import render, speaks_dsa
from config_merge.engine.resolve import Effective, resolve
from config_merge.engine.types import Artefact, File, Layer, Leaf, Source, Variable, VariableLayer
from config_merge.engine.validate import validate
from config_merge.engine.variables import undefined_variables, variables_in_force

__all__ = [
    "BACKENDS",
    "Artefact",
    "Backend",
    "Effective",
    "EngineError",
    "File",
    "InvalidConfiguration",
    "InvalidVariables",
    "Layer",
    "Leaf",
    "MergeConflict",
    "Source",
    "UnknownBackend",
    "Variable",
    "VariableLayer",
    "diff_files",
    "packed",
    "render",
    "resolve",
    "speaks_dsa",
    "undefined_variables",
    "validate",
    "variables_in_force",
]
