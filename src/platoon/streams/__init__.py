"""Many cameras, one pipeline."""
