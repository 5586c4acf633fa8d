"""How a machine's processor, memory and GPU are: read, never guessed; and what policy says of it."""
