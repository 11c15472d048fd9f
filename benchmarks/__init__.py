"""What Platoon costs, measured: one module per question, its results as JSON in `results`. Not part of the package."""

import platoon  # noqa: F401  # first, so that no runtime is imported with its telemetry on
