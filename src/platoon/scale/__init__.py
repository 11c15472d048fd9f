"""Work shared by several machines."""
