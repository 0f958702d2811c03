"""The `mlsys-ray` command."""

from __future__ import annotations

from mlsys_ray.cli.main import main

__all__ = ["main"]
