"""Several processes on the same ports: what they share, and what they tell each other (the design, section 9).

One process, the parent, owns the ports and the durable state and serves nobody; its workers serve. What must not be
done by two of them (accept a request twice, use a number twice) is decided in memory that they share, under a lock that
ends with its process. Linux only.
"""
