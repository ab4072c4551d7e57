"""Uploads, and blocks for everybody."""
