"""Writes what of the chart is generated: values, their schema, the README's table, the copies of CRDs and rights.

Not part of any distribution; `make generate` runs it, `make check` finds differences.
"""
