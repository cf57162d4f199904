"""How processes end: the figures of docs/process-death.md. Run it with ``python -m benchmarks.death``."""
