"""Measures the operator: on a Kubernetes cluster (`make bench-cluster`), or on the API double.

The measuring is one and the same (`crowd`); only where the operator runs differs. Beside every
number stands a floor that the same client reached in the same run without any operator.
"""
