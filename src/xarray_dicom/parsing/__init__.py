"""Headers and per-frame columns from bytes; layouts decide later what these mean."""
