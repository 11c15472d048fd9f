"""The forms in which a document is shown to others: a module each, behind the face of `exporting`."""
