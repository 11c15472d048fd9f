"""The forms in which a document is shown to others: a module each, told apart in `forms`."""
