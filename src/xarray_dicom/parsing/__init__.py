"""From bytes to a header, per-frame columns and frame offsets; what they mean comes later."""
