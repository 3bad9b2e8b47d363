"""Measures Muster against bare floors of the same run: `make bench`, or `python -m benchmarks [name] [--quick]`.

Invariant: nothing passes or fails by an absolute time. Each benchmark prints a table and ends with one JSON line; what
carries from machine to machine are its ratios.
"""
