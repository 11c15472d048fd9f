"""What is kept, and for how long: events in a database, pictures in an object store."""
