"""What pi-trio costs over a bare blocking loop. Run as ``python -m benchmarks``; see ``docs/benchmarks.md``."""
