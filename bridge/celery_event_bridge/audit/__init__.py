"""What the stream tells of itself: what is missing, doubled, out of order, late. Pure, but for `live`."""
