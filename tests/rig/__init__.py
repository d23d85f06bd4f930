"""The rig: real brokers, Redis, producers and an independent verifier, for tests, demo and bench.

Nothing here knows how Ferry works inside; rig.ferry knows its command line, its configuration and the documented
form of what it keeps in Redis.
"""
