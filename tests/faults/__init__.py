"""Break everything that can break, under load, and find out whether an event was lost.

`python -m tests.faults --seconds 600 --seed 1 --sink redis` deals faults at random from the cards of this package; the
same seed deals the same. `stage` sets up the servers and three bridges, `workload` publishes what has to arrive,
`verdict` compares it with what is there. Each fault is a test of its own as well.
"""
