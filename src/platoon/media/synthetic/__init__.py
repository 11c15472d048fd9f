"""Synthetic roads: plates, cars and scenes drawn by our own code, encoded as a camera would, with their truth."""
