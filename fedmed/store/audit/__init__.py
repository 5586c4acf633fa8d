"""What happened at a node, in an order that nobody can change unseen: a chain, a Merkle tree over it, signed heads."""
