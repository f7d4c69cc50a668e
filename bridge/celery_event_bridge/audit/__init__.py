"""Account of a stream by itself: what is missing, doubled, out of order, late. Pure, but for `live`."""
