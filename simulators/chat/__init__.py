"""Chat models that judges ask: what is asked and answered, endpoints, caches, budgets, limits."""
