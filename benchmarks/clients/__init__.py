"""The other contenders, and what measures latency: programs of their own, so that each pays for itself alone.

They import nothing of the tests or the bridge, whose modules would count as their memory.
"""
