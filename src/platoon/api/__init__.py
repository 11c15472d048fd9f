"""The HTTP and WebSocket interfaces, one module per contract."""
