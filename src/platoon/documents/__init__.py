"""Documents: their pages, what stands on them in reading order, and the forms in which people want it."""
