"""Effective transport through an image: along an axis, as a tensor, into a blocking electrode, with its error bars."""

from battsim.post.transport.effective import Direction, Transport, effective_transport, solve_transport, tortuosity

__all__ = ["Direction", "Transport", "effective_transport", "solve_transport", "tortuosity"]
