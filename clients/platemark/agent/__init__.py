"""What a print centre's agent does."""
