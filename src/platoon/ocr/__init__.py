"""Text in pictures: finding it and reading it."""
