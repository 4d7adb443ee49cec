"""Proofs about outputs: effects on tracked masks, flicker of edges, cost of formats."""
