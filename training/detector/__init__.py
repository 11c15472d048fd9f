"""The plate detector: its network, what it is shown, its training and its export."""
