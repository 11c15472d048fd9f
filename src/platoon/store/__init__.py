"""What is kept: events in a database, pictures in an object store, and for how long. Imports nothing above it."""
