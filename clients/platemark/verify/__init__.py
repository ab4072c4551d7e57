"""Checks in numbered steps that raise: pure, no input or output."""
