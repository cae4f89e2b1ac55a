"""The frames of an instance, asked for by number."""
