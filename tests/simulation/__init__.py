"""The whole system in one thread under a virtual clock: every delay, loss and order is drawn from a seed.

`scheduler` has the clock, `process` what runs under it, `virtual` puts the world's surroundings in the machine's place.
`kinds` says which ends are models and which are real; `faults` deals, `promises` judges, `play` plays one seed, `run`
plays many and makes a failing one short. docs/reference/simulation.md says what is simulated.
"""
