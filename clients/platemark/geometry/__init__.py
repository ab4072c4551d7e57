"""Meshes: reading, checking, measuring and drawing them."""
