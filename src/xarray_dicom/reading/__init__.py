"""From a selection to pixels: which frames, their ranges, decoding, placement."""
