"""Annotators as models of an OpenAI-compatible endpoint, with faults on demand."""
