"""Sweeps over a Ray cluster: `hydra/launcher=ray`."""
