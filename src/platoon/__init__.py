"""Platoon: one engine reads every camera, page and clip."""

from importlib.metadata import version

__version__ = version("platoon")
