"""The HTTP and WebSocket faces, one module per contract."""
