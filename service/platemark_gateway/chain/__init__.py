"""The chain: client, sending, indexing, embedded chain."""
