"""Who parses documents behind `/layout-parsing`: the own models, Triton, or a vision-language model."""
