"""The print log."""
