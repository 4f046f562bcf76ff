"""Client and server that are killed at random points, and the proof that no nonce and no request was used twice."""
