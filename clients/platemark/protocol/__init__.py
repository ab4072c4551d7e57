"""Platemark's wire formats: pure functions over bytes, no input or output."""
