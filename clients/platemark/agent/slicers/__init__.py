"""Slicers: programs that turn a mesh into G-code."""
