"""The append-only record of what was asked and decided."""
