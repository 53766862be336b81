"""Evaluation on its own: answers from files or policies, judged against a reference."""
