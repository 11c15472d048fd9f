"""Imports run downwards only; see docs/architecture.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import platoon

SOURCE = Path(platoon.__file__).parent
EVERYBODY = {"arrays", "errors", "private", "redaction", "settings", "metrics"}
ALLOWED = {
    "arrays": set[str](),
    "redaction": set[str](),
    "errors": {"redaction"},
    "logs": {"redaction"},
    "allocator": set[str](),
    "private": set[str](),
    "ending": set[str](),
    "gateway_variables": set[str](),
    "secret_urls": set[str](),
    "settings": {"errors", "gateway_variables", "secret_urls"},
    "metrics": set[str](),
    "tracing": EVERYBODY | {"logs", "engine"},
    "media": EVERYBODY,
    "engine": EVERYBODY,
    "store": EVERYBODY,
    "ocr": EVERYBODY | {"engine", "media", "tracing"},
    "documents": EVERYBODY | {"ocr", "engine", "media", "store", "tracing"},
    "scale": EVERYBODY | {"documents", "ocr"},
    "plates": EVERYBODY | {"ocr", "engine", "media"},
    "captions": EVERYBODY | {"engine", "media"},
    "streams": EVERYBODY | {"captions", "plates", "ocr", "engine", "media", "store"},
    "reader": EVERYBODY | {"plates", "ocr", "engine", "media"},
    "doctor": EVERYBODY | {"documents", "plates", "ocr", "engine", "media", "store"},
    "web": EVERYBODY,
    "api": EVERYBODY | {"logs", "tracing", "streams", "scale", "documents", "ocr", "engine", "media", "store", "web"},
}
MODULES = {
    ".".join(("platoon", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}
"""By their full names."""
TOP = {"cli", "read_command", "read_files", "caption_command", "terminal", "__main__", "__init__"}


def imports_of(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in names if name.startswith("platoon.")}


@pytest.mark.parametrize("module", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_what_lies_below_it(module: Path) -> None:
    package = module.relative_to(SOURCE).parts[0].removesuffix(".py")
    if package in TOP:
        return
    above = imports_of(module) - ALLOWED[package] - {package}
    assert not above, f"{module.relative_to(SOURCE)} imports {', '.join(sorted(above))}"


def modules_of(module: Path) -> set[str]:
    """All modules of Platoon that `module` names in an import: at its top, in a function, or for types only."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What is imported from a package is a module of it, or a name that the package itself defines.
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in MODULES else node.module for name in whole}
    return names & MODULES.keys()


def test_no_module_imports_itself_by_way_of_others() -> None:
    needs = {name: modules_of(path) for name, path in MODULES.items()}
    while loose := {name for name in needs if not needs[name] or not any(name in other for other in needs.values())}:
        needs = {name: others - loose for name, others in needs.items() if name not in loose}
    assert not needs, f"circles: {needs}"


def test_no_module_is_longer_than_somebody_reads_in_one_go() -> None:
    lines = {str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8").count("\n") for path in MODULES.values()}
    assert {name: count for name, count in lines.items() if count >= 500} == {}


def test_importing_platoon_is_quick_and_brings_nothing_heavy() -> None:
    code = "import sys, platoon; print(*sys.modules)"
    modules = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not modules & {"cv2", "av", "openvino", "onnxruntime", "onnx", "torch", "gi", "fastapi", "numpy", "pydantic"}


def test_settings_configure_nothing_on_import() -> None:
    code = (
        "import logging, platoon.cli, platoon.streams.pipeline, platoon.api.app; "
        "print(len(logging.getLogger().handlers))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "0"
