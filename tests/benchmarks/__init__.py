"""What is measured, beside what is required: ``python -m tests.benchmarks``. Never run as tests."""
