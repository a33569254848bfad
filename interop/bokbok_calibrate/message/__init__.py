"""Messages: how a plaintext is read as a request, a response or an error."""
