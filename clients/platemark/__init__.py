"""License, count, print and audit 3D designs."""
