"""Keys and what they protect: the only room that knows `cryptography`."""
