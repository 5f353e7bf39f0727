"""Answers: predictions, explanations, what-if, and the bundle that is served."""
