"""What Platoon costs, measured: one module per question, its results as JSON in `results`. Not part of the package."""
