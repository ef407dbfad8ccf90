"""Five lessons as marimo notebooks, and what is made of them (`python -m examples --help`; docs/lessons.md)."""
