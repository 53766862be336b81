"""LLM judges: a judge is a prompt file, a parser, sampling settings and a chat model."""
