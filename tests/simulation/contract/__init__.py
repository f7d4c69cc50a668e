"""Models behind the contract's protocols: a source, a parking queue, a stream."""
