"""The whole system in one thread under a virtual clock: every delay, loss and order is drawn from a seed.

`world` has the clock and the scheduler, `process` what runs in it; `rabbitmq` and `stream` are models of the two ends,
`source`, `sink` and `parking` the way to them by the contract's protocols; `faults` deals, `oracle` judges, `run` plays
one seed, `shrink` makes a failing one short. docs/reference/faults.md says what is simulated.
"""
