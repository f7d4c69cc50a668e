"""What the bridge costs beside what else can empty the same queue: `python -m benchmarks`, see docs/benchmarks.md."""
